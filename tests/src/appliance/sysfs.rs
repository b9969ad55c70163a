//! `/sys` as the kernel shows it: one folder of devices, everything else links into it.

use reinstate_api::Interface;

use super::tree::Tree;

const DMI: &str = "sys/devices/virtual/dmi/id";

pub fn dmi(tree: &mut Tree, vendor: &str, serial: &str, uuid: &str) {
    tree.link("sys/class/dmi/id", "../../devices/virtual/dmi/id");
    tree.file(&format!("{DMI}/sys_vendor"), line(vendor), 0o444);
    tree.file(&format!("{DMI}/product_serial"), line(serial), 0o400);
    tree.file(&format!("{DMI}/product_uuid"), line(uuid), 0o400);
}

/// The loopback interface, which is no hardware.
pub fn loopback(tree: &mut Tree) {
    tree.link("sys/class/net/lo", "../../devices/virtual/net/lo");
    tree.file("sys/devices/virtual/net/lo/address", line("00:00:00:00:00:00"), 0o444);
}

/// An interface behind a PCI bridge, as on both hypervisors. A virtio device sits on its own bus
/// below the PCI one.
pub fn interface(tree: &mut Tree, interface: &Interface) {
    let Interface { kernel, slot, kind, .. } = interface;
    let virtio = kind.starts_with("virtio");
    let bridge = bridge(slot);
    let (device, up, bus) = match virtio {
        true => (format!("{bridge}/{slot}/virtio0"), "../../../../..", "virtio"),
        false => (format!("{bridge}/{slot}"), "../../../..", "pci"),
    };
    let name = device.rsplit('/').next().unwrap_or(&device).to_owned();
    let base = format!("sys/devices/{device}");
    tree.link(&format!("sys/class/net/{kernel}"), format!("../../devices/{device}/net/{kernel}"));
    tree.file(&format!("{base}/net/{kernel}/address"), line(&interface.mac), 0o444);
    for (file, text) in [("mtu", "1500"), ("flags", "0x1003"), ("operstate", "up"), ("carrier", "1")] {
        tree.file(&format!("{base}/net/{kernel}/{file}"), line(text), 0o444);
    }
    tree.link(&format!("{base}/net/{kernel}/device"), format!("../../../{name}"));
    let address = format!("{bridge}/{slot}");
    tree.file(&format!("sys/devices/{address}/class"), line("0x020000"), 0o444);
    tree.link(&format!("sys/bus/pci/devices/{slot}"), format!("../../../devices/{address}"));
    tree.link(&format!("{base}/driver"), format!("{up}/bus/{bus}/drivers/{kind}"));
    tree.folder(&format!("sys/bus/{bus}/drivers/{kind}"), 0o755);
}

/// What is on bus 0 sits behind no bridge. Bridges are in the order of their buses.
fn bridge(slot: &str) -> String {
    let bus = slot.get(5..7).unwrap_or("00");
    match u8::from_str_radix(bus, 16) {
        Ok(bus) if bus > 0 => {
            let (device, function) = (0x10 + bus / 16, bus / 2 % 8);
            format!("pci0000:00/0000:00:{device:02x}.{function}")
        }
        _ => "pci0000:00".to_owned(),
    }
}

fn line(text: &str) -> String {
    format!("{text}\n")
}
