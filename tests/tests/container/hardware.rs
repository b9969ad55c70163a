//! What an appliance's hardware is, as the kernel shows it.

use reinstate_tests::container::apart;

use crate::donor::donor;
use crate::replacement::Replacement;

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn on_hardware_that_the_backup_does_not_fit_a_restore_is_refused_with_both_values() {
    apart("hardware", |site| {
        let mut hardware = Replacement::hardware();
        hardware.appliance =
            hardware.appliance.hypervisor("Other hypervisor").without_interface("0000:13:00.0");
        let new = Replacement::boot_on(site, hardware);
        let before = new.container.look("reinstated scan");
        new.put(&donor().file, &donor().archive);
        let said = new.shell(&format!("restore remote-manager-backup {}", donor().file), "Y\n");
        assert_eq!(said.status, Some(1), "{said:?}");
        for word in [
            "[hypervisor-unsupported]",
            "this appliance's is Other hypervisor, supported are VMware, Inc., QEMU",
            "[interfaces-mismatch]",
            "data0: the backup's is vmxnet3 at 0000:13:00.0, this appliance's is vmxnet3 at 0000:1b:00.0",
            "Nothing was changed.",
        ] {
            assert!(said.out.contains(word), "'{word}' is not in {said:?}");
        }
        assert_eq!(new.container.look("reinstated scan"), before);
    });
}
