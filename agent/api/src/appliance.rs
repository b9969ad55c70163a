use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Access;

/// `GET /v1/session`: the first line of an answer that lasts as long as the session does; the agent counts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who the kernel says is asking.
    pub user: String,
    pub access: Access,
    /// Seconds without a key after which the session ends; 0 for never.
    pub idle: u64,
    /// The questions of the first login are not answered yet.
    pub setup: bool,
    /// What `expert` opens may gain rights.
    pub expert: bool,
}

/// `GET /v1/setup`: what the first login shows and asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// False once the questions are answered.
    pub needed: bool,
    /// The licence terms, a paragraph each.
    pub licence: Vec<String>,
    /// What a password has to be, a sentence each.
    pub password_rules: Vec<String>,
}

/// `GET /v1/network`: how this appliance is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub hostname: String,
    pub search_domains: Vec<String>,
    pub dns_servers: Vec<String>,
    /// The management interface.
    pub management: InterfaceView,
}

/// `GET /v1/interfaces`: the interfaces by their logical names, in bus order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    pub name: String,
    /// The kernel's name; empty where there is no such interface.
    pub kernel: String,
    pub management: bool,
    /// None where it cannot be told.
    pub enabled: Option<bool>,
    pub link: Option<bool>,
    /// Bytes.
    pub mtu: Option<u32>,
    pub mac: String,
    /// As configured.
    pub ipv4: Addressing,
    pub ipv6: Addressing,
    /// What it has at this moment, with prefix lengths.
    pub addresses: Vec<String>,
}

/// How an interface gets its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressing {
    pub method: Method,
    /// With prefix lengths; those that were configured, or that a server has given.
    pub addresses: Vec<String>,
    pub gateway: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    #[default]
    Disabled,
    Manual,
    Dhcp,
    /// As the routers on the link say.
    Router,
}

/// `GET /v1/disk`: file systems, and what of them is the agent's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub file_systems: Vec<FileSystem>,
    /// Bytes of backups.
    pub backups: u64,
    /// Bytes of stored configurations.
    pub configurations: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Bytes that the agent could write.
    pub free: u64,
    pub inodes: u64,
    pub free_inodes: u64,
}

/// `GET /v1/users`: the people with an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserView {
    pub name: String,
    pub uid: u32,
    /// None where the agent does not serve it.
    pub access: Option<Access>,
    /// No password lets in.
    pub locked: bool,
}

/// `GET /v1/time`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    pub now: Timestamp,
    /// `Europe/Berlin`; `UTC` where none is configured.
    pub zone: String,
    /// Whether the kernel's clock is kept in time; None where it cannot be told.
    pub synchronized: Option<bool>,
    /// Since the kernel's start, in seconds.
    pub uptime: u64,
}

/// `GET /v1/ssh`: who may come from where, and which servers are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    /// Networks; from everywhere where there are none.
    pub access_list: Vec<String>,
    pub trusted_hosts: Vec<TrustedHost>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedHost {
    /// `host` or `[host]:port`.
    pub host: String,
    pub algorithm: String,
    /// `SHA256:…`
    pub fingerprint: String,
    /// Configured; else an admin has accepted it once.
    pub configured: bool,
}

/// `GET /v1/configurations`: a stored configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    pub number: u64,
    /// What an admin has called it; empty where none has. A command takes either.
    pub name: String,
    pub created: Timestamp,
    /// `factory`, `snapshot before restore …`, `backup …`.
    pub origin: String,
    pub hostname: String,
    pub management: Vec<String>,
    /// The live configuration was made from it.
    pub active: bool,
    /// `restore rollback` goes back to it.
    pub previous: bool,
}

/// `GET /v1/log?lines=N`: what the agent has logged, oldest first; N from 1 to 10,000, 1,000 where it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub lines: Vec<String>,
}

/// `GET /v1/files`: a file in the backup folder, without a look inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFile {
    pub file: String,
    pub bytes: u64,
    /// Seconds since 1970.
    pub modified: i64,
    /// A transfer that has not ended.
    pub partial: bool,
}

/// `POST /v1/ping`: one echo request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PingRequest {
    /// Name or address.
    pub host: String,
    pub sequence: u16,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pinged {
    /// What the name stands for.
    pub address: String,
    /// Milliseconds; None where no answer came within a second.
    pub time: Option<f64>,
}

/// `POST /v1/expert`: opens [`Expert`].
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertEntry {
    /// No program of this session gains rights any more, as it began before that was allowed.
    #[serde(default)]
    pub confined: bool,
}

/// Where the profile has it and an admin has enabled it, how to get there; it is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expert {
    /// What it is, a paragraph each.
    pub text: Vec<String>,
    /// The profile's own mechanism: a program with its arguments.
    pub command: Vec<String>,
}

/// `POST /v1/expert/allow`: whether `expert` opens, where the profile has it; it is on record and in no backup.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertRequest {
    pub allowed: bool,
}
