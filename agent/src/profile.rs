//! The profile: the vendor's description of an appliance, as data.

mod configure;
mod ha;

use reinstate_api::{Code, Failure};
use serde::{Deserialize, Deserializer};

use crate::archive::Limits;
use crate::backups::Quota;
use crate::domain::{self, Domains};
use crate::dropin::{self, DropIn};
use crate::files::Folder;
use crate::tree::TreePath;

pub use configure::{Expert, NewAccounts, Passwords, Ssh};
pub use ha::{Ha, LockService};

/// The longest that a session may be left alone: a day.
const MAX_IDLE: u64 = 86_400;

/// The daemon has 1,024 files, and one is each session's.
const MAX_SESSIONS: usize = 256;

/// The vendor's description of an appliance.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// The product's name, for people.
    pub product: String,
    pub identity: Identity,
    pub hardware: Hardware,
    pub management: Management,
    #[serde(default)]
    pub manager: Option<Manager>,
    #[serde(default)]
    pub ha: Option<Ha>,
    #[serde(default)]
    pub questions: Questions,
    /// Without it there is nothing to ask at the first login.
    #[serde(default)]
    pub setup: Option<Setup>,
    #[serde(default)]
    pub accounts: NewAccounts,
    #[serde(default)]
    pub passwords: Passwords,
    #[serde(default)]
    pub ssh: Ssh,
    /// Without it there is no expert mode.
    #[serde(default)]
    pub expert: Option<Expert>,
    #[serde(default)]
    pub sessions: Sessions,
    #[serde(default)]
    pub health: Health,
    #[serde(default)]
    pub validators: Validators,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub backups: Quota,
    #[serde(default)]
    pub texts: Texts,
}

/// Where the software's and the device's identity is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Identity {
    pub model: Reading,
    pub version: Reading,
    pub build: Reading,
    #[serde(default)]
    pub patch: Option<Reading>,
    #[serde(default)]
    pub hotfixes: Option<Reading>,
    #[serde(default)]
    pub licence: Option<Reading>,
    pub hostname: Reading,
    pub device_uuid: Reading,
    #[serde(default)]
    pub role: Option<Reading>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hardware {
    pub serial: Reading,
    pub uuid: Reading,
    pub hypervisor: Reading,
    /// What `hypervisor` may say.
    pub hypervisors: Vec<String>,
    #[serde(default)]
    pub network_modules: Option<Reading>,
    /// Logical names of the physical interfaces, in bus order.
    pub interfaces: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Management {
    /// One of the logical names.
    pub interface: String,
    /// Where the configured addresses are read: every value counts.
    pub addresses: Reading,
    /// Its systemd-networkd file; without it `configure network` is not there.
    #[serde(default, deserialize_with = "some_file")]
    pub file: Option<TreePath>,
}

/// Where the registration with a manager is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manager {
    /// `configure manager delete` empties this domain.
    pub domain: String,
    pub host: Reading,
    pub name: Reading,
    pub device_uuid: Reading,
    pub state: Reading,
    /// Where a new registration's key is kept, which must be a secret of a domain; without it `configure manager add` is not there.
    #[serde(default, deserialize_with = "some_file")]
    pub registration_key: Option<TreePath>,
    /// Without it there is no such word.
    #[serde(default)]
    pub nat_id: Option<Reading>,
    /// How the manager is told of a restore; without it, it is not told.
    #[serde(default)]
    pub check_in: Option<CheckIn>,
}

/// How the manager is told of a restore: a `PUT` over TLS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CheckIn {
    /// 443 where it is not given, or where there is nothing to read.
    #[serde(default)]
    pub port: Option<Reading>,
    /// What comes before the device UUID in the URL's path.
    #[serde(default = "devices")]
    pub path: String,
    /// The authority that the manager's own certificate must be of, in PEM.
    #[serde(deserialize_with = "file")]
    pub ca: TreePath,
    /// This device's certificate for the manager, with those above it, in PEM.
    #[serde(deserialize_with = "file")]
    pub certificate: TreePath,
    /// The certificate's key, in PEM; it must be a secret of a domain.
    #[serde(deserialize_with = "file")]
    pub key: TreePath,
}

