//! What has come so far, held against the manifest and the list of digests.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use reinstate_api::{Code, Failure};
use sha2::{Digest as _, Sha256};

use super::manifest::Manifest;
use super::names::member_name;
use super::sums::Sums;
use super::{Limits, MANIFEST, SUMS, invalid, refused, shown, too_large};
use crate::tree::{Digest, Entry, EntryKind, Index, TreePath};

pub(super) struct Tree<'a> {
    manifest: &'a Manifest,
    sums: &'a Sums,
    limits: &'a Limits,
    domains: BTreeMap<&'a str, Domain>,
    members: u64,
}

#[derive(Default)]
struct Domain {
    /// Its own folder came as a member.
    root: bool,
    files: u64,
    bytes: u64,
    entries: BTreeMap<TreePath, Seen>,
}

struct Seen {
    folder: bool,
    /// The line in the listing, up to the member's name.
    line: Box<str>,
}

impl<'a> Tree<'a> {
    /// Refuses what manifest and list alone already show to be wrong.
    pub fn new(manifest: &'a Manifest, sums: &'a Sums, limits: &'a Limits) -> Result<Self, Failure> {
        if let Some(domain) = sums.domains().find(|name| manifest.domain(name).is_none()) {
            return Err(undeclared(SUMS, domain));
        }
        for record in &manifest.domains {
            let listed = sums.count(&record.name);
            if listed != record.files {
                return Err(invalid(format!(
                    "{SUMS} lists {listed} files of the domain '{}', {MANIFEST} says {}",
                    record.name, record.files
                )));
            }
        }
        let domains = manifest.domains.iter().map(|record| (record.name.as_str(), Domain::default()));
        Ok(Self { manifest, sums, limits, domains: domains.collect(), members: 0 })
    }

    /// A domain's own folder.
    pub fn add_root(&mut self, name: &str) -> Result<(), Failure> {
        let domain = self.domains.get_mut(name).ok_or_else(|| undeclared("the archive", name))?;
        match std::mem::replace(&mut domain.root, true) {
            true => Err(twice(&format!("config/{name}"))),
            false => Ok(()),
        }
    }

    /// The digest that a file of `size` bytes is to have; its member name is for messages.
    pub fn expected(&self, name: &str, domain: &str, path: &TreePath, size: u64) -> Result<Digest, Failure> {
        let record = self.manifest.domain(domain).ok_or_else(|| undeclared("the archive", domain))?;
        let had = self.domains.get(domain).map_or(0, |domain| domain.bytes);
        if size > record.bytes - had.min(record.bytes) {
            return Err(invalid(format!(
                "member {} has {size} bytes, which makes {} of the domain '{domain}'; {MANIFEST} says {}",
                shown(name),
                u128::from(had) + u128::from(size),
                record.bytes
            )));
        }
        self.sums
            .get(domain, path)
            .ok_or_else(|| invalid(format!("member {} is not listed in {SUMS}", shown(name))))
    }

    /// Takes note of an entry, unless one before it rules it out.
    pub fn add(&mut self, name: &str, domain: &str, entry: &Entry) -> Result<(), Failure> {
        let path = &entry.path;
        let depth = path.as_str().split('/').count();
        if depth > self.limits.depth {
            return Err(too_large(
                format_args!("levels of member {}", shown(name)),
                depth as u64,
                self.limits.depth as u64,
            ));
        }
        self.members += 1;
        if self.members > self.limits.files {
            return Err(too_large("members of the archive", self.members, self.limits.files));
        }
        let domain = self.domains.get_mut(domain).ok_or_else(|| undeclared("the archive", domain))?;
        if domain.entries.contains_key(path) {
            return Err(twice(name));
        }
        let mut above = path.parent();
        while let Some(folder) = above {
            if domain.entries.get(&folder).is_some_and(|seen| !seen.folder) {
                return Err(invalid(format!("member {} is below {folder}, which is no folder", shown(name))));
            }
            above = folder.parent();
        }
        // What is in `a` need not come next to it: `a`, `a-b`, `a/c`.
        let after = domain.entries.range::<TreePath, _>((Excluded(path), Unbounded));
        let mut after = after.take_while(|(other, _)| other.as_str().starts_with(path.as_str()));
        if let Some((other, _)) = after.find(|(other, _)| other.is_below(path)) {
            return Err(invalid(format!("member {} comes after {other}, which is in it", shown(name))));
        }
        if entry.is_file() {
            domain.files += 1;
            domain.bytes += entry.size();
        }
        let seen = Seen { folder: entry.is_folder(), line: line(entry).into() };
        domain.entries.insert(path.clone(), seen);
        Ok(())
    }

    /// Everything that was promised has come.
    pub fn finish(self) -> Result<(), Failure> {
        let missing = self.sums.iter().find(|(domain, path, _)| {
            self.domains.get(domain).is_none_or(|domain| !domain.entries.contains_key(*path))
        });
        if let Some((domain, path, _)) = missing {
            let name = member_name(domain, path);
            return Err(invalid(format!("{} is listed in {SUMS}, but not in the archive", shown(name))));
        }
        for record in &self.manifest.domains {
            let domain = self.domains.get(record.name.as_str());
            let (files, bytes) = domain.map_or((0, 0), |domain| (domain.files, domain.bytes));
            if (files, bytes) != (record.files, record.bytes) {
                return Err(invalid(format!(
                    "the domain '{}' has {files} files of {bytes} bytes, {MANIFEST} says {} of {}",
                    record.name, record.files, record.bytes
                )));
            }
        }
        let entries = self.domains.iter().flat_map(|(domain, seen)| {
            seen.entries.iter().map(move |(path, seen)| (*domain, path, seen.line.as_ref()))
        });
        let (has, says) = (listing(entries), self.sums.members());
        if has != says {
            return Err(refused(
                Code::DigestMismatch,
                format!(
                    "modes, owners, names and links of all members have SHA-256 {has}, {SUMS} says {says}"
                ),
            ));
        }
        Ok(())
    }
}

/// The digest of an index's listing, for the writer.
pub(super) fn members_digest(index: &Index) -> Digest {
    let lines = index.domains.iter().flat_map(|(domain, entries)| {
        entries.values().map(move |entry| (domain.as_str(), &entry.path, line(entry)))
    });
    listing(lines)
}

fn listing<'i, L: AsRef<str>>(lines: impl Iterator<Item = (&'i str, &'i TreePath, L)>) -> Digest {
    let mut hash = Sha256::new();
    for (domain, path, line) in lines {
        hash.update(line.as_ref());
        hash.update(member_name(domain, path));
        hash.update(b"\n");
    }
    Digest::finish(hash)
}

/// No control characters get into any of the fields, so that tabs divide them.
fn line(entry: &Entry) -> String {
    let (kind, target) = match &entry.kind {
        EntryKind::File { .. } => ("file", ""),
        EntryKind::Folder => ("folder", ""),
        EntryKind::Link { target } => ("link", target.as_str()),
    };
    format!("{kind}\t{:04o}\t{}\t{}\t{target}\t", entry.mode, entry.owner, entry.group)
}

fn twice(name: &str) -> Failure {
    invalid(format!("member {} comes a second time", shown(name)))
}

fn undeclared(what: &str, domain: &str) -> Failure {
    invalid(format!("{what} holds the domain {}, which {MANIFEST} does not declare", shown(domain)))
}
