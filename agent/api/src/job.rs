use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{BackupDetails, CheckIn, DomainChange, Failure, GroupView, Overridden, Override, Release, Tasks};

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    Restore,
    Check,
    Rollback,
    Factory,
    Configure,
    /// Not a job that ran: an admin took a restore lock away.
    #[serde(rename = "clear-lock")]
    ClearLock,
}

impl JobKind {
    pub fn as_str(self) -> &'static str {
        match self {
            JobKind::Restore => "restore",
            JobKind::Check => "check",
            JobKind::Rollback => "rollback",
            JobKind::Factory => "factory",
            JobKind::Configure => "configure",
            JobKind::ClearLock => "clear-lock",
        }
    }

    /// The command by which what such a job has brought stays, where it waits for one.
    pub fn confirmation(self) -> &'static str {
        match self {
            JobKind::Configure => "configure confirm",
            _ => "restore confirm",
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a job stands. Everything before `Committed` leaves the appliance as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Receiving,
    AwaitingAnswer,
    Locking,
    Snapshotting,
    Validating,
    /// Every member of the HA group is told that the commit comes; nothing was changed yet.
    Committing,
    /// The point of no return.
    Committed,
    Rebooting,
    Activating,
    Finishing,
}

impl Phase {
    pub const ALL: [Phase; 10] = [
        Phase::Receiving,
        Phase::AwaitingAnswer,
        Phase::Locking,
        Phase::Snapshotting,
        Phase::Validating,
        Phase::Committing,
        Phase::Committed,
        Phase::Rebooting,
        Phase::Activating,
        Phase::Finishing,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Receiving => "receiving",
            Phase::AwaitingAnswer => "awaiting-answer",
            Phase::Locking => "locking",
            Phase::Snapshotting => "snapshotting",
            Phase::Validating => "validating",
            Phase::Committing => "committing",
            Phase::Committed => "committed",
            Phase::Rebooting => "rebooting",
            Phase::Activating => "activating",
            Phase::Finishing => "finishing",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    Succeeded,
    /// Nothing was changed.
    Failed {
        failures: Vec<Failure>,
    },
    /// The new configuration was activated, then taken back.
    RolledBack {
        failures: Vec<Failure>,
    },
    /// Neither configuration could be made whole; network and SSH stay down.
    Broken {
        failures: Vec<Failure>,
    },
}

impl Outcome {
    pub fn is_success(&self) -> bool {
        matches!(self, Outcome::Succeeded)
    }

    pub fn failures(&self) -> &[Failure] {
        match self {
            Outcome::Succeeded => &[],
            Outcome::Failed { failures }
            | Outcome::RolledBack { failures }
            | Outcome::Broken { failures } => failures,
        }
    }

    /// `succeeded`, `failed`, `rolled back` or `broken`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed { .. } => "failed",
            Outcome::RolledBack { .. } => "rolled back",
            Outcome::Broken { .. } => "broken",
        }
    }
}

/// Bytes received of the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub bytes: u64,
    /// 0 while the size is not known.
    pub total: u64,
    /// Bytes that an earlier, interrupted fetch had already brought.
    pub resumed: u64,
    /// Bytes a second over the last seconds.
    pub rate: u64,
}

/// Something that a job waits for an admin to say. Any admin may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    pub number: u64,
    pub kind: QuestionKind,
    /// Unanswered by then, the job ends and nothing was changed.
    pub until: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuestionKind {
    /// Is this the server's key? Yes or no.
    HostKey(HostKey),
    /// What the server asks for; the answer is a secret, echoed or not.
    Prompt { prompt: String, echo: bool },
    /// Go on? The details and the changes are in the job's view.
    Confirm,
    /// Go on against what was found, a sentence each? The answer is kept on record.
    Override { what: Override, why: Vec<String> },
}

/// A server's host key that is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// As the admin typed it, `[host]:port` where the port is not 22.
    pub host: String,
    pub algorithm: String,
    /// `SHA256:…`
    pub sha256: String,
    /// `MD5:aa:bb:…`
    pub md5: String,
}

/// A job as clients see it, whole at every event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    pub id: Uuid,
    pub kind: JobKind,
    /// `backup fw.tar` or `sftp://user@host:22/path`.
    pub source: String,
    /// Who asked for it.
    pub by: String,
    pub started: Timestamp,
    pub phase: Phase,
    pub progress: Option<Progress>,
    pub question: Option<Question>,
    /// Set while the restored configuration waits for `restore confirm`: by then, or the previous one comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_until: Option<Timestamp>,
    pub details: Option<BackupDetails>,
    /// Empty until the archive's list of files is here; exact once it is whole.
    pub changes: Vec<DomainChange>,
    /// What is worth a line to whoever watches, in order.
    pub notes: Vec<String>,
    pub ended: Option<Timestamp>,
    pub outcome: Option<Outcome>,
}

/// A job that has ended, on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    pub id: Uuid,
    pub kind: JobKind,
    pub source: String,
    pub by: String,
    pub started: Timestamp,
    pub ended: Timestamp,
    /// The last phase that was reached.
    pub phase: Phase,
    /// What was active before and after.
    pub from: u64,
    pub to: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What an admin went on against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Overridden>,
    pub outcome: Outcome,
}

/// The restore lock: which restore, by whom, since when, in which phase. Keys that a later version adds
/// are not looked at: members of a group may differ in version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The restore that holds it: ownership is this id.
    pub id: Uuid,
    /// Device UUID and host name of the member that restores.
    pub device: String,
    pub hostname: String,
    /// The admin who asked for it.
    pub by: String,
    pub since: Timestamp,
    pub phase: Phase,
    /// Host names of the members that did not answer, and that it went on without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

/// `GET /v1/status`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The job that runs, or the last one since the agent started.
    pub job: Option<JobView>,
    /// The last job on record.
    pub last: Option<HistoryEntry>,
    /// The generation that the live configuration was made from.
    pub active: u64,
    /// What `restore rollback` goes back to.
    pub previous: Option<u64>,
    pub lock: Option<Lock>,
    /// How far the manager has been told of the last restore; absent where there is nothing to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkin: Option<CheckIn>,
    /// What is left to do by hand after the last restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Tasks>,
    /// The HA pair or cluster that this appliance is a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupView>,
    /// Locks of restores that are over here, whose release the other member has not confirmed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<Release>,
    /// What an admin has to know at once, for instance a record that cannot be read.
    pub warnings: Vec<String>,
}
