//! What an appliance looks like at one moment, read from its tree.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use reinstate_agent::domain::{Domain, Domains, Policy};
use reinstate_agent::facts::Facts;
use reinstate_agent::files::{Direct, Folder, Kind};
use reinstate_agent::profile;
use reinstate_agent::tree::TreePath;
use reinstate_api::{Failure, Lock};

use crate::Result;

/// No configuration file that is looked into is larger.
const MAX_BYTES: u64 = 4 << 20;

pub struct Picture {
    pub facts: Facts,
    rules: Vec<String>,
    /// What a restore takes off.
    removable: BTreeSet<String>,
    /// Private keys that lie on the disk in the clear, and those that are sealed.
    clear: usize,
    sealed: usize,
    lock: Option<Lock>,
}

/// Of the domain whose lines are compared.
const FIREWALL: &str = "firewall";

impl Picture {
    pub fn take(root: &Path, lock: Option<Lock>) -> Result<Self> {
        let root = Folder::open(root, Arc::new(Direct))?;
        let (profile, domains) = profile::load(&root).map_err(|failures| all(&failures))?;
        let mut picture = Self {
            facts: Facts::read(&root, &profile)?,
            rules: Vec::new(),
            removable: BTreeSet::new(),
            clear: 0,
            sealed: 0,
            lock,
        };
        picture.look(&root, &domains)?;
        Ok(picture)
    }

    fn look(&mut self, root: &Folder, domains: &Domains) -> Result<()> {
        for domain in domains.iter() {
            for (path, kind) in files(root, domain)? {
                if domain.restore == Policy::Remove {
                    self.removable.insert(path.to_string());
                }
                if domain.is_secret(&path) {
                    // A sealed one is in memory; at its path is a link.
                    match kind {
                        Kind::Link => self.sealed += 1,
                        _ => self.clear += 1,
                    }
                }
                if domain.name == FIREWALL && kind == Kind::File {
                    let text = root.read(&path, MAX_BYTES)?;
                    let text = String::from_utf8_lossy(&text);
                    let lines = text.lines().map(|line| line.trim().to_owned());
                    self.rules.extend(lines.filter(|line| !line.is_empty()));
                }
            }
        }
        Ok(())
    }

    /// The first firewall line that the other has not.
    fn own_rule(&self, other: &Picture) -> String {
        let own = self.rules.iter().find(|line| !other.rules.contains(line));
        own.map_or_else(|| "no line of its own".to_owned(), |line| format!("`{line}`"))
    }

    fn keys(&self) -> String {
        format!("{} sealed, {} in the clear", self.sealed, self.clear)
    }

    fn lock(&self) -> String {
        match &self.lock {
            None => "free".into(),
            Some(lock) => format!("held by {} since {}", lock.by, lock.since),
        }
    }
}

/// What a restore made of the replacement, beside the appliance that the backup is of.
pub fn comparison(before: &Picture, donor: &Picture, after: &Picture) -> String {
    let addresses = |picture: &Picture| picture.facts.device.management.join(", ");
    let mut text = String::new();
    for (title, values) in [
        ("host name", [before, donor, after].map(|p| p.facts.device.hostname.clone())),
        ("device UUID", [before, donor, after].map(|p| p.facts.device.uuid.clone())),
        ("management address", [before, donor, after].map(addresses)),
        ("a firewall rule", [before.own_rule(donor), donor.own_rule(before), after.own_rule(before)]),
        ("private keys", [before, donor, after].map(Picture::keys)),
        ("restore lock", [before, donor, after].map(Picture::lock)),
        ("serial number", [before, donor, after].map(|p| p.facts.hardware.serial.clone())),
    ] {
        let [before, donor, after] = values;
        text += &format!("  {title}\n    before  {before}\n    backup  {donor}\n    now     {after}\n");
    }
    text += "  taken off, to be enrolled or configured again\n";
    for path in before.removable.union(&donor.removable) {
        let from = match (before.removable.contains(path), donor.removable.contains(path)) {
            (true, true) => "here and in the backup",
            (true, false) => "here",
            _ => "in the backup",
        };
        let left = match after.removable.contains(path) {
            true => "STILL THERE",
            false => from,
        };
        text += &format!("    {path}  ({left})\n");
    }
    text
}

/// The files and links that a domain owns and that are there.
fn files(root: &Folder, domain: &Domain) -> Result<Vec<(TreePath, Kind)>> {
    let mut found = Vec::new();
    let mut left: Vec<TreePath> = domain.paths.iter().map(|owned| owned.path.clone()).collect();
    while let Some(path) = left.pop() {
        let kind = match root.stat(&path) {
            Ok(stat) => stat.kind,
            Err(error) if error.is_missing() => continue,
            Err(error) => return Err(error.into()),
        };
        if kind != Kind::Folder {
            found.push((path, kind));
            continue;
        }
        for (name, _) in root.list(&path)? {
            let path: TreePath = format!("{}/{}", path.as_str(), name.to_string_lossy()).parse()?;
            if domain.owns(&path) {
                left.push(path);
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

pub fn all(failures: &[Failure]) -> String {
    let lines: Vec<_> = failures.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
