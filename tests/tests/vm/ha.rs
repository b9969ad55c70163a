//! An HA pair of two machines, with keepalived over the failover link.

use std::net::IpAddr;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use reinstate_tests::container::ip;
use reinstate_tests::group::pair::OBSERVER;
use reinstate_tests::group::succession::{Whole, both_are_replaced};
use reinstate_tests::vm::{BOOT, FACTORY_ADDRESS, Hardware, Link, SERVER, Said, Vm, kept};
use serde_json::Value;

/// A machine with both links on the bridges of the test.
struct Machine {
    vm: Vm,
    address: IpAddr,
}

impl Machine {
    fn factory(folder: &Path, name: &str, number: u8) -> Self {
        let mut hardware = Hardware::new(name, number);
        let [management, failover] = ["management", "failover"].map(|bridge| {
            let tap = format!("{bridge:.4}-{number}");
            for command in [
                format!("tuntap add dev {tap} mode tap"),
                format!("link set {tap} master {bridge}"),
                format!("link set {tap} up"),
            ] {
                ip(&command);
            }
            tap
        });
        (hardware.link, hardware.failover) = (Link::Tap(management), Some(failover));
        let mut vm = Vm::new(folder, hardware);
        vm.start();
        vm.wait_for_ssh(FACTORY_ADDRESS);
        let machine = Self { vm, address: FACTORY_ADDRESS.into() };
        machine.wait_for_agent();
        machine
    }
}

impl Whole for Machine {
    fn run(&self, command: &str, input: &[u8]) -> Said {
        self.vm.ssh(self.address).said(command, input)
    }

    fn restarts(&mut self, address: IpAddr, meanwhile: &mut dyn FnMut()) {
        self.vm.qmp().expect("RESET", BOOT);
        self.vm.qmp().call("stop", Value::Null);
        meanwhile();
        self.vm.qmp().call("cont", Value::Null);
        self.address = address;
        self.vm.wait_for_ssh(address);
    }
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn both_machines_of_a_pair_are_replaced_one_after_the_other_and_one_of_them_serves_all_the_time() {
    // The namespace is the thread's, and of all that it starts.
    let done = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        ip("link set lo up");
        for (bridge, address) in [("management", format!("{SERVER}/24")), ("failover", OBSERVER.to_owned())] {
            for command in [
                format!("link add {bridge} type bridge"),
                format!("link set {bridge} up"),
                format!("address add {address} dev {bridge}"),
            ] {
                ip(&command);
            }
        }
        let folder = kept("ha");
        both_are_replaced(|name, number| Machine::factory(&folder, name, number));
    });
    if let Err(panic) = done.join() {
        std::panic::resume_unwind(panic);
    }
}
