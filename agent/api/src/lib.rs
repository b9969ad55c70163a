//! What the agent says and hears: requests, status, failure codes, secrets that never print.
//!
//! The shell and every other client of the agent share these types and nothing else of the agent.

mod after;
mod appliance;
mod backup;
mod configure;
mod failure;
mod group;
mod identity;
mod job;
mod request;
mod secret;

pub use after::{Accepted, Acknowledged, CheckIn, Manager, Tasks};
pub use appliance::{
    Addressing, BackupFile, Configuration, Disk, Expert, ExpertEntry, ExpertRequest, FileSystem,
    InterfaceView, Log, Method, Network, PingRequest, Pinged, Session, Setup, Ssh, Time, TrustedHost,
    UserView,
};
pub use backup::{BackupDetails, BackupEntry, BundleDetails, DomainChange, NodeArchive};
pub use configure::{
    Access, CONFIGURE_WITHIN, Change, ConfigureRequest, HOSTNAME, Ipv4, Ipv6, ManagerAdd, PasswordCheck,
    RenameRequest, SERVERS,
};
pub use failure::{Code, Failure, one_line};
pub use group::{ClearLock, GroupView, HaState, MemberView, Release};
pub use identity::{DeviceIdentity, HardwareIdentity, Interface, Registration, Role, Software, Version};
pub use job::{
    HistoryEntry, HostKey, JobKind, JobView, Lock, Outcome, Phase, Progress, Question, QuestionKind, Status,
};
pub use request::{
    Answer, AnswerRequest, CONFIRM_WITHIN, Created, ExtractRequest, Extracted, ImportRequest, Location,
    Overridden, Override, PublicKey, RestoreRequest, Source, Started, Texts,
};
pub use secret::Secret;

/// Where the agent listens, below the appliance's root.
pub const SOCKET: &str = "run/reinstate/agent.sock";

/// How the name of a file ends that tells of an appliance and restores nothing.
pub const TECH_SUPPORT: &str = ".tech-support.tar.gz";

/// Where backups are kept, below the appliance's root.
pub const BACKUP_FOLDER: &str = "var/sf/backup";
