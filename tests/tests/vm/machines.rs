//! Firmware, controllers and hypervisors.

use std::fs;
use std::path::Path;
use std::process::Command;

use reinstate_tests::vm::{Bus, FACTORY_ADDRESS, Firmware, Hardware, Vm, image, kept};

use crate::donor::donor;

const NAMES: &str = "management0 failover0 data0 data1";

/// An appliance as it leaves the factory, whose own backup stands all checks on it.
fn is_an_appliance(vm: &Vm, driver: &str) {
    vm.wait_for_ssh(FACTORY_ADDRESS);
    let look = |command: &str| vm.look(FACTORY_ADDRESS, command);
    for (place, name) in (0..).zip(NAMES.split(' ')) {
        let known = look(&format!(
            "cat /sys/class/net/{name}/address; basename $(readlink /sys/class/net/{name}/device/driver)"
        ));
        assert_eq!(known, format!("{}\n{driver}\n", vm.hardware().mac_of(place)), "{name}");
    }
    let version = look("reinstate-shell -c 'show version'");
    assert!(version.contains(&vm.hardware().serial), "{version}");
    look("reinstate-shell -c 'backup create'");
    let file = look("cd /var/sf/backup && ls *.tar");
    let check = vm
        .ssh(FACTORY_ADDRESS)
        .said(&format!("reinstate-shell -c 'restore remote-manager-backup {} check'", file.trim()), "Y\n");
    assert!(check.ok, "{check:?}");
    let failed = look("systemctl --failed --plain --no-legend");
    // The emulator has VMware's hardware, and not the way to its host.
    let tools = |line: &&str| vm.hardware().is_vmware() && line.starts_with("open-vm-tools.service ");
    let failed: Vec<_> = failed.lines().filter(|line| !tools(line)).collect();
    assert!(failed.is_empty(), "units that failed: {failed:?}");
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn the_image_starts_by_uefi() {
    let mut hardware = Hardware::new("uefi", 0x21);
    hardware.firmware = Firmware::Uefi;
    let mut vm = Vm::new(&kept("uefi"), hardware);
    vm.start();
    is_an_appliance(&vm, "virtio_net");
    assert_eq!(vm.look(FACTORY_ADDRESS, "test -d /sys/firmware/efi && echo UEFI"), "UEFI\n");
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn the_image_starts_by_uefi_with_vmware_cards() {
    let mut hardware = Hardware::new("uefi", 0x22).vmware();
    hardware.firmware = Firmware::Uefi;
    hardware.bus = Bus::VirtioDisk;
    let mut vm = Vm::new(&kept("uefi-vmxnet3"), hardware);
    vm.start();
    is_an_appliance(&vm, "vmxnet3");
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn the_disk_in_the_ova_starts_on_vmware_hardware() {
    let folder = kept("ova");
    let mut hardware = Hardware::new("vmware", 0x23).vmware();
    hardware.image = disk_of(&image("reinstate.ova"), &folder);
    let mut vm = Vm::new(&folder, hardware);
    vm.start();
    is_an_appliance(&vm, "vmxnet3");
    assert_eq!(vm.look(FACTORY_ADDRESS, "systemd-detect-virt"), "vmware\n");
    let root = vm.look(
        FACTORY_ADDRESS,
        "lspci -k 2>/dev/null | grep -q vmw_pvscsi || ls /sys/bus/pci/drivers/vmw_pvscsi",
    );
    assert!(root.is_empty() || root.contains("0000:"), "{root}");
}

/// Unpacks an OVA as an importer does: the descriptor first, every digest of the manifest compared.
fn disk_of(ova: &Path, folder: &Path) -> std::path::PathBuf {
    let unpacked = Command::new("tar").arg("-xf").arg(ova).arg("-C").arg(folder).status().unwrap();
    assert!(unpacked.success());
    let listed = Command::new("tar").arg("-tf").arg(ova).output().unwrap();
    let names = String::from_utf8(listed.stdout).unwrap();
    let names: Vec<_> = names.lines().collect();
    assert!(names[0].ends_with(".ovf"), "the descriptor is not the first member: {names:?}");
    let manifest = names.iter().find(|name| name.ends_with(".mf")).expect("a manifest");
    let manifest = fs::read_to_string(folder.join(manifest)).unwrap();
    for line in manifest.lines().filter(|line| !line.is_empty()) {
        let (name, digest) = line.strip_prefix("SHA256(").and_then(|l| l.split_once(")= ")).expect(line);
        let sum = Command::new("sha256sum").arg(folder.join(name)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&sum.stdout).split(' ').next(), Some(digest), "{name}");
    }
    let disk = names.iter().find(|name| name.ends_with(".vmdk")).expect("a disk");
    folder.join(disk)
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn on_a_hypervisor_that_is_not_supported_a_restore_is_refused_with_both_values() {
    let mut hardware = Hardware::new("other", 0x24);
    hardware.manufacturer = "Other hypervisor".into();
    let mut vm = Vm::new(&kept("hypervisor"), hardware);
    vm.start();
    vm.wait_for_ssh(FACTORY_ADDRESS);
    let donor = donor();
    let root = vm.ssh(FACTORY_ADDRESS);
    let put =
        root.patient(&format!("cat > /var/sf/backup/{}", donor.file), fs::read(&donor.archive).unwrap());
    assert!(put.ok, "{put:?}");
    let before = vm.look(FACTORY_ADDRESS, "reinstated scan");
    let command = format!("reinstate-shell -c 'restore remote-manager-backup {}'", donor.file);
    let said = root.said(&command, "Y\n");
    assert_eq!(said.status, Some(1), "{said:?}");
    for word in ["Other hypervisor", "VMware, Inc., QEMU", "hypervisor-unsupported", "Nothing was changed."] {
        assert!(said.out.contains(word), "'{word}' is not in {said:?}");
    }
    assert_eq!(vm.look(FACTORY_ADDRESS, "reinstated scan"), before);
}
