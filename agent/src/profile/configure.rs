//! What an admin configures on the appliance itself, as far as vendors differ.

use serde::Deserialize;

use super::{Manager, Profile, Reading};
use crate::accounts::SHELL;
use crate::domain::Domains;
use crate::tree::TreePath;

/// What a new user gets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct NewAccounts {
    /// The login shell.
    pub shell: String,
    pub home: String,
}

impl Default for NewAccounts {
    fn default() -> Self {
        Self { shell: SHELL.into(), home: "/".into() }
    }
}

impl NewAccounts {
    pub(super) fn contradictions(&self) -> Vec<String> {
        let plain = |text: &str| text.starts_with('/') && !text.chars().any(|c| c == ':' || c.is_control());
        [("shell", &self.shell), ("home", &self.home)]
            .into_iter()
            .filter(|(_, path)| !plain(path))
            .map(|(name, path)| {
                format!("accounts.{name} is '{path}', which is no absolute path without colons")
            })
            .collect()
    }
}

/// What a new password has to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Passwords {
    /// Characters; 1 to 64.
    pub min_length: u32,
    /// Of upper case, lower case, digits and others so many; 1 to 4.
    pub classes: u32,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { min_length: 8, classes: 3 }
    }
}

impl Passwords {
    pub(super) fn contradictions(&self) -> Vec<String> {
        let ranges = [("min-length", self.min_length, 64), ("classes", self.classes, 4)];
        let out = ranges.into_iter().filter(|(_, value, most)| !(1..=*most).contains(value));
        out.map(|(name, value, most)| format!("passwords.{name} is {value}, of 1 to {most}")).collect()
    }
}

/// Files of the SSH server and client that `configure` keeps.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Ssh {
    /// What sshd includes; the file is the access list's alone.
    #[serde(deserialize_with = "super::some_file")]
    pub access_list: Option<TreePath>,
    #[serde(deserialize_with = "super::some_file")]
    pub known_hosts: Option<TreePath>,
}

/// What lies below the shell, where the vendor opens it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Expert {
    /// A program with its arguments.
    pub command: Vec<String>,
    /// What it is, a paragraph each.
    #[serde(default)]
    pub text: Vec<String>,
}

impl Expert {
    pub(super) fn contradictions(&self) -> Vec<String> {
        match self.command.first() {
            Some(program) if program.starts_with('/') => Vec::new(),
            Some(program) => vec![format!("expert.command runs '{program}', which is not an absolute path")],
            None => vec!["expert.command is empty; it is a program with its arguments".into()],
        }
    }
}

/// Whatever `configure` writes belongs to a domain: nothing else is in a generation.
pub(super) fn problems(profile: &Profile, domains: &Domains) -> Vec<String> {
    let manager = profile.manager.as_ref();
    let written = [
        ("management.file", profile.management.file.as_ref()),
        ("manager.registration-key", manager.and_then(|manager| manager.registration_key.as_ref())),
        ("manager.nat-id", manager.and_then(|manager| manager.nat_id.as_ref()).map(Reading::path)),
        ("ssh.access-list", profile.ssh.access_list.as_ref()),
        ("ssh.known-hosts", profile.ssh.known_hosts.as_ref()),
        ("setup.done", profile.setup.as_ref().map(|setup| setup.done.path())),
    ];
    let owned = |path: &TreePath| domains.stored().any(|domain| domain.owns(path));
    let mut found: Vec<String> = written
        .into_iter()
        .filter_map(|(name, path)| Some((name, path?)))
        .filter(|(_, path)| !owned(path))
        .map(|(name, path)| format!("{name} is '{path}', which no domain owns"))
        .collect();
    found.extend(manager.and_then(|manager| unsealed_key(manager, domains)));
    found.extend(closed_shell(&profile.accounts, domains));
    found
}

/// A user who is added would be refused by the next job.
fn closed_shell(accounts: &NewAccounts, domains: &Domains) -> Option<String> {
    let rules = domains.stored().filter_map(|domain| domain.accounts.as_ref());
    let closed = rules.into_iter().any(|rules| !rules.shells.contains(&accounts.shell));
    closed.then(|| {
        format!("accounts.shell is '{}', which a domain does not have in accounts.shells", accounts.shell)
    })
}

/// A registration key in the clear would be in each copy of the store.
fn unsealed_key(manager: &Manager, domains: &Domains) -> Option<String> {
    let key = manager.registration_key.as_ref()?;
    let owner = domains.stored().find(|domain| domain.owns(key))?;
    let why = "which no domain has among its secrets";
    (!owner.is_secret(key)).then(|| format!("manager.registration-key is '{key}', {why}"))
}
