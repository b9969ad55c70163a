//! Owners as names: numbers differ between appliances.

use std::collections::BTreeMap;

use reinstate_api::{Code, Failure};

use crate::files::{Folder, found};

const MAX_BYTES: u64 = 4 << 20;

/// The accounts and groups of one tree, from its `etc/passwd` and `etc/group`.
///
/// A process without root rights cannot set owners: there every file counts as root's, as in a
/// user namespace with one account.
#[derive(Clone, Debug, Default)]
pub struct Names {
    users: BTreeMap<String, u32>,
    groups: BTreeMap<String, u32>,
    privileged: bool,
}

impl Names {
    pub fn read(root: &Folder) -> Result<Self, Failure> {
        let text = |path| Ok::<_, Failure>(found(root.read(path, MAX_BYTES))?.unwrap_or_default());
        Ok(Self::parse(&text("etc/passwd")?, &text("etc/group")?))
    }

    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let mut names = Self {
            users: numbers(passwd),
            groups: numbers(group),
            privileged: nix::unistd::geteuid().is_root(),
        };
        names.users.entry("root".into()).or_insert(0);
        names.groups.entry("root".into()).or_insert(0);
        names
    }

    /// May this process set owners?
    pub fn privileged(&self) -> bool {
        self.privileged
    }

    /// The owner's and the group's name.
    pub fn of(&self, path: &dyn std::fmt::Display, uid: u32, gid: u32) -> Result<(String, String), Failure> {
        if !self.privileged {
            return Ok(("root".into(), "root".into()));
        }
        let find = |names: &BTreeMap<String, u32>, what, number| {
            let name = names.iter().find(|(_, n)| **n == number).map(|(name, _)| name.clone());
            name.ok_or_else(|| {
                Failure::new(
                    Code::OwnerUnknown,
                    format!("{path} belongs to {what} {number}, which has no name here"),
                )
                .hint("give the file an owner that exists")
            })
        };
        Ok((find(&self.users, "user", uid)?, find(&self.groups, "group", gid)?))
    }

    /// The numbers to set; none where owners cannot be set.
    pub fn ids(
        &self,
        path: &dyn std::fmt::Display,
        owner: &str,
        group: &str,
    ) -> Result<Option<(u32, u32)>, Failure> {
        let find = |names: &BTreeMap<String, u32>, what, name: &str| {
            names.get(name).copied().ok_or_else(|| {
                Failure::new(
                    Code::OwnerUnknown,
                    format!("{path} belongs to {what} '{name}', which does not exist here"),
                )
                .hint("the backup was made with other software, or its accounts are incomplete")
            })
        };
        let ids = (find(&self.users, "user", owner)?, find(&self.groups, "group", group)?);
        Ok(self.privileged.then_some(ids))
    }
}

/// `name:x:number:…`; the first of a name counts.
fn numbers(text: &[u8]) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else {
            continue;
        };
        if let Ok(number) = number.parse() {
            found.entry(name.to_owned()).or_insert(number);
        }
    }
    found
}
