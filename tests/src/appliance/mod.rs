//! Appliances over folders: a failed one, and its factory-fresh replacement.
//!
//! Everything but keys and certificates follows from the appliance's name and its seed.

mod accounts;
mod configuration;
pub mod keys;
mod sysfs;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reinstate_agent::tree::Digest;
use reinstate_api::{DeviceIdentity, HardwareIdentity, Interface, Registration, Role, Software};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tree::Tree;

use crate::manager::Manager;
use crate::{Result, doing};

use keys::Certificate;

pub const MODEL: &str = "VFW-100";
/// What the image is named in the examples.
pub const VERSION: &str = "7.4.1";

/// An appliance that can be built into a folder: what it is, then what is different about it.
#[derive(Clone, Debug)]
pub struct Appliance {
    seed: u64,
    /// In service, with policy, users, VPN and a manager; otherwise as it leaves the factory.
    in_service: bool,
    hardware: HardwareIdentity,
    hypervisor: String,
    device: DeviceIdentity,
    software: Software,
    licence: String,
    registration: Option<Registration>,
    /// Names of system groups have other numbers on another image build.
    first_system_gid: u32,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    File(String, Vec<u8>, u32),
    Noise(String, u64),
    Link(String, String),
    Remove(String),
}

/// What a registration with a manager leaves on an appliance, as far as a check-in needs it.
#[derive(Clone, Debug)]
pub struct Enrolment {
    pub host: String,
    pub port: u16,
    /// PEM, all three.
    pub ca: String,
    pub certificate: String,
    pub key: String,
}

impl Enrolment {
    pub fn with(manager: &Manager, device: &str) -> Result<Self> {
        let Certificate { pem, key } = manager.enrol(device)?;
        let (host, port, ca) = (manager.host().to_owned(), manager.port(), manager.authority().to_owned());
        Ok(Self { host, port, ca, certificate: pem, key })
    }

    /// The same, sent to another manager.
    #[must_use]
    pub fn at(self, manager: &Manager) -> Self {
        Self { host: manager.host().to_owned(), port: manager.port(), ..self }
    }

    /// The device's certificate as TLS shows it.
    pub fn der(&self) -> Result<Vec<u8>> {
        Ok(CertificateDer::from_pem_slice(self.certificate.as_bytes())?.to_vec())
    }
}

/// The folder with the reference appliance's profile and domains.
pub fn reference_profile() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../image/profile")
}

impl Appliance {
    /// An appliance in service.
    pub fn donor(hostname: &str) -> Self {
        let seed = 1;
        let uuid = derived_uuid(seed, "device");
        Self {
            in_service: true,
            device: DeviceIdentity {
                uuid: uuid.clone(),
                hostname: hostname.to_owned(),
                role: Role::Standalone,
                management: vec!["192.0.2.10/24".into(), "2001:db8::10/64".into()],
            },
            licence: "PERPETUAL-4711".into(),
            registration: Some(Registration {
                host: "manager.example.net".into(),
                name: "headquarters".into(),
                device_uuid: uuid,
                state: "Completed".into(),
            }),
            ..Self::fresh(seed, ["ens160", "ens192", "ens224", "ens256"], 995)
        }
    }

    /// As it leaves the factory: other serial, UUID, MAC addresses and interface names, and nothing
    /// configured but a way in.
    pub fn replacement() -> Self {
        Self::fresh(2, ["eth0", "eth1", "eth2", "eth3"], 997)
    }

