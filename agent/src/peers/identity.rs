//! What a member says of itself: the file `/identity`, in TOML.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reinstate_api::{Code, Failure, Overridden, Phase, Role, one_line};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use reinstate_api::HaState;

/// The longest of its texts, in characters.
const MAX_TEXT: usize = 500;

/// What a member says of itself. Keys that a later version adds are not looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// [`Identity::FORMAT`]
    pub format: u32,
    /// Of this start of the agent: by it a member knows itself.
    pub instance: Uuid,
    pub device: String,
    pub hostname: String,
    /// As configured.
    pub role: Role,
    /// What the HA engine says.
    pub state: HaState,
    pub group: String,
    /// Which restores are over here, newest first.
    #[serde(default)]
    pub over: Vec<Uuid>,
    #[serde(default)]
    pub running: Option<Running>,
    /// The role of each member, by device UUID, as this one has it.
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
    /// What admins went on against here, newest first.
    #[serde(default)]
    pub overrides: Vec<RecordedOverride>,
}

/// The job that runs there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub id: Uuid,
    pub phase: Phase,
    pub since: Timestamp,
    pub by: String,
}

/// An override with the restore that it was part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedOverride {
    pub restore: Uuid,
    pub at: Timestamp,
    pub by: String,
    pub overridden: Overridden,
}

impl Identity {
    /// The format that is written, and read.
    pub const FORMAT: u32 = 1;

    /// How many overrides a member tells of.
    pub const OVERRIDES: usize = 20;

    pub fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        toml::to_string(self)
            .map(String::into_bytes)
            .map_err(|e| Failure::new(Code::Internal, format!("the identity cannot be written: {e}")))
    }

    /// Safe to show and to keep, whatever a member says.
    fn bounded(mut self) -> Self {
        let line = |text: &str| one_line(&text.chars().take(MAX_TEXT).collect::<String>());
        for text in [&mut self.device, &mut self.hostname, &mut self.group] {
            *text = line(text);
        }
        if let Some(running) = &mut self.running {
            running.by = line(&running.by);
        }
        self.overrides.truncate(Self::OVERRIDES);
        for told in &mut self.overrides {
            let Overridden { why, member, .. } = &mut told.overridden;
            (told.by, *why, *member) = (line(&told.by), line(why), line(member));
        }
        self
    }

    pub(super) fn parse(bytes: &[u8], of: &str) -> Result<Self, Failure> {
        let strange = |why: &str| {
            Failure::new(Code::PeerProtocol, format!("the identity of {of} cannot be read: {why}"))
        };
        let text = std::str::from_utf8(bytes).map_err(|_| strange("it is no text"))?;
        let identity: Self = toml::from_str(text).map_err(|e| strange(e.message()))?;
        match identity.format {
            Self::FORMAT => Ok(identity.bounded()),
            format => Err(strange(&format!("its format is {format}, this agent's is {}", Self::FORMAT))),
        }
    }
}
