//! What the other tests lean on.

use reinstate_tests::container::{Container, Hardware, apart};
use reinstate_tests::vm::FACTORY_ADDRESS;

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_container_boots_as_the_image_does_with_four_interfaces_and_keeps_its_files_over_a_restart() {
    apart("harness", |site| {
        let mut appliance = Container::new(site, Hardware::new("box", 0x01));
        appliance.start();
        appliance.wait_for_ssh(FACTORY_ADDRESS);
        appliance.wait_for_boot();
        assert_eq!(appliance.look("systemctl --failed --plain --no-legend"), "", "units that failed");
        let version = appliance.look("reinstate-shell -c 'show version'");
        assert!(version.contains(&appliance.hardware().appliance.hardware().serial), "{version}");
        let links = appliance.look("cd /run/systemd/network && grep -h -e Path -e Name *.link");
        let expected = "Path=pci-0000:13:00.0\nName=data0\nPath=pci-0000:1b:00.0\nName=data1\n\
            Path=pci-0000:0b:00.0\nName=failover0\nPath=pci-0000:03:00.0\nName=management0\n";
        assert_eq!(links, expected);
        let boot = appliance.look("journalctl --list-boots --no-pager -q | wc -l; echo kept > /root/kept");
        assert_eq!(boot, "1\n");
        appliance.reboot();
        appliance.wait_for_ssh(FACTORY_ADDRESS);
        let again =
            appliance.ssh(FACTORY_ADDRESS).patient("journalctl --list-boots -q | wc -l; cat /root/kept", "");
        assert_eq!(again.out, "2\nkept\n", "{again:?}");
        appliance.power_off();
    });
}
