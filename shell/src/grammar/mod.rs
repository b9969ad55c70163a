//! Every command, as one table: the parser, `help`, `?`, completion, the manual page and the reference
//! read it, and nothing else knows a command's words.

mod backup;
mod configure;
mod restore;
mod show;
mod system;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reinstate_api::{
    Access, Change, ExtractRequest, ImportRequest, Override, RenameRequest, RestoreRequest, Secret,
};

use crate::values::Endpoint;

/// A line that was understood.
#[derive(Debug)]
pub enum Command {
    Restore(RestoreRequest),
    RestoreAbort,
    RestoreConfirm,
    RestoreRollback,
    RestoreFactory,
    ClearRestoreLock,
    BackupCreate,
    BackupImport(ImportRequest),
    BackupExtract(ExtractRequest),
    BackupDelete(String),
    /// What is shown, and whether as JSON.
    Show(View, bool),
    Configure(Change),
    /// The password is asked for.
    ConfigurePassword(Option<String>),
    ConfigureUserAdd(String, Access),
    ManagerDelete,
    TasksAcknowledge,
    HighAvailabilityResume,
    ExpertAllow(bool),
    ConfigurationActivate(String),
    ConfigurationDelete(String),
    ConfigurationRename(String, RenameRequest),
    Ping(String, u16),
    Reboot,
    Shutdown,
    Expert,
    Help,
    History,
    Exit,
}

/// What can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    Restore,
    RestoreDetail,
    RestoreHistory,
    RestoreLock,
    RestoreLog(u32),
    Backups,
    Version,
    Model,
    Network,
    Interface(Option<String>),
    Managers,
    HighAvailability,
    Cluster,
    Time,
    Disk,
    Users,
    Ssh,
    PublicKey,
    Configurations,
    ConfigurationDiff(String),
    TechSupport,
}

/// One command.
pub struct Row {
    pub parts: &'static [Part],
    pub help: &'static str,
    /// Who may.
    pub access: Access,
    /// None where a part that this combination of optional parts needs was left out.
    pub build: fn(Draft) -> Option<Command>,
}

/// What may stand at one place of a command.
pub enum Part {
    Word(&'static str, &'static str),
    /// One of some words.
    Choice(&'static [(&'static str, &'static str)], fn(&mut Draft, &str)),
    Argument(Argument),
    Optional(&'static [Part]),
}

/// A typed argument.
pub struct Argument {
    pub name: &'static str,
    pub help: &'static str,
    /// How it is taken. False: not of the type.
    pub take: fn(&mut Draft, &str) -> bool,
    pub completes: Completes,
    /// It is never kept in a history.
    pub secret: bool,
}

/// What an argument can be completed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completes {
    Nothing,
    /// Files in the backup folder.
    Backups,
}

/// The typed arguments of a line, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    endpoint: Option<Endpoint>,
    user: Option<String>,
    path: Option<String>,
    file: Option<String>,
    node: Option<String>,
    fingerprint: Option<String>,
    device: Option<String>,
    confirm_within: Option<u32>,
    check: bool,
    json: bool,
    overrides: BTreeSet<Override>,
    host: Option<String>,
    name: Option<String>,
    to: Option<String>,
    key: Option<Secret>,
    word: Option<String>,
    access: Option<Access>,
    number: Option<u32>,
    ipv4: Option<Ipv4Addr>,
    gateway4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    gateway6: Option<Ipv6Addr>,
    prefix: Option<u8>,
    addresses: Option<Vec<IpAddr>>,
    names: Option<Vec<String>>,
}

/// Keeps an argument; false where it is not of its type.
fn keep<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

type Take = fn(&mut Draft, &str) -> bool;

const fn argument(name: &'static str, help: &'static str, take: Take) -> Part {
    Part::Argument(Argument { name, help, take, completes: Completes::Nothing, secret: false })
}

/// A file in the backup folder.
const fn backup_file(name: &'static str, help: &'static str, take: Take) -> Part {
    Part::Argument(Argument { name, help, take, completes: Completes::Backups, secret: false })
}

const fn secret(name: &'static str, help: &'static str, take: Take) -> Part {
    Part::Argument(Argument { name, help, take, completes: Completes::Nothing, secret: true })
}

const fn row(
    access: Access,
    parts: &'static [Part],
    help: &'static str,
    build: fn(Draft) -> Option<Command>,
) -> Row {
    Row { parts, help, access, build }
}

/// Every command, as a reference lists them.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [restore::ROWS, backup::ROWS, show::ROWS, configure::ROWS, system::ROWS].into_iter().flatten()
}

impl Draft {
    /// Notes a word that stands for itself in the request.
    pub fn word(&mut self, word: &str) {
        self.check |= word == "check";
        self.json |= word == "--json";
        self.overrides.extend(Override::ALL.into_iter().find(|known| known.as_str() == word));
    }
}

impl Row {
    /// The command as a reference writes it: `restore factory`, `a [b] C`.
    pub fn syntax(&self) -> String {
        syntax(self.parts)
    }

    /// Whether an argument of it is secret.
    pub fn has_secret(&self) -> bool {
        has_secret(self.parts)
    }
}

fn has_secret(parts: &[Part]) -> bool {
    parts.iter().any(|part| match part {
        Part::Argument(argument) => argument.secret,
        Part::Optional(inner) => has_secret(inner),
        Part::Word(..) | Part::Choice(..) => false,
    })
}

fn syntax(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Word(name, _) => (*name).to_owned(),
        Part::Choice(words, _) => words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join("|"),
        Part::Argument(argument) => argument.name.to_owned(),
        Part::Optional(inner) => format!("[{}]", syntax(inner)),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(" ")
}