fn devices() -> String {
    "/api/v1/devices".into()
}

fn file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TreePath, D::Error> {
    domain::absolute(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn some_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TreePath>, D::Error> {
    file(deserializer).map(Some)
}

/// How long a job waits for an admin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Questions {
    /// Seconds; unanswered by then, the job ends and nothing was changed; 1 to 86,400.
    pub answer_within: u64,
}

impl Default for Questions {
    fn default() -> Self {
        Self { answer_within: 900 }
    }
}

/// Sessions of the shell.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Sessions {
    /// Seconds without a key after which one ends; 0 for never, at most 86,400.
    pub idle: u64,
    /// At once over SSH; 1 to 256. The console always gets one.
    pub ssh: usize,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { idle: 900, ssh: 32 }
    }
}

/// The first login.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Setup {
    /// `done` once its questions are answered.
    pub done: Reading,
    /// The licence terms, a paragraph each.
    #[serde(default)]
    pub licence: Vec<String>,
}

/// When the appliance counts as healthy after the restart.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Health {
    /// Units that must be active.
    pub units: Vec<String>,
    /// Seconds after the agent's start; 1 to 3,600.
    pub deadline: u64,
}

impl Default for Health {
    fn default() -> Self {
        Self { units: Vec::new(), deadline: 120 }
    }
}

/// How the domains' validators run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Validators {
    /// Seconds that one may take; 1 to 3,600.
    pub time_limit: u64,
    /// What of the image they see, read-only, beside the tree to check.
    pub image: Vec<String>,
}

impl Default for Validators {
    fn default() -> Self {
        let image = ["/usr", "/etc/protocols", "/etc/services", "/etc/nsswitch.conf", "/etc/ld.so.cache"];
        Self { time_limit: 60, image: image.map(String::from).to_vec() }
    }
}

/// What the product says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Texts {
    /// Lines of the caution before the question.
    pub caution: Vec<String>,
    /// What remains to be done after a restore.
    pub post_restore: Vec<String>,
    /// How to get to another version, build, patch or set of hotfixes.
    pub upgrade: String,
}

/// Where a value is read on the appliance.
#[derive(Clone, Debug)]
pub enum Reading {
    /// The whole file, trimmed.
    File(TreePath),
    /// Every `KEY=value` line of the file, quotes taken off.
    Key(TreePath, String),
    /// The names in a folder, sorted.
    Folder(TreePath),
}

impl Reading {
    pub fn path(&self) -> &TreePath {
        match self {
            Self::File(path) | Self::Key(path, _) | Self::Folder(path) => path,
        }
    }
}

impl<'de> Deserialize<'de> for Reading {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            file: Option<String>,
            key: Option<String>,
            folder: Option<String>,
        }
        use serde::de::Error;
        let path = |text: &str| domain::absolute(text).map_err(D::Error::custom);
        match Table::deserialize(deserializer)? {
            Table { file: Some(file), key: None, folder: None } => Ok(Self::File(path(&file)?)),
            Table { file: Some(file), key: Some(key), folder: None } => Ok(Self::Key(path(&file)?, key)),
            Table { file: None, key: None, folder: Some(folder) } => Ok(Self::Folder(path(&folder)?)),
            _ => Err(D::Error::custom("a reading is { file }, { file, key } or { folder }")),
        }
    }
}

impl Profile {
    /// From fragments, later ones over earlier ones, key by key.
    pub fn from_fragments(fragments: &[DropIn]) -> Result<Self, Vec<Failure>> {
        let mut whole = toml::Table::new();
        for fragment in fragments {
            match fragment.parse::<toml::Table>() {
                Ok(table) => overlay(&mut whole, table),
                Err(failure) => return Err(vec![failure]),
            }
        }
        let names: Vec<_> = fragments.iter().map(|fragment| fragment.path.as_str()).collect();
        let profile: Profile = whole.try_into().map_err(|error: toml::de::Error| {
            let of = if names.is_empty() { "no profile file" } else { &names.join(", ") };
            vec![invalid(format!("{of}: {}", error.message()))]
        })?;
        let problems = profile.problems();
        if problems.is_empty() { Ok(profile) } else { Err(problems) }
    }

