//! A container as it leaves the factory, after the donor has failed.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Child;

use reinstate_tests::container::{BOOT, Container, Hardware, Site};
use reinstate_tests::donor::{ACCOUNTS, ADDRESS};
use reinstate_tests::outside::Picture;
use reinstate_tests::promises;
use reinstate_tests::vm::{FACTORY_ADDRESS, Said, until};

use crate::donor::donor;

pub struct Replacement<'a> {
    pub container: Container<'a>,
    pub address: Ipv4Addr,
}

impl<'a> Replacement<'a> {
    pub fn boot(site: &'a Site) -> Self {
        Self::boot_on(site, Self::hardware())
    }

    pub fn hardware() -> Hardware {
        Hardware::new("new", 0x0b)
    }

    pub fn boot_on(site: &'a Site, hardware: Hardware) -> Self {
        assert_ne!(hardware.appliance.hardware().serial, donor().serial);
        let mut container = Container::new(site, hardware);
        container.start();
        container.wait_for_ssh(FACTORY_ADDRESS);
        let new = Self { container, address: FACTORY_ADDRESS };
        new.wait_for_agent();
        new
    }

    /// The admin's shell; errors come with the output.
    pub fn shell(&self, command: &str, answers: &str) -> Said {
        self.container.said(&format!("reinstate-shell -c '{command}' 2>&1"), answers)
    }

    /// Puts an archive into the backup folder.
    pub fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.container.root().join("var/sf/backup").join(name), content).unwrap();
    }

    /// Restores an archive up to its restart.
    pub fn restore(&self, archive: &[u8]) {
        let file = &donor().file;
        self.put(file, archive);
        let said = self.shell(&format!("restore remote-manager-backup {file}"), "Y\n");
        assert!(said.ok, "{said:?}");
    }

    pub fn wait_for_agent(&self) {
        until("the agent's answer", BOOT, || self.shell("show version", "").ok.then_some(()));
    }

    /// Waits for the end of the job that runs; what `show restore` says then.
    pub fn end_of_job(&self) -> String {
        until("the end of the restore", BOOT, || {
            let said = self.shell("show restore", "");
            (said.ok && said.out.lines().any(|line| line.starts_with("Result "))).then_some(said.out)
        })
    }
}

impl promises::Replacement for Replacement<'_> {
    type Picture = Picture;

    const HAS_MEMORY: bool = true;

    fn donor(&self) -> Picture {
        donor().picture.clone()
    }

    fn backup(&self) -> (String, Vec<u8>) {
        (donor().file.clone(), donor().archive.clone())
    }

    fn picture(&self) -> Picture {
        Picture::of(&self.container, self.address, &ACCOUNTS)
    }

    fn keep(&self, name: &str, content: &[u8]) {
        self.put(name, content);
    }

    fn say(&self, command: &str, answers: &str) -> Said {
        self.shell(command, answers)
    }

    fn spawn(&self, command: &str) -> Child {
        self.container.spawn(&format!("reinstate-shell -c '{command}' 2>&1"))
    }

    fn look(&self, command: &str) -> String {
        self.container.look(command)
    }

    fn scan(&self) -> String {
        self.container.look("reinstated scan")
    }

    fn boot(&self) -> String {
        // The kernel is this machine's: systemd is the one that is new.
        self.container.look("systemctl show --property=UserspaceTimestampMonotonic")
    }

    fn restarts(&mut self) {
        self.container.restarts();
        self.address = ADDRESS;
        self.container.wait_for_ssh(ADDRESS);
        assert!(!self.container.answers(FACTORY_ADDRESS), "the old address still answers");
        self.wait_for_agent();
    }
}
