//! What has come so far of what is listed.

use std::collections::{BTreeMap, BTreeSet};

use reinstate_api::Failure;

use super::members::{Kind, Member};
use super::names::{Place, member_name, place};
use super::{Limits, Manifest, SUMS, Sums, invalid, shown, too_large, undeclared};
use crate::tree::{Digest, Entry, EntryKind, TreePath};

pub(super) struct Tree<'a> {
    manifest: &'a Manifest,
    sums: &'a Sums,
    limits: &'a Limits,
    /// Digests of the names of everything that came: names can be long, and these are not.
    seen: BTreeSet<Digest>,
}

impl<'a> Tree<'a> {
    pub fn new(manifest: &'a Manifest, sums: &'a Sums, limits: &'a Limits) -> Self {
        Self { manifest, sums, limits, seen: BTreeSet::new() }
    }

    /// The listed entry that a member is, with its domain; none for a folder that is not listed but
    /// holds what is, which `tar` adds when it packs an unpacked archive again.
    pub fn take(&mut self, member: &Member) -> Result<Option<(&'a str, &'a Entry)>, Failure> {
        let name = &member.name;
        let folder = matches!(member.kind, Kind::Folder);
        let listed = match place(name)? {
            Place::Path(domain, path) => {
                let entries = self.sums.index().domains.get_key_value(domain);
                match entries.and_then(|(domain, entries)| Some((domain, entries.get(&path)?))) {
                    Some((domain, entry)) => Some((domain.as_str(), entry)),
                    None if folder && entries.is_some_and(|(_, entries)| holds(entries, &path)) => None,
                    None => {
                        return Err(invalid(format!("member {} is not listed in {SUMS}", shown(name))));
                    }
                }
            }
            Place::Domain(domain) if self.manifest.domain(domain).is_none() => {
                return Err(undeclared(name, domain));
            }
            Place::Root | Place::Domain(_) if folder => None,
            Place::Root | Place::Domain(_) => {
                return Err(invalid(format!("member {} is not a folder", shown(name))));
            }
        };
        if !self.seen.insert(Digest::of(name.as_bytes())) {
            return Err(invalid(format!("member {} comes a second time", shown(name))));
        }
        let members = self.seen.len() as u64;
        if members > self.limits.files {
            return Err(too_large("members of the archive", members, self.limits.files));
        }
        if let Some((domain, entry)) = listed {
            compare(member, entry)?;
            self.check_above(domain, entry)?;
        }
        Ok(listed)
    }

    /// A folder comes before what is in it.
    fn check_above(&self, domain: &str, entry: &Entry) -> Result<(), Failure> {
        let mut above = entry.path.parent();
        while let Some(path) = above {
            let name = member_name(domain, &path);
            if self.sums.index().get(domain, &path).is_some() && !self.seen(&name) {
                let member = member_name(domain, &entry.path);
                return Err(invalid(format!(
                    "member {} comes before its folder {}",
                    shown(member),
                    shown(name)
                )));
            }
            above = path.parent();
        }
        Ok(())
    }

    /// Everything that was listed has come.
    pub fn finish(self) -> Result<(), Failure> {
        let mut names = self.sums.index().iter().map(|(domain, entry)| member_name(domain, &entry.path));
        match names.find(|name| !self.seen(name)) {
            None => Ok(()),
            Some(name) => {
                Err(invalid(format!("{} is listed in {SUMS}, but not in the archive", shown(name))))
            }
        }
    }

    fn seen(&self, name: &str) -> bool {
        self.seen.contains(&Digest::of(name.as_bytes()))
    }
}

/// Whether anything listed is in a folder.
fn holds(entries: &BTreeMap<TreePath, Entry>, folder: &TreePath) -> bool {
    // Names like `a-b` sort between `a` and `a/c`.
    let after = entries.range(folder..).map(|(path, _)| path);
    after.take_while(|path| path.as_str().starts_with(folder.as_str())).any(|path| path.is_below(folder))
}

/// A header says of its member what the list says.
fn compare(member: &Member, entry: &Entry) -> Result<(), Failure> {
    let differs = |what: &str, has: &str, listed: &str| {
        Err(invalid(format!("member {} {what} {has}, {SUMS} lists {listed}", shown(&member.name))))
    };
    let (has, target) = match &member.kind {
        Kind::File => ("file", ""),
        Kind::Folder => ("folder", ""),
        Kind::Link(target) => ("link", target.as_str()),
    };
    let (listed, listed_target) = match &entry.kind {
        EntryKind::File { .. } => ("file", ""),
        EntryKind::Folder => ("folder", ""),
        EntryKind::Link { target } => ("link", target.as_str()),
    };
    if has != listed {
        return differs("is a", has, &format!("a {listed}"));
    }
    if target != listed_target {
        return differs("points to", &shown(target), &shown(listed_target));
    }
    if member.size != entry.size() {
        return differs("has the size", &member.size.to_string(), &entry.size().to_string());
    }
    if member.mode != entry.mode {
        return differs("has the mode", &format!("{:o}", member.mode), &format!("{:o}", entry.mode));
    }
    if member.owner != entry.owner || member.group != entry.group {
        let (has, listed) = ((&member.owner, &member.group), (&entry.owner, &entry.group));
        return differs("belongs to", &format!("{}:{}", has.0, has.1), &format!("{}:{}", listed.0, listed.1));
    }
    Ok(())
}
