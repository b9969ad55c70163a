use std::fmt;

use serde::{Deserialize, Serialize};

/// Defines [`Code`] with its wire names, so that a code is written once.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $wire:literal,)+) => {
        /// A stable name for a kind of failure. Codes are added, never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $wire)] $name,)+
        }

        impl Code {
            /// Every code, with what it means.
            pub const ALL: &'static [(Code, &'static str)] = &[$((Code::$name, concat!($($doc),+))),+];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $wire),+ }
            }
        }
    };
}

codes! {
    /// The request is not one that the agent knows, or a value in it is outside its range.
    BadRequest = "bad-request",
    /// Whoever asks may not.
    Forbidden = "forbidden",
    /// The thing that was named does not exist.
    NotFound = "not-found",
    /// As many sessions as there may be are open.
    TooManySessions = "too-many-sessions",
    /// A new password is not what a password has to be.
    PasswordRefused = "password-refused",
    /// The questions of the first login are not answered yet.
    SetupNeeded = "setup-needed",
    /// Another job is running on this appliance.
    Busy = "busy",
    /// A restore lock is held by another restore.
    LockHeld = "lock-held",
    /// The profile or a domain is not usable.
    ProfileInvalid = "profile-invalid",

    /// The archive was made on another model.
    ModelMismatch = "model-mismatch",
    /// The archive's appliance had another number of network modules.
    NetworkModulesMismatch = "network-modules-mismatch",
    /// The interfaces differ by slot or type.
    InterfacesMismatch = "interfaces-mismatch",
    /// The software version differs.
    VersionMismatch = "version-mismatch",
    /// The build differs.
    BuildMismatch = "build-mismatch",
    /// The patch level differs.
    PatchMismatch = "patch-mismatch",
    /// The sets of hotfixes differ.
    HotfixMismatch = "hotfix-mismatch",
    /// The profile does not support this hypervisor.
    HypervisorUnsupported = "hypervisor-unsupported",
    /// This appliance is registered under another device UUID.
    RegisteredOtherDevice = "registered-other-device",
    /// This appliance is registered with another manager.
    RegisteredOtherManager = "registered-other-manager",
    /// The backup is of another device than the one that was asked for.
    DeviceMismatch = "device-mismatch",
    /// The role in the file name is not the manifest's.
    RoleMismatch = "role-mismatch",
    /// The device that the backup is of is alive: it answers in its HA group.
    DeviceAlive = "device-alive",
    /// A member of the HA group does not answer.
    PeerUnreachable = "peer-unreachable",
    /// A member of the HA group was reached and does not agree on the group.
    PeerMismatch = "peer-mismatch",
    /// A member of the HA group did something that its endpoint does not.
    PeerProtocol = "peer-protocol",
    /// No control node of the cluster answers.
    ControlMissing = "control-missing",
    /// A restore lock was taken away from its restore.
    LockLost = "lock-lost",
    /// The lock service does not answer, or not as its protocol says.
    LockService = "lock-service",
    /// This appliance's own firewall does not let members of the HA group in.
    PeerPortClosed = "peer-port-closed",
    /// Another device answers at the backup's management address.
    AddressInUse = "address-in-use",
    /// Not enough free space.
    NoSpace = "no-space",
    /// Not enough free inodes.
    NoInodes = "no-inodes",

    /// Another archive of the same name is in the backup folder.
    BackupExists = "backup-exists",
    /// The archive is of a format version that this agent does not read.
    ArchiveFormat = "archive-format",
    /// The file is a bundle of archives, not an archive.
    ArchiveBundle = "archive-bundle",
    /// The archive is damaged, cut or outside the format.
    ArchiveInvalid = "archive-invalid",
    /// The archive exceeds a limit.
    ArchiveTooLarge = "archive-too-large",
    /// A file's content does not have the listed digest.
    DigestMismatch = "digest-mismatch",
    /// The archive holds a domain, or a version of one, that this appliance does not have.
    DomainUnknown = "domain-unknown",
    /// The archive holds a path that its domain does not own.
    PathNotOwned = "path-not-owned",
    /// A file holds a line that is never activated.
    LineRefused = "line-refused",
    /// An owner or group of the archive does not exist here.
    OwnerUnknown = "owner-unknown",
    /// A configuration that would give an account more than its place.
    AccountRefused = "account-refused",
    /// A domain's own checker does not accept the configuration.
    ValidationFailed = "validation-failed",

    /// The server's name does not resolve.
    NameUnresolved = "name-unresolved",
    /// The server cannot be reached.
    HostUnreachable = "host-unreachable",
    /// The server's key is not known and was not accepted.
    HostKeyUnknown = "host-key-unknown",
    /// The server's key is not the known or the given one.
    HostKeyChanged = "host-key-changed",
    /// The server accepts none of our credentials.
    AuthenticationFailed = "authentication-failed",
    /// The server does not have the file, or does not let us read it.
    RemoteFile = "remote-file",
    /// The server did something that the protocol does not allow.
    RemoteProtocol = "remote-protocol",
    /// The connection broke off.
    ConnectionLost = "connection-lost",
    /// The server stopped sending.
    Stalled = "stalled",

    /// The certificate, the key or the authority for the manager is missing or not usable.
    ManagerCredentials = "manager-credentials",
    /// The manager's own certificate is not of the authority that the configuration names.
    ManagerUntrusted = "manager-untrusted",
    /// The manager was reached and did not accept what it was told.
    ManagerRefused = "manager-refused",

    /// An admin ended it.
    Aborted = "aborted",
    /// The question was answered with no.
    Declined = "declined",
    /// Nobody answered the question in time.
    Unanswered = "unanswered",
    /// The agent ended in the middle of it.
    Interrupted = "interrupted",

    /// The live configuration could not be read.
    SnapshotFailed = "snapshot-failed",
    /// The generation could not be made the live configuration.
    ActivationFailed = "activation-failed",
    /// Neither the new nor the previous configuration could be made whole.
    ConfigurationBroken = "configuration-broken",
    /// The appliance was not healthy after the restart.
    Unhealthy = "unhealthy",
    /// Nobody confirmed the restored configuration in time.
    Unconfirmed = "unconfirmed",
    /// The restart did not happen.
    RebootFailed = "reboot-failed",
    /// An admin asked for the way back.
    RollbackRequested = "rollback-requested",
    /// The agent's own record cannot be read.
    StateUnreadable = "state-unreadable",
    /// The operating system refused something.
    Io = "io",
    /// The agent cannot be reached.
    AgentUnreachable = "agent-unreachable",
    /// A fault of the agent itself.
    Internal = "internal",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something was refused or failed: one sentence naming the thing and both values, and what to
/// do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: Code,
    /// One sentence, without control characters.
    pub message: String,
    /// What to do next; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Failure {
    pub fn new(code: Code, message: impl AsRef<str>) -> Self {
        Self { code, message: one_line(message.as_ref()), hint: String::new() }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = one_line(hint.as_ref());
        self
    }

    /// An operating system error, with what was being done.
    pub fn io(doing: impl fmt::Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded => Self::new(Code::NoSpace, format!("{doing}: {error}"))
                .hint("free space on that file system, for instance by removing old backups"),
            _ => Self::new(Code::Io, format!("{doing}: {error}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Text from outside (file names, banners, other programs' output) made safe for one line on a
/// terminal: control, format and direction characters become visible escapes.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_format(c) {
            line.extend(c.escape_unicode());
        } else {
            line.push(c);
        }
    }
    line
}

/// Characters that print nothing or change the direction of what follows.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_travels_under_its_wire_name() {
        for (code, _) in Code::ALL {
            let mut holder = std::collections::BTreeMap::new();
            holder.insert("code", code);
            assert_eq!(code.as_str(), code.to_string());
            assert!(code.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '-'));
        }
    }

    #[test]
    fn escapes_and_direction_marks_are_made_visible() {
        assert_eq!(one_line("a\x1b[2Jb\u{202e}c\r\n"), "a\\u{1b}[2Jb\\u{202e}c\\u{d}\\u{a}");
        assert_eq!(one_line("Grüße 東京"), "Grüße 東京");
    }
}
