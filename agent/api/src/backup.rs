use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{DeviceIdentity, HardwareIdentity, Registration, Role, Software};

/// What an archive says of itself: shown before the question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDetails {
    pub file: String,
    pub created: Timestamp,
    pub hardware: HardwareIdentity,
    pub device: DeviceIdentity,
    pub software: Software,
    #[serde(default)]
    pub licence: String,
    pub manager: Option<Registration>,
    /// Bytes of configuration in the archive.
    pub bytes: u64,
    /// Files of configuration in the archive.
    pub files: u64,
}

/// A file in the backup folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupEntry {
    pub file: String,
    pub bytes: u64,
    pub modified: Timestamp,
    /// A download that has not ended.
    pub partial: bool,
    /// From the manifest; absent where the file is not a readable archive.
    pub details: Option<BackupDetails>,
    /// What is in it, where it is a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleDetails>,
    /// By its name it tells of the appliance, and is no backup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tech_support: bool,
    /// Why there are no details.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// What is in a cluster's bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleDetails {
    /// From the file's name; empty where that tells none.
    pub cluster: String,
    /// In the bundle's order.
    pub archives: Vec<NodeArchive>,
}

/// One archive in a bundle: what its manifest says, texts cut after 255 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeArchive {
    pub file: String,
    pub bytes: u64,
    pub hostname: String,
    /// The device UUID.
    pub uuid: String,
    pub role: Role,
    /// Absent where the manifest cannot be read.
    pub created: Option<Timestamp>,
    pub version: String,
    pub build: String,
    /// Why the manifest cannot be read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// What a restore does to one domain, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainChange {
    pub domain: String,
    /// `replace`, `merge`, `remove`, `keep`, or `absent`: here, but not in the archive, so left alone.
    pub policy: String,
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
}

impl DomainChange {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}