    fn fresh(seed: u64, kernel: [&str; 4], first_system_gid: u32) -> Self {
        let slots = ["0000:03:00.0", "0000:0b:00.0", "0000:13:00.0", "0000:1b:00.0"];
        let interfaces = slots.iter().zip(kernel).map(|(slot, kernel)| Interface {
            name: String::new(),
            kernel: kernel.into(),
            slot: (*slot).into(),
            kind: "vmxnet3".into(),
            mac: derived_mac(seed, slot),
        });
        Self {
            seed,
            in_service: false,
            hardware: HardwareIdentity {
                model: MODEL.into(),
                serial: format!("VMware-{:.16}", derived(seed, "serial")),
                uuid: derived_uuid(seed, "hardware"),
                network_modules: 0,
                interfaces: interfaces.collect(),
            },
            hypervisor: "VMware, Inc.".into(),
            device: DeviceIdentity {
                uuid: derived_uuid(seed, "device"),
                hostname: "firewall".into(),
                role: Role::Standalone,
                management: vec!["192.168.45.45/24".into()],
            },
            software: Software {
                version: VERSION.into(),
                build: "172".into(),
                patch: "2".into(),
                hotfixes: vec!["HF-7.4.1.2-001".into(), "HF-7.4.1.2-004".into()],
            },
            licence: "EVALUATION-90".into(),
            registration: None,
            first_system_gid,
            changes: Vec::new(),
        }
    }

    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.hardware.serial = format!("VMware-{:.16}", derived(seed, "serial"));
        self.hardware.uuid = derived_uuid(seed, "hardware");
        for interface in &mut self.hardware.interfaces {
            interface.mac = derived_mac(seed, &interface.slot);
        }
        self
    }

    #[must_use]
    pub fn model(mut self, model: &str) -> Self {
        self.hardware.model = model.into();
        self
    }

    #[must_use]
    pub fn network_modules(mut self, count: u32) -> Self {
        self.hardware.network_modules = count;
        self
    }

    #[must_use]
    pub fn hypervisor(mut self, vendor: &str) -> Self {
        self.hypervisor = vendor.into();
        self
    }

    /// Changes the interface at `slot`, or adds one.
    #[must_use]
    pub fn interface(mut self, slot: &str, driver: &str, kernel: &str, mac: &str) -> Self {
        self = self.without_interface(slot);
        let interfaces = &mut self.hardware.interfaces;
        interfaces.push(Interface {
            name: String::new(),
            kernel: kernel.into(),
            slot: slot.into(),
            kind: driver.into(),
            mac: mac.into(),
        });
        interfaces.sort_by(|a, b| a.slot.cmp(&b.slot));
        self
    }

    #[must_use]
    pub fn without_interface(mut self, slot: &str) -> Self {
        self.hardware.interfaces.retain(|known| known.slot != slot);
        self
    }

    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.software.version = version.into();
        self
    }

    #[must_use]
    pub fn build_number(mut self, build: &str) -> Self {
        self.software.build = build.into();
        self
    }

    #[must_use]
    pub fn patch(mut self, patch: &str) -> Self {
        self.software.patch = patch.into();
        self
    }

    #[must_use]
    pub fn hotfix(mut self, name: &str) -> Self {
        self.software.hotfixes.push(name.into());
        self
    }

    #[must_use]
    pub fn without_hotfix(mut self, name: &str) -> Self {
        self.software.hotfixes.retain(|known| known != name);
        self
    }

    #[must_use]
    pub fn device_uuid(mut self, uuid: &str) -> Self {
        self.device.uuid = uuid.into();
        self
    }

    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.device.role = role;
        self
    }

    /// Configured addresses of the management interface, with prefix length.
    #[must_use]
    pub fn management(mut self, addresses: &[&str]) -> Self {
        self.device.management = addresses.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    #[must_use]
    pub fn registered(mut self, host: &str, device_uuid: &str) -> Self {
        self.registration = Some(Registration {
            host: host.into(),
            name: "headquarters".into(),
            device_uuid: device_uuid.into(),
            state: "Completed".into(),
        });
        self
    }

    /// Registered with a manager that is told of a restore.
    #[must_use]
    pub fn managed(self, enrolment: &Enrolment) -> Self {
        let Enrolment { host, port, ca, certificate, key } = enrolment;
        let uuid = self.device.uuid.clone();
        let text =
            format!("HOST={host}\nPORT={port}\nNAME=\"headquarters\"\nDEVICE_UUID={uuid}\nSTATE=Completed\n");
        self.registered(host, &uuid)
            .file("etc/appliance/manager.conf", text, 0o644)
            .file("etc/appliance/manager-ca.pem", ca.as_str(), 0o644)
            .file("etc/appliance/manager.pem", certificate.as_str(), 0o644)
            .file("etc/appliance/manager.key", key.as_str(), 0o600)
    }

    #[must_use]
    pub fn unregistered(mut self) -> Self {
        self.registration = None;
        self
    }

    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.changes.push(Change::File(path.into(), content.into(), mode));
        self
    }

    /// A file of so many bytes that do not compress.
    #[must_use]
    pub fn noise(mut self, path: &str, bytes: u64) -> Self {
        self.changes.push(Change::Noise(path.into(), bytes));
        self
    }

    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.changes.push(Change::Link(path.into(), target.into()));
        self
    }

    /// Takes away a path and everything below it.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        self.changes.push(Change::Remove(path.into()));
        self
    }

    /// A domain file in the override folder: it takes the place of the vendor's of the same name.
    #[must_use]
    pub fn domain_override(self, name: &str, toml: &str) -> Self {
        self.file(&format!("etc/reinstate/domains.d/{name}.toml"), toml, 0o644)
    }

    /// A profile fragment in the override folder: its keys go over the vendor's.
    #[must_use]
    pub fn profile_override(self, toml: &str) -> Self {
        self.file("etc/reinstate/profile.d/50-override.toml", toml, 0o644)
    }

    /// The vendor's profile without one of its tables, or without a key of one: `ha.ruleset`.
    #[must_use]
    pub fn without_profile(self, name: &str) -> Self {
        const FILE: &str = "profile.d/10-reference.toml";
        let place = format!("usr/lib/reinstate/{FILE}");
        let changed = self.changes.iter().rev().find_map(|change| match change {
            Change::File(path, content, _) if *path == place => {
                Some(String::from_utf8_lossy(content).into_owned())
            }
            _ => None,
        });
        // What was taken out before is not there.
        let again = changed.is_some();
        let vendors = || std::fs::read_to_string(reference_profile().join(FILE)).unwrap();
        let text = changed.unwrap_or_else(vendors);
        let mut profile: toml::Table = toml::from_str(&text).unwrap();
        let removed = match name.split_once('.') {
            None => profile.remove(name),
            Some((table, key)) => profile[table].as_table_mut().unwrap().remove(key),
        };
        assert!(removed.is_some() || again, "the profile has no {name}");
        self.file(&place, toml::to_string(&profile).unwrap(), 0o644)
    }

    pub fn device(&self) -> &DeviceIdentity {
        &self.device
    }

    pub fn hardware(&self) -> &HardwareIdentity {
        &self.hardware
    }

    /// Writes the appliance's root into a folder, which is made where it is missing.
    pub fn build(&self, root: &Path) -> Result<()> {
        let mut tree = Tree::default();
        self.image(&mut tree)?;
        accounts::write(self, &mut tree);
        configuration::write(self, &mut tree)?;
        for change in &self.changes {
            match change {
                Change::File(path, content, mode) => tree.file(path, content.clone(), *mode),
                Change::Noise(path, bytes) => tree.noise(path, *bytes),
                Change::Link(path, target) => tree.link(path, target.clone()),
                Change::Remove(path) => tree.remove(path),
            }
        }
        tree.write(root, self.seed, &accounts::groups(self.first_system_gid))
    }

    /// Writes only what the kernel shows of the hardware: `sys`.
    pub fn build_hardware(&self, root: &Path) -> Result<()> {
        let mut tree = Tree::default();
        self.machine(&mut tree);
        tree.write(root, self.seed, &BTreeMap::new())
    }

    fn machine(&self, tree: &mut Tree) {
        sysfs::dmi(tree, &self.hypervisor, &self.hardware.serial, &self.hardware.uuid);
        sysfs::loopback(tree);
        for interface in &self.hardware.interfaces {
            sysfs::interface(tree, interface);
        }
        for module in 1..=self.hardware.network_modules {
            tree.folder(&format!("sys/class/network_module/module{module}"), 0o755);
        }
    }

    /// What the machine and the image bring: no domain owns any of it.
    fn image(&self, tree: &mut Tree) -> Result<()> {
        self.machine(tree);
        let Software { version, build, patch, hotfixes } = &self.software;
        let model = &self.hardware.model;
        tree.file(
            "etc/appliance/release",
            format!("MODEL=\"{model}\"\nVERSION={version}\nBUILD={build}\nPATCH={patch}\n"),
            0o644,
        );
        tree.folder("var/lib/appliance/hotfixes", 0o755);
        for hotfix in hotfixes {
            let path = format!("var/lib/appliance/hotfixes/{hotfix}");
            tree.file(&path, "applied\n", 0o644);
        }
        let licence = format!("KEY={}\n", self.licence);
        tree.file("etc/appliance/licence/licence.conf", licence, 0o640);
        let machine = format!("{:.32}\n", derived(self.seed, "machine-id"));
        tree.file("etc/machine-id", machine, 0o444);
        tree.file("etc/fstab", "LABEL=root / ext4 defaults 0 1\n", 0o644);
        for (interface, name) in self.hardware.interfaces.iter().zip(configuration::NAMES) {
            tree.file(
                &format!("etc/systemd/network/10-{name}.link"),
                format!("[Match]\nPath=pci-{}\n\n[Link]\nAlternativeName={name}\n", interface.slot),
                0o644,
            );
        }
        tree.folder("run", 0o755);
        tree.folder("var/sf/backup", 0o750);
        vendor_files(tree, &reference_profile())
    }
}

