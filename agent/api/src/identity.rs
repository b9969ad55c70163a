use std::fmt;

use serde::{Deserialize, Serialize};

/// The machine: never restored. Serial and UUID are shown, not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareIdentity {
    pub model: String,
    #[serde(default)]
    pub serial: String,
    #[serde(default)]
    pub uuid: String,
    /// Installed network modules; 0 on an appliance without slots for them.
    pub network_modules: u32,
    /// In bus order.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
}

/// A physical network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// The profile's logical name, given in bus order: `management0`, `data1`.
    pub name: String,
    /// The kernel's name at the time: shown as a mapping, never compared.
    #[serde(default)]
    pub kernel: String,
    /// Where it sits on the bus: `0000:03:00.0`.
    pub slot: String,
    /// The driver: `vmxnet3`, `virtio_net`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Shown, never compared.
    #[serde(default)]
    pub mac: String,
}

/// What the device is to others: configuration, so it comes with the backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceIdentity {
    pub uuid: String,
    pub hostname: String,
    #[serde(default)]
    pub role: Role,
    /// Management addresses with prefix length, `192.0.2.10/24`; `dhcp` where a server gives them.
    #[serde(default)]
    pub management: Vec<String>,
}

/// A device's place in an HA pair or a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    #[default]
    Standalone,
    Primary,
    Secondary,
    Control,
    Data,
}

impl Role {
    pub const ALL: [Role; 5] =
        [Role::Standalone, Role::Primary, Role::Secondary, Role::Control, Role::Data];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Standalone => "standalone",
            Role::Primary => "primary",
            Role::Secondary => "secondary",
            Role::Control => "control",
            Role::Data => "data",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The software that runs on the appliance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Software {
    pub version: String,
    pub build: String,
    #[serde(default)]
    pub patch: String,
    /// Sorted by name.
    #[serde(default)]
    pub hotfixes: Vec<String>,
}

/// The manager that an appliance belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    pub host: String,
    #[serde(default)]
    pub name: String,
    /// The device UUID under which the manager knows the appliance.
    #[serde(default)]
    pub device_uuid: String,
    /// `Pending` or `Completed`.
    #[serde(default)]
    pub state: String,
}

/// `GET /v1/version`: what this appliance is and runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The product's name, from the profile.
    pub product: String,
    pub hostname: String,
    pub model: String,
    /// The device UUID.
    pub uuid: String,
    pub version: String,
    pub build: String,
    pub patch: String,
    /// Sorted by name.
    pub hotfixes: Vec<String>,
    pub serial: String,
    /// Management addresses with prefix length; `dhcp` where a server gives them.
    pub management: Vec<String>,
    /// The agent's own version.
    pub reinstate: String,
}
