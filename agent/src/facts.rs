//! What an appliance is at this moment: read as the profile says, from the files below its root.

use std::collections::BTreeMap;
use std::path::Path;

use reinstate_api::{
    Code, DeviceIdentity, Failure, HardwareIdentity, Interface, Registration, Role, Software, one_line,
};
use serde::{Deserialize, Serialize};

use crate::domain::Domains;
use crate::files::{Folder, found};
use crate::profile::{Profile, Reading};

/// Everything that checks, manifests and `show version` compare or print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub hardware: HardwareIdentity,
    pub hypervisor: String,
    pub device: DeviceIdentity,
    pub software: Software,
    pub licence: String,
    /// None where the appliance is not registered with a manager.
    pub registration: Option<Registration>,
    /// The questions of the first login are not answered yet.
    pub setup_needed: bool,
}

const MAX_BYTES: u64 = 64 << 10;

/// How the class of a network adapter begins in sysfs.
const NETWORK_CLASS: &str = "0x02";

impl Facts {
    pub fn read(root: &Folder, profile: &Profile) -> Result<Self, Failure> {
        let identity = &profile.identity;
        let one = |reading: &Reading| Ok::<_, Failure>(read(root, reading)?.into_iter().next());
        let some = |reading: &Option<Reading>| match reading {
            Some(reading) => Ok::<_, Failure>(one(reading)?.unwrap_or_default()),
            None => Ok(String::new()),
        };
        let role = some(&identity.role)?;
        Ok(Self {
            hardware: HardwareIdentity {
                model: must(root, "model", &identity.model)?,
                serial: one(&profile.hardware.serial)?.unwrap_or_default(),
                uuid: one(&profile.hardware.uuid)?.unwrap_or_default(),
                network_modules: match &profile.hardware.network_modules {
                    Some(reading) => read(root, reading)?.len() as u32,
                    None => 0,
                },
                interfaces: interfaces(root, profile)?,
            },
            hypervisor: one(&profile.hardware.hypervisor)?.unwrap_or_default(),
            device: DeviceIdentity {
                uuid: one(&identity.device_uuid)?.unwrap_or_default(),
                hostname: one(&identity.hostname)?.unwrap_or_default(),
                role: parse_role(&role)?,
                management: read(root, &profile.management.addresses)?,
            },
            software: Software {
                version: must(root, "version", &identity.version)?,
                build: must(root, "build", &identity.build)?,
                patch: some(&identity.patch)?,
                hotfixes: match &identity.hotfixes {
                    Some(reading) => read(root, reading)?,
                    None => Vec::new(),
                },
            },
            licence: some(&identity.licence)?,
            registration: registration(root, profile)?,
            setup_needed: match &profile.setup {
                Some(setup) => one(&setup.done)?.as_deref() != Some("done"),
                None => false,
            },
        })
    }
}

/// Who the appliance is with a configuration that was edited: what the tree does not hold stays.
pub fn device(
    tree: &Folder,
    profile: &Profile,
    domains: &Domains,
    now: &DeviceIdentity,
) -> Result<DeviceIdentity, Failure> {
    let stored = |reading: &Reading| domains.stored().any(|domain| domain.owns(reading.path()));
    let mut device = now.clone();
    if stored(&profile.identity.hostname) {
        device.hostname = read(tree, &profile.identity.hostname)?.into_iter().next().unwrap_or_default();
    }
    if stored(&profile.management.addresses) {
        device.management = read(tree, &profile.management.addresses)?;
    }
    Ok(device)
}

/// Who an appliance says that it is, as far as its domains hold it: by name, what, and the value.
#[derive(Debug, PartialEq, Eq)]
pub struct Claims(BTreeMap<&'static str, String>);

impl Claims {
    pub fn of(device: &DeviceIdentity, manager: Option<&Registration>) -> Self {
        Self(BTreeMap::from([
            ("device UUID", device.uuid.clone()),
            ("host name", device.hostname.clone()),
            ("role", device.role.to_string()),
            ("management addresses", device.management.join(", ")),
            ("manager", manager.map(|manager| manager.host.clone()).unwrap_or_default()),
        ]))
    }

    /// From a tree that holds only what domains own.
    pub fn read(tree: &Folder, profile: &Profile, domains: &Domains) -> Result<Self, Failure> {
        let identity = &profile.identity;
        let readings = [
            ("device UUID", Some(&identity.device_uuid)),
            ("host name", Some(&identity.hostname)),
            ("role", identity.role.as_ref()),
            ("management addresses", Some(&profile.management.addresses)),
            ("manager", profile.manager.as_ref().map(|manager| &manager.host)),
        ];
        let mut claims = BTreeMap::new();
        for (what, reading) in readings {
            let Some(reading) = reading.filter(|reading| domains.stored().any(|d| d.owns(reading.path())))
            else {
                continue;
            };
            let mut value = read(tree, reading)?.join(", ");
            if what == "role" && value.is_empty() {
                value = Role::Standalone.to_string();
            }
            claims.insert(what, value);
        }
        Ok(Self(claims))
    }

    /// The first claim that is another one there: what, this value, that value.
    pub fn differing<'a>(&'a self, other: &'a Self) -> Option<(&'static str, &'a str, &'a str)> {
        self.0.iter().find_map(|(what, value)| {
            let there = other.0.get(what)?;
            (there != value).then_some((*what, value.as_str(), there.as_str()))
        })
    }
}

