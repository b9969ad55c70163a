//! What the other tests lean on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use reinstate_tests::vm::{FACTORY_ADDRESS, Hardware, Vm, kept};

#[test]
#[ignore = "needs the image: tests/vm"]
fn a_machine_goes_on_from_a_saved_state_and_keeps_over_a_power_cut_what_was_made_durable() {
    let folder = kept("harness");
    let mut vm = Vm::new(&folder, Hardware::new("saved", 0x41));
    vm.start();
    vm.wait_for_ssh(FACTORY_ADDRESS);
    let boot = vm.look(FACTORY_ADDRESS, "cat /proc/sys/kernel/random/boot_id; touch /root/saved; sync");
    assert_eq!(vm.own_addresses(0), BTreeSet::from([IpAddr::from(FACTORY_ADDRESS)]));
    let state = folder.join("state");
    vm.save(&state);

    let mut hardware = vm.hardware().clone();
    hardware.image = vm.disk().to_owned();
    hardware.name = "resumed".into();
    let mut resumed = Vm::new(&folder, hardware);
    resumed.resume(&state);
    resumed.throttle(50);
    let now = resumed.look(FACTORY_ADDRESS, "cat /proc/sys/kernel/random/boot_id");
    assert_eq!(now, boot, "it has not booted");
    let flushes = resumed.flushes();
    resumed.look(FACTORY_ADDRESS, "echo durable > /root/durable; sync; echo lost > /root/lost");
    assert!(resumed.flushes() > flushes);
    resumed.cut();
    resumed.start();
    resumed.wait_for_ssh(FACTORY_ADDRESS);
    let kept = resumed.look(
        FACTORY_ADDRESS,
        "ls /root/saved /root/durable; cat /root/durable; cat /proc/sys/kernel/random/boot_id",
    );
    assert!(kept.starts_with("/root/durable\n/root/saved\ndurable\n") && !kept.ends_with(&boot), "{kept}");
    resumed.power_off(FACTORY_ADDRESS);
}
