//! What is promised on every kind of appliance.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Child;

use reinstate_tests::outside::Picture;
use reinstate_tests::promises::{self, Replacement};
use reinstate_tests::vm::{BOOT, FACTORY_ADDRESS, Hardware, Said, Vm, kept, until};

use crate::donor::{ACCOUNTS, ADDRESS, donor};

struct New {
    vm: Vm,
    address: Ipv4Addr,
}

impl New {
    fn boot(name: &str) -> Self {
        // It fails first.
        let _ = donor();
        let mut vm = Vm::new(&kept(name), Hardware::new("new", 0x51).also(ADDRESS));
        vm.start();
        vm.wait_for_ssh(FACTORY_ADDRESS);
        let new = Self { vm, address: FACTORY_ADDRESS };
        new.wait_for_agent();
        new
    }

    fn wait_for_agent(&self) {
        until("the agent's answer", BOOT, || self.say("show version", "").ok.then_some(()));
    }
}

impl Replacement for New {
    type Picture = Picture;

    const HAS_MEMORY: bool = true;

    fn donor(&self) -> Picture {
        donor().picture.clone()
    }

    fn backup(&self) -> (String, Vec<u8>) {
        (donor().file.clone(), fs::read(&donor().archive).unwrap())
    }

    fn picture(&self) -> Picture {
        Picture::of(&self.vm, self.address, &ACCOUNTS)
    }

    fn keep(&self, name: &str, content: &[u8]) {
        let put = self.vm.ssh(self.address).patient(&format!("cat > /var/sf/backup/{name}"), content);
        assert!(put.ok, "{put:?}");
    }

    fn say(&self, command: &str, answers: &str) -> Said {
        self.vm.ssh(self.address).said(&format!("reinstate-shell -c '{command}' 2>&1"), answers)
    }

    fn spawn(&self, command: &str) -> Child {
        self.vm.ssh(self.address).spawn(&format!("reinstate-shell -c '{command}' 2>&1"))
    }

    fn look(&self, command: &str) -> String {
        self.vm.look(self.address, &format!("cd / && {{ {command}; }}"))
    }

    fn scan(&self) -> String {
        self.vm.look(self.address, "reinstated scan")
    }

    fn boot(&self) -> String {
        self.vm.look(self.address, "cat /proc/sys/kernel/random/boot_id")
    }

    fn restarts(&mut self) {
        self.vm.qmp().expect("RESET", BOOT);
        self.address = ADDRESS;
        self.vm.wait_for_ssh(ADDRESS);
        assert!(!self.vm.answers(FACTORY_ADDRESS), "the old address still answers");
        self.wait_for_agent();
    }
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn a_replacement_becomes_its_donor_as_everywhere() {
    promises::a_replacement_becomes_its_donor(&mut New::boot("promises-donor"));
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn a_backup_of_another_model_is_refused_with_both_values_and_nothing_changes() {
    promises::a_backup_of_another_model_is_refused(&New::boot("promises-model"));
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn an_abort_changes_nothing() {
    promises::an_abort_changes_nothing(&New::boot("promises-abort"));
}