fn parse_role(text: &str) -> Result<Role, Failure> {
    if text.is_empty() {
        return Ok(Role::Standalone);
    }
    Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
        let roles = Role::ALL.map(Role::as_str).join(", ");
        Failure::new(Code::ProfileInvalid, format!("the device's role is '{text}', which is none of {roles}"))
    })
}

pub(crate) fn registration(root: &Folder, profile: &Profile) -> Result<Option<Registration>, Failure> {
    let Some(manager) = &profile.manager else {
        return Ok(None);
    };
    let first = |reading| Ok::<_, Failure>(read(root, reading)?.into_iter().next());
    let Some(host) = first(&manager.host)?.filter(|host| !host.is_empty()) else {
        return Ok(None);
    };
    Ok(Some(Registration {
        host,
        name: first(&manager.name)?.unwrap_or_default(),
        device_uuid: first(&manager.device_uuid)?.unwrap_or_default(),
        state: first(&manager.state)?.unwrap_or_default(),
    }))
}

fn must(root: &Folder, what: &str, reading: &Reading) -> Result<String, Failure> {
    read(root, reading)?.into_iter().find(|value| !value.is_empty()).ok_or_else(|| {
        let place = match reading {
            Reading::File(path) | Reading::Folder(path) => path.to_string(),
            Reading::Key(path, key) => format!("{path}, key {key}"),
        };
        Failure::new(Code::ProfileInvalid, format!("the appliance's {what} cannot be read at {place}"))
            .hint("the image lacks this file, or the profile names the wrong place")
    })
}

pub(crate) fn read(root: &Folder, reading: &Reading) -> Result<Vec<String>, Failure> {
    let clean = |text: &str| one_line(text.trim());
    match reading {
        Reading::File(path) => Ok(text(root, path.as_ref())?.iter().map(|t| clean(t)).collect()),
        Reading::Key(path, key) => {
            let text = text(root, path.as_ref())?.unwrap_or_default();
            let values = text.lines().filter_map(|line| {
                let (name, value) = line.split_once('=')?;
                let value = value.trim();
                let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
                (name.trim() == key).then(|| clean(bare))
            });
            Ok(values.collect())
        }
        Reading::Folder(path) => {
            let names = found(root.list(path))?.unwrap_or_default();
            Ok(names.iter().map(|(name, _)| clean(&name.to_string_lossy())).collect())
        }
    }
}

fn text(root: &Folder, path: &Path) -> Result<Option<String>, Failure> {
    let bytes = found(root.read_in_root(path, MAX_BYTES))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The physical interfaces from sysfs in bus order, each with the name that its adapter has.
fn interfaces(root: &Folder, profile: &Profile) -> Result<Vec<Interface>, Failure> {
    let mut names: BTreeMap<String, String> = adapters(root, profile)?.into_iter().collect();
    let class = Path::new("sys/class/net");
    let mut physical = Vec::new();
    for (kernel, _) in found(root.list(class))?.unwrap_or_default() {
        let base = class.join(&kernel);
        // Virtual interfaces have no device behind them.
        let Some(driver) = found(root.read_link_in_root(base.join("device/driver")))? else {
            continue;
        };
        let bus = found(root.read_link_in_root(&base))?.unwrap_or_default();
        let bus = bus.to_string_lossy().into_owned();
        let Some(slot) = bus.split('/').rfind(|part| is_pci_address(part)) else {
            continue;
        };
        let kernel = one_line(&kernel.to_string_lossy());
        physical.push((
            bus.clone(),
            Interface {
                // The second port of one adapter has no name in the profile.
                name: names.remove(slot).unwrap_or_else(|| kernel.clone()),
                mac: text(root, &base.join("address"))?.unwrap_or_default().trim().to_owned(),
                kernel,
                slot: slot.to_owned(),
                kind: Path::new(&driver)
                    .file_name()
                    .map(|n| one_line(&n.to_string_lossy()))
                    .unwrap_or_default(),
            },
        ));
    }
    physical.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(physical.into_iter().map(|(_, interface)| interface).collect())
}

/// The network adapters on the bus, in its order, each with the profile's name for it: those whose driver
/// is not loaded yet included.
pub fn adapters(root: &Folder, profile: &Profile) -> Result<Vec<(String, String)>, Failure> {
    let devices = Path::new("sys/bus/pci/devices");
    let mut adapters = Vec::new();
    for (address, _) in found(root.list(devices))?.unwrap_or_default() {
        let device = devices.join(&address);
        if text(root, &device.join("class"))?.unwrap_or_default().starts_with(NETWORK_CLASS) {
            let place = found(root.read_link_in_root(&device))?.unwrap_or_default();
            adapters.push((place, one_line(&address.to_string_lossy())));
        }
    }
    adapters.sort();
    let names = &profile.hardware.interfaces;
    let name = |at: usize| names.get(at).cloned().unwrap_or_else(|| format!("extra{at}"));
    Ok(adapters.into_iter().enumerate().map(|(at, (_, address))| (address, name(at))).collect())
}

/// `0000:03:00.0`
fn is_pci_address(part: &str) -> bool {
    let shape: String = part.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
    shape == "xxxx:xx:xx.x"
}
