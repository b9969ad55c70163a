use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Failure, Registration};

/// How far the manager has been told of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckIn {
    pub restore: Uuid,
    /// The restore's end.
    pub since: Timestamp,
    /// What the manager said when it accepted; absent as long as it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    /// Attempts since the agent's start.
    #[serde(default)]
    pub attempts: u64,
    /// Of those, the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// Why the last one was in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

/// That the manager has accepted a check-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    pub at: Timestamp,
    /// `204 No Content`
    pub answer: String,
}

/// What is left to do by hand after a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tasks {
    pub restore: Uuid,
    /// The restore's end.
    pub since: Timestamp,
    /// The product's list, a paragraph each.
    pub texts: Vec<String>,
    /// What the restore has taken off, a line each, to be enrolled again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enrol: Vec<String>,
    /// Shown at each login until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
}

/// Who has taken note of the tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledged {
    pub by: String,
    pub at: Timestamp,
}

/// `GET /v1/managers`: a manager, and how far it has been told of the last restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    // Not flattened: serde cannot flatten a type that denies unknown fields.
    pub host: String,
    pub name: String,
    pub device_uuid: String,
    /// `Pending` or `Completed`.
    pub state: String,
    /// Absent where there is nothing that the manager is owed or was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkin: Option<CheckIn>,
}

impl Manager {
    pub fn new(registration: Registration, checkin: Option<CheckIn>) -> Self {
        let Registration { host, name, device_uuid, state } = registration;
        Self { host, name, device_uuid, state, checkin }
    }
}
