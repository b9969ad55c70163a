//! Telling the manager of a restore: one `PUT` over TLS, with what the restored configuration holds.
//!
//! Each attempt is a process of its own, which ends with it: TLS costs an idle daemon nothing.

mod credentials;
mod send;

use std::fmt;

use reinstate_api::{DeviceIdentity, HardwareIdentity, Software};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::facts::Facts;

pub use credentials::Credentials;
pub use send::tell;

/// What an attempt is given.
#[derive(Debug, Serialize, Deserialize)]
pub struct Telling {
    pub credentials: Credentials,
    pub report: Report,
}

/// What the manager is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    device: DeviceIdentity,
    hardware: HardwareIdentity,
    software: Software,
    restore: Uuid,
    /// The manager has policy that this device does not: it is to be deployed again.
    state: String,
}

impl Report {
    pub fn new(facts: Facts, restore: Uuid) -> Self {
        let Facts { device, hardware, software, .. } = facts;
        Self { device, hardware, software, restore, state: "out-of-date".into() }
    }
}

/// What the manager said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    /// One line: the status, and the beginning of what came with it.
    pub text: String,
}

impl Answer {
    pub fn is_accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Asking again soon would get the same answer.
    pub fn is_final(&self) -> bool {
        (400..500).contains(&self.status) && !matches!(self.status, 408 | 425 | 429)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
