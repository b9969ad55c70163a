use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Secret;

/// `POST /v1/restore`: start a restore, or a check of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    pub source: Source,
    /// Run every check and the validators, show the diff, then stop, having changed nothing.
    #[serde(default)]
    pub check: bool,
    /// The UUID of the one device whose backup will do; any where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Where the admin knows better than a check, said beforehand; each that was needed is kept on record.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub overrides: BTreeSet<Override>,
    /// Minutes after the restart, 1 to 1,440, within which an admin has to confirm the restored configuration; else
    /// the present one comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within: Option<u32>,
}

/// Minutes within which an admin may be asked to confirm a restore: one to a day's.
pub const CONFIRM_WITHIN: std::ops::RangeInclusive<u32> = 1..=1440;

/// A way on against a check of the HA group or of the network: kept on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Override {
    /// A member that does not answer is not asked and not locked.
    WithoutPeer,
    /// A data node is restored while no control node answers.
    WithoutControl,
    /// Another device answers at the backup's management address.
    AddressInUseOk,
}

impl Override {
    pub const ALL: [Override; 3] =
        [Override::WithoutPeer, Override::WithoutControl, Override::AddressInUseOk];

    /// The word by which it is asked for.
    pub fn as_str(self) -> &'static str {
        match self {
            Override::WithoutPeer => "without-peer",
            Override::WithoutControl => "without-control",
            Override::AddressInUseOk => "address-in-use-ok",
        }
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An override that was needed, on record: what was found, and went unheeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overridden {
    pub what: Override,
    /// One sentence: `fw-b did not answer at 192.0.2.2, 198.51.100.2`.
    pub why: String,
    /// The device UUID of the member that it concerns; empty where it concerns none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub member: String,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A file name in the backup folder, without path parts.
    Backup(String),
    /// A file on an SSH server.
    Location(Location),
}

/// A file on an SSH server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// A name, an IPv4 address or an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    pub user: String,
    /// The path on the server, the file name included.
    pub path: String,
    /// `SHA256:…` as OpenSSH prints it, or `MD5:…`: accept this host key without asking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// What starting a job answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Started {
    pub id: Uuid,
}

/// `POST /v1/backups/import`: copy a backup from the medium with the label REINSTATE.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// Its name there; where it is left out, there must be one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// `POST /v1/backups` and `/v1/backups/import` answer with the name of the new file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    pub file: String,
    pub bytes: u64,
}

/// `POST /v1/backups/extract`: take archives out of a bundle in the backup folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractRequest {
    /// The bundle's name in the backup folder.
    pub bundle: String,
    /// A node's host name, or an archive's name in the bundle; all of them where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// `POST /v1/backups/extract` answers with the archives that were asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Extracted {
    /// Taken out of the bundle now.
    pub files: Vec<Created>,
    /// Here already, with the same content.
    pub there: Vec<Created>,
}

/// `POST /v1/answer`: the answer to the question that a job asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// The question's number: an answer to an earlier question is refused.
    pub question: u64,
    pub answer: Answer,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Answer {
    Yes,
    No,
    Secret(Secret),
}

/// `GET /v1/public-key`: the appliance's own key, for an SSH server's `authorized_keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// One line, as OpenSSH writes it.
    pub line: String,
}

/// `GET /v1/texts`: the profile's words to the admin, a paragraph each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    /// Shown before the question.
    pub caution: Vec<String>,
    /// What is left to do by hand after a restore.
    pub post_restore: Vec<String>,
}
