//! What a machine is made of.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use super::{FACTORY_ADDRESS, Key, Medium, image};

pub const PROGRAM: &str = "/usr/bin/qemu-system-x86_64";
pub const UEFI_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
pub const UEFI_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    Bios,
    Uefi,
}

/// Disk controller and network cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    Virtio,
    /// pvscsi and vmxnet3.
    Vmware,
    /// A virtio disk with vmxnet3: UEFI does not start from pvscsi.
    VirtioDisk,
}

/// Where the management interface's link ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// In QEMU: ports of this machine lead to the guest's addresses.
    Forwarded,
    /// At this tap device, in the network namespace of whoever starts the machine.
    Tap(String),
}

/// What a machine is made of; all that a test does not set is usual.
#[derive(Clone)]
pub struct Hardware {
    pub name: String,
    /// The disk that its own is laid over.
    pub image: PathBuf,
    pub firmware: Firmware,
    pub bus: Bus,
    pub manufacturer: String,
    pub product: String,
    pub serial: String,
    pub uuid: String,
    /// The last but one byte of its MAC addresses.
    pub mac: u8,
    /// What systemd's services get, by name.
    pub credentials: Vec<(String, String)>,
    pub medium: Option<Medium>,
    /// Where the writes and flushes of its disk are recorded, anew each time that it is switched on.
    pub recording: Option<PathBuf>,
    pub link: Link,
    /// A tap device at which the failover interface's link ends; without one, nobody is at its other end.
    pub failover: Option<String>,
    /// Guest addresses whose SSH port is forwarded from here.
    pub addresses: Vec<Ipv4Addr>,
    /// Ports that the guest finds at [`super::SERVER`], and the ports of the host that they lead to.
    pub servers: Vec<(u16, u16)>,
    pub memory: u32,
    pub(super) key: Arc<Key>,
}

impl Hardware {
    /// A virtual machine of the image. `number` makes serial, UUID and MAC addresses its own.
    pub fn new(name: &str, number: u8) -> Self {
        let key = Arc::new(Key::new());
        Self {
            name: name.to_owned(),
            image: image("reinstate.qcow2"),
            firmware: Firmware::Bios,
            bus: Bus::Virtio,
            manufacturer: "QEMU".into(),
            product: "Standard PC".into(),
            serial: format!("VM-{number:04}"),
            uuid: format!("6f0c5b1e-0000-4000-8000-0000000000{number:02x}"),
            mac: number,
            credentials: vec![("ssh.authorized_keys.root".into(), key.public().to_owned())],
            medium: None,
            recording: None,
            link: Link::Forwarded,
            failover: None,
            addresses: vec![FACTORY_ADDRESS],
            servers: Vec::new(),
            memory: 768,
            key,
        }
    }

    /// As VMware's firmware describes a machine; the bus is the OVA's.
    #[must_use]
    pub fn vmware(mut self) -> Self {
        self.manufacturer = "VMware, Inc.".into();
        self.product = "VMware7,1".into();
        self.serial = format!("VMware-42 1c 00 00 00 00 00 {0:02x}-00 00 00 00 00 00 00 {0:02x}", self.mac);
        self.bus = Bus::Vmware;
        self
    }

    pub fn is_vmware(&self) -> bool {
        self.manufacturer.starts_with("VMware")
    }

    #[must_use]
    pub fn also(mut self, address: Ipv4Addr) -> Self {
        self.addresses.push(address);
        self
    }

    #[must_use]
    pub fn reaching(mut self, port: u16, of_the_host: u16) -> Self {
        self.servers.push((port, of_the_host));
        self
    }

    /// The MAC address of an interface, by its place on the bus.
    pub fn mac_of(&self, place: u8) -> String {
        format!("52:54:00:45:{:02x}:{place:02x}", self.mac)
    }
}
