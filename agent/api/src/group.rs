use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Lock, Role};

/// What the HA engine says of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HaState {
    Active,
    Standby,
    /// The engine runs and the member can be neither.
    Fault,
    /// The engine does not run, or does not say.
    #[default]
    Unknown,
}

impl HaState {
    pub const ALL: [HaState; 4] = [HaState::Active, HaState::Standby, HaState::Fault, HaState::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            HaState::Active => "active",
            HaState::Standby => "standby",
            HaState::Fault => "fault",
            HaState::Unknown => "unknown",
        }
    }
}

impl fmt::Display for HaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The HA pair or cluster that an appliance is a member of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    pub name: String,
    /// This appliance's own.
    pub role: Role,
    pub state: HaState,
    pub members: Vec<MemberView>,
}

/// Another member, as it was met last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its device UUID.
    pub device: String,
    pub hostname: String,
    pub role: Role,
    pub addresses: Vec<String>,
    /// None where it did not answer.
    pub state: Option<HaState>,
    /// Why it did not answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub silence: String,
    pub lock: Option<Lock>,
    /// When that was.
    pub at: Timestamp,
}

/// A lock on another member that is to be released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub restore: Uuid,
    /// Host name of the member.
    pub hostname: String,
    pub attempts: u64,
    /// Why the last attempt was in vain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// `POST /v1/lock/clear`: take the restore lock of this appliance away from its restore.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearLock {
    /// Of the restore whose lock it is, as it was shown.
    pub restore: Uuid,
    /// Kept on record.
    pub reason: String,
    /// Also where that restore has said that it commits.
    #[serde(default)]
    pub committing: bool,
}