/// The SSH server's configuration as the package has it, which includes the appliance's own.
pub fn shipped_sshd_config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/sshd_config")
}

/// Writes a vendor's `profile.d` and `domains.d` into an appliance's root.
pub fn install_profile(root: &Path, vendor: &Path) -> Result<()> {
    let mut tree = Tree::default();
    vendor_files(&mut tree, vendor)?;
    tree.write(root, 0, &BTreeMap::new())
}

/// The profile and the domains, as the image ships them.
fn vendor_files(tree: &mut Tree, folder: &Path) -> Result<()> {
    for part in ["profile.d", "domains.d"] {
        let from = folder.join(part);
        for entry in doing("list", &from, std::fs::read_dir(&from))? {
            let path = doing("list", &from, entry)?.path();
            let content = doing("read", &path, std::fs::read(&path))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            tree.file(&format!("usr/lib/reinstate/{part}/{name}"), content, 0o644);
        }
    }
    let from = shipped_sshd_config();
    let content = doing("read", &from, std::fs::read(&from))?;
    tree.file("usr/lib/reinstate/sshd_config", content, 0o644);
    Ok(())
}

/// Hexadecimal digits that follow from the seed and a word.
fn derived(seed: u64, what: &str) -> String {
    Digest::of(format!("{seed}/{what}").as_bytes()).to_string()
}

fn derived_uuid(seed: u64, what: &str) -> String {
    let hex = derived(seed, what);
    let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32]);
    format!("{a}-{b}-4{c}-8{d}-{e}")
}

/// In VMware's range for machines that it names itself.
fn derived_mac(seed: u64, slot: &str) -> String {
    let hex = derived(seed, slot);
    format!("00:50:56:{}:{}:{}", &hex[..2], &hex[2..4], &hex[4..6])
}

#[cfg(test)]
mod tests;