    fn problems(&self) -> Vec<Failure> {
        let mut found = Vec::new();
        let interfaces = &self.hardware.interfaces;
        if !interfaces.contains(&self.management.interface) {
            found.push(invalid(format!(
                "management.interface is '{}', which is not in hardware.interfaces ({})",
                self.management.interface,
                interfaces.join(", "),
            )));
        }
        found.extend(self.ha.iter().flat_map(|ha| ha.contradictions(interfaces)).map(invalid));
        if let Some(check_in) = self.manager.as_ref().and_then(|manager| manager.check_in.as_ref()) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
            let path = &check_in.path;
            if !path.starts_with('/') || path.ends_with('/') || !path.chars().all(plain) {
                let form = "it begins with a slash, ends without one, and has only letters, digits and -._~";
                found.push(invalid(format!("manager.check-in.path is '{path}': {form}")));
            }
        }
        let expert = self.expert.iter().flat_map(Expert::contradictions);
        let accounts = self.accounts.contradictions().into_iter().chain(self.passwords.contradictions());
        found.extend(expert.chain(accounts).map(invalid));
        for (name, value, most) in [
            ("health.deadline", self.health.deadline, 3600),
            ("validators.time-limit", self.validators.time_limit, 3600),
            ("questions.answer-within", self.questions.answer_within, 86_400),
            ("ha.rejoin-deadline", self.ha.as_ref().map_or(1, |ha| ha.rejoin_deadline), 86_400),
        ] {
            if !(1..=most).contains(&value) {
                found.push(invalid(format!("{name} is {value} s, of 1 to {most} s")));
            }
        }
        let Sessions { idle, ssh } = self.sessions;
        if idle > MAX_IDLE {
            found.push(invalid(format!("sessions.idle is {idle} s, of 0 (never) to {MAX_IDLE} s")));
        }
        if !(1..=MAX_SESSIONS).contains(&ssh) {
            found.push(invalid(format!("sessions.ssh is {ssh}, of 1 to {MAX_SESSIONS}")));
        }
        found
    }
}

impl Manager {
    /// What does not fit the domains.
    fn problem(&self, domains: &Domains) -> Option<String> {
        if domains.get(&self.domain).is_none() {
            return Some(format!("manager.domain is '{}', which is not declared", self.domain));
        }
        let key = &self.check_in.as_ref()?.key;
        let sealed = domains.stored().any(|domain| domain.owns(key) && domain.is_secret(key));
        (!sealed).then(|| format!("manager.check-in.key is '{key}', which no domain has among its secrets"))
    }
}

/// The appliance's profile and domains: the vendor's, and what overrides them.
pub fn load(root: &Folder) -> Result<(Profile, Domains), Vec<Failure>> {
    load_places(root, &dropin::PLACES)
}

/// The profile and domains of one folder.
pub fn load_from(folder: &Folder) -> Result<(Profile, Domains), Vec<Failure>> {
    load_places(folder, &[""])
}

fn load_places(root: &Folder, places: &[&str]) -> Result<(Profile, Domains), Vec<Failure>> {
    let one = |failure: Failure| vec![failure];
    let profile = Profile::from_fragments(&dropin::load(root, places, "profile.d").map_err(one)?);
    let domains = Domains::from_drop_ins(&dropin::load(root, places, "domains.d").map_err(one)?);
    match (profile, domains) {
        (Ok(profile), Ok(domains)) => {
            let manager = profile.manager.as_ref().and_then(|manager| manager.problem(&domains));
            let mut problems = configure::problems(&profile, &domains);
            problems.extend(manager.or_else(|| profile.ha.as_ref()?.problem(&domains)));
            match problems.is_empty() {
                true => Ok((profile, domains)),
                false => Err(problems.into_iter().map(invalid).collect()),
            }
        }
        (profile, domains) => Err([profile.err(), domains.err()].into_iter().flatten().flatten().collect()),
    }
}

fn overlay(whole: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (whole.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            (_, value) => {
                whole.insert(key, value);
            }
        }
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(Code::ProfileInvalid, message)
        .hint("correct the profile; `reinstated lint DIR` checks one offline")
}
