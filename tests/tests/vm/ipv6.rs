//! Management by IPv6 alone: the link ends at a tap device in a network namespace of the test.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use nix::sched::{CloneFlags, unshare};
use reinstate_tests::container::ip;
use reinstate_tests::forge::Forge;
use reinstate_tests::sshd::{Account, Sshd, SshdOptions};
use reinstate_tests::vm::{FACTORY_ADDRESS, Hardware, Link, Vm, kept};

use crate::donor::{ADDRESS, donor, end_of_job};
use crate::replacement::{ANSWER, Replacement, SERVER_PASSWORD, first_login, served};

const LINK: &str = "wire";
const HOST: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x45, 0, 0, 0, 0, 0, 0x100);
const OLD: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x45, 0, 0, 0, 0, 0, 0x45);
const NEW: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x45, 0, 0, 0, 0, 0, 0x60);

#[test]
#[ignore = "needs the image: tests/vm"]
fn a_replacement_becomes_its_donor_where_there_is_only_ipv6() {
    // The namespace is the thread's, and of all that it starts.
    let done = std::thread::spawn(|| {
        let donor = donor();
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        restore(&donor.file, &donor.archive_with(by_ipv6));
    });
    if let Err(panic) = done.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The donor's archive, had it been managed by IPv6.
fn by_ipv6(archive: &mut Forge) {
    let network = "etc/systemd/network/10-management0.network";
    let text = archive.text("network", network).unwrap();
    let old = format!("Address={ADDRESS}/24");
    assert!(text.contains(&old), "{text}");
    archive.put("network", network, &text.replace(&old, &format!("Address={NEW}/64"))).unwrap();
    archive.manifest.device.management = vec![format!("{NEW}/64")];
}

fn restore(file: &str, archive: &[u8]) {
    for command in [
        "link set lo up".to_owned(),
        format!("tuntap add dev {LINK} mode tap"),
        format!("address add {HOST}/64 dev {LINK} nodad"),
        format!("address add 192.168.45.2/24 dev {LINK}"),
        format!("link set {LINK} up"),
    ] {
        ip(&command);
    }
    let served = served(file, archive);
    let server = Sshd::start(&SshdOptions {
        listen: HOST.into(),
        account: Some(Account { name: "vault".into(), password: SERVER_PASSWORD.into() }),
        ..SshdOptions::default()
    });
    let mut hardware = Hardware::new("new", 0x0c);
    hardware.link = Link::Tap(LINK.into());
    let mut vm = Vm::new(&kept("ipv6"), hardware);
    vm.start();
    first_login(vm.console());
    vm.wait_for_ssh(FACTORY_ADDRESS);
    let network = "/etc/systemd/network/10-management0.network";
    vm.look(FACTORY_ADDRESS, &format!("sed -i 's|^Address=.*|Address={OLD}/64|' {network}; sync"));
    // The answer cannot arrive any more.
    let _ = vm.ssh(FACTORY_ADDRESS).said("systemd-run networkctl reload", "");
    vm.wait_for_ssh(OLD);
    let line = format!(
        "restore remote-manager-backup location {} vault {} {file} fingerprint {}",
        server.address(),
        served.path().display(),
        server.fingerprint()
    );
    vm.console().type_line(&line);
    Replacement::answer(vm.console());
    vm.console().expect("System will now reboot.", ANSWER);
    vm.qmp().expect("RESET", reinstate_tests::vm::BOOT);
    let before = vm.announced().len();
    vm.wait_for_ssh(NEW);
    let shown = end_of_job(&vm, NEW);
    assert!(
        shown.lines().any(|line| line.starts_with("Result ") && line.ends_with(": succeeded")),
        "{shown}"
    );
    assert!(!vm.answers(OLD), "the old address still answers");
    assert_eq!(vm.look(NEW, "ip -4 -o address show dev management0"), "");
    assert_eq!(vm.look(NEW, "cat /etc/hostname"), "fw-a\n");
    assert_eq!(vm.own_addresses(before), BTreeSet::from([IpAddr::from(NEW)]));
}
