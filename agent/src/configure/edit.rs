//! The changes of a request, made in a draft that has the whole configuration.

use std::io::Read;

use jiff::Timestamp;
use reinstate_api::{Change, Code, Failure, ManagerAdd};

use super::accounts::{Editor, Texts};
use super::{hosts, passwords, readings, ssh};
use crate::domain::{Domain, Domains};
use crate::facts;
use crate::network;
use crate::profile::{Profile, Reading};
use crate::store::Draft;
use crate::tree::{Digest, Entry, EntryKind, TreePath};

/// What is edited is short; a larger file is not what it should be.
const MAX_TEXT: u64 = 4 << 20;

const HOSTS: &str = "etc/hosts";

const SECONDS_A_DAY: i64 = 86_400;

/// One request's changes.
pub struct Edit<'a> {
    pub draft: &'a mut Draft,
    pub profile: &'a Profile,
    pub domains: &'a Domains,
    /// Who asks.
    pub by: &'a str,
    /// Servers whose keys admins have accepted, of those that the request names.
    pub accepted: &'a [(String, u16)],
    /// As [`Editor::retired`].
    pub retired: Vec<u32>,
}

impl Edit<'_> {
    pub fn apply(&mut self, change: &Change) -> Result<(), Failure> {
        let interface = self.profile.management.interface.clone();
        match change {
            Change::Ipv4(wanted) => self.network(|text| network::edit::ipv4(text, &interface, wanted)),
            Change::Ipv6(wanted) => self.network(|text| network::edit::ipv6(text, &interface, wanted)),
            Change::DnsServers(servers) => self.network(|text| network::edit::dns(text, &interface, servers)),
            Change::SearchDomains(domains) => {
                self.network(|text| network::edit::domains(text, &interface, domains))
            }
            Change::Hostname(name) => self.hostname(name),
            Change::ManagerAdd(manager) => self.manager(manager),
            Change::Password { user, password } => {
                let hash = passwords::hash(password)?;
                let user = user.as_deref().unwrap_or(self.by).to_owned();
                self.accounts(|editor| editor.set_password(&user, &hash))
            }
            Change::UserAdd { name, access, password } => {
                let (hash, new) = (passwords::hash(password)?, self.profile.accounts.clone());
                self.accounts(|editor| editor.add(name, *access, &hash, &new))
            }
            Change::UserAccess { name, access } => {
                let by = self.by;
                self.accounts(|editor| editor.set_access(name, *access, by))
            }
            Change::UserDelete { name } => {
                let by = self.by;
                self.accounts(|editor| editor.delete(name, by))
            }
            Change::TrustedHostAdd { host, port, algorithm, key } => {
                let path = self.known_hosts()?;
                let text = self.text(&path)?.unwrap_or_default();
                self.put(&path, &ssh::trust(&text, host, *port, algorithm, key), 0o644)
            }
            Change::TrustedHostDelete { host, port } => {
                let path = self.known_hosts()?;
                match ssh::distrust(&self.text(&path)?.unwrap_or_default(), host, *port) {
                    Some(text) => self.put(&path, &text, 0o644),
                    None if self.accepted.iter().any(|(known, at)| known == host && at == port) => Ok(()),
                    None => Err(Failure::new(
                        Code::NotFound,
                        format!("no key of the server {host}, port {port}, is known"),
                    )
                    .hint(
                        "`show ssh` lists those that are; a pattern or a line with it is taken away by hand",
                    )),
                }
            }
            Change::SshAccessList(networks) => self.access_list(networks),
        }
    }

    /// The questions of the first login are answered.
    pub fn set_up(&mut self) -> Result<(), Failure> {
        let setup = self.profile.setup.as_ref().ok_or_else(|| unplaced("setup"))?;
        self.set(&setup.done.clone(), "done")
    }

    fn network(&mut self, edit: impl FnOnce(&str) -> String) -> Result<(), Failure> {
        let path = self.profile.management.file.clone().ok_or_else(|| unplaced("management.file"))?;
        let text = self.text(&path)?.unwrap_or_default();
        self.put(&path, &edit(&text), 0o644)
    }

    fn hostname(&mut self, name: &str) -> Result<(), Failure> {
        let reading = self.profile.identity.hostname.clone();
        let old = facts::read(self.draft.tree(), &reading)?.into_iter().next().unwrap_or_default();
        self.set(&reading, name)?;
        let path: TreePath = HOSTS.parse().map_err(|why: String| Failure::new(Code::Internal, why))?;
        // Where no domain has it, it is the image's.
        match self.domains.stored().any(|domain| domain.owns(&path)) {
            true => match self.text(&path)? {
                Some(text) => self.put(&path, &hosts::rename(&text, &old, name), 0o644),
                None => Ok(()),
            },
            false => Ok(()),
        }
    }

    fn manager(&mut self, wanted: &ManagerAdd) -> Result<(), Failure> {
        let manager = self.profile.manager.as_ref().ok_or_else(|| unplaced("manager"))?.clone();
        let key = manager.registration_key.ok_or_else(|| unplaced("manager.registration-key"))?;
        let host = wanted.host.to_lowercase();
        // What it is called is the manager's to say, once it knows this device.
        for (reading, value) in
            [(&manager.host, &*host), (&manager.name, &*host), (&manager.state, "Pending")]
        {
            self.set(reading, value)?;
        }
        if let (Some(reading), Some(nat_id)) = (&manager.nat_id, &wanted.nat_id) {
            self.set(reading, nat_id)?;
        }
        self.put(&key, &format!("{}\n", wanted.key.expose()), 0o600)
    }

    fn accounts(&mut self, edit: impl FnOnce(&mut Editor<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        let domains = self.domains;
        let found = domains.stored().find_map(|domain| Some((domain, domain.accounts.as_ref()?)));
        let Some((domain, rules)) = found else {
            return Err(Failure::new(Code::NotFound, "on this appliance users are not configured here")
                .hint("no domain has `accounts`"));
        };
        let place = |name: &str| {
            let owned = domain.paths.iter().find(|owned| owned.path.file_name() == name);
            owned.map(|owned| owned.path.clone())
        };
        let places = ["passwd", "shadow", "group", "gshadow"].map(place);
        let text = |place: &Option<TreePath>| match place {
            Some(path) => Ok::<_, Failure>(self.text(path)?.unwrap_or_default()),
            None => Ok(String::new()),
        };
        let [passwd, shadow, group, gshadow] =
            [text(&places[0])?, text(&places[1])?, text(&places[2])?, text(&places[3])?];
        let before = Texts { passwd, shadow, group, gshadow };
        let today = Timestamp::now().as_second() / SECONDS_A_DAY;
        let mut editor = Editor { texts: before.clone(), rules, today, retired: self.retired.clone() };
        edit(&mut editor)?;
        let Editor { texts: after, retired, .. } = editor;
        self.retired = retired;
        for (path, before, after, mode) in [
            (&places[0], before.passwd, after.passwd, 0o644),
            (&places[1], before.shadow, after.shadow, 0o600),
            (&places[2], before.group, after.group, 0o644),
            (&places[3], before.gshadow, after.gshadow, 0o600),
        ] {
            if before != after {
                let path = path.as_ref().ok_or_else(|| unplaced("a domain's accounts"))?;
                self.put(path, &after, mode)?;
            }
        }
        Ok(())
    }

    fn known_hosts(&self) -> Result<TreePath, Failure> {
        self.profile.ssh.known_hosts.clone().ok_or_else(|| unplaced("ssh.known-hosts"))
    }

    fn access_list(&mut self, networks: &[String]) -> Result<(), Failure> {
        let path = self.profile.ssh.access_list.clone().ok_or_else(|| unplaced("ssh.access-list"))?;
        let domain = self.owner(&path)?.name.clone();
        let Some(list) = ssh::access_list(networks) else {
            return self.draft.take_out(&domain, &path);
        };
        let others: Vec<TreePath> = self
            .draft
            .index()
            .domain(&domain)
            .filter(|entry| entry.is_file() && !entry.is_sealed() && entry.path != path)
            .map(|entry| entry.path.clone())
            .collect();
        for other in others.iter().filter(|other| other.as_str().contains("sshd_config")) {
            ssh::refuse_other_lists(other, &self.text(other)?.unwrap_or_default())?;
        }
        self.put(&path, &list, 0o644)
    }

    fn set(&mut self, reading: &Reading, value: &str) -> Result<(), Failure> {
        let text = self.text(reading.path())?.unwrap_or_default();
        self.put(reading.path(), &readings::set(&text, reading, value)?, 0o644)
    }

    fn owner(&self, path: &TreePath) -> Result<&Domain, Failure> {
        self.domains.stored().find(|domain| domain.owns(path)).ok_or_else(|| {
            let why = format!("{path} is to be changed, and no domain owns it");
            Failure::new(Code::ProfileInvalid, why).hint("have a domain declare it")
        })
    }

    fn text(&self, path: &TreePath) -> Result<Option<String>, Failure> {
        let Some(entry) = self.draft.index().get(&self.owner(path)?.name, path) else { return Ok(None) };
        let unfit = |why: String| {
            Failure::new(Code::ValidationFailed, format!("{path} cannot be changed: {why}"))
                .hint("set that file right by hand")
        };
        if !entry.is_file() {
            return Err(unfit("it is no file".into()));
        }
        if entry.size() > MAX_TEXT {
            return Err(unfit(format!("it has {} bytes, of at most {MAX_TEXT}", entry.size())));
        }
        let mut text = String::new();
        match self.draft.open(entry)?.read_to_string(&mut text) {
            Ok(_) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(unfit("it is not UTF-8 text".into()))
            }
            Err(error) => Err(Failure::io(format_args!("cannot read {path}"), &error)),
        }
    }

    /// With the mode and the owner that the file has; `mode` is for one that is new.
    fn put(&mut self, path: &TreePath, text: &str, mode: u32) -> Result<(), Failure> {
        let owner = self.owner(path)?;
        let (domain, sealed) = (owner.name.clone(), owner.is_secret(path));
        let folders: Vec<TreePath> = std::iter::successors(path.parent(), TreePath::parent)
            .take_while(|folder| owner.owns(folder))
            .collect();
        let root = |path: TreePath, mode: u32, kind: EntryKind| {
            let (owner, group) = ("root".to_owned(), "root".to_owned());
            Entry { path, mode, owner, group, kind }
        };
        for folder in folders.into_iter().rev() {
            if self.draft.index().get(&domain, &folder).is_none() {
                self.draft.put(&domain, root(folder, 0o755, EntryKind::Folder))?;
            }
        }
        let bytes = text.as_bytes();
        let kind = EntryKind::File { size: bytes.len() as u64, sha256: Digest::of(bytes), sealed };
        let entry = match self.draft.index().get(&domain, path) {
            Some(there) => Entry { kind, ..there.clone() },
            None => root(path.clone(), mode, kind),
        };
        self.draft.take_out(&domain, path)?;
        self.draft.put_file(&domain, entry, &mut &*bytes)
    }
}

fn unplaced(key: &str) -> Failure {
    Failure::new(Code::NotFound, format!("this appliance's profile has no `{key}`"))
}
