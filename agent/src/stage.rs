//! Staging: what the archive reader has found good becomes a draft, after the checks.

use std::collections::BTreeSet;
use std::io::BufRead;

use reinstate_api::{BackupDetails, Code, DeviceIdentity, DomainChange, Failure, Secret};

use crate::archive::{self, HaGroup, Manifest, Sums};
use crate::bundle;
use crate::check::{self, Here};
use crate::diff;
use crate::domain::Domain;
use crate::peers::Membership;
use crate::peers::fleet::Service;
use crate::store::Draft;
use crate::tree::{Entry, EntryKind, Index, TreePath};

/// What is known of an archive while the rest of it is still coming.
pub enum Milestone {
    /// The manifest is here and every check that needs only it has passed.
    Details(Box<BackupDetails>),
    /// Something that is worth a line.
    Note(String),
    /// The list of files is here.
    Changes(Vec<DomainChange>),
    /// All is here that is needed to ask: after the list of files, and after the HA group's keys where
    /// the backup is of a member.
    Seen(Box<Seen>),
}

/// What an archive says of its device, and of the group that it was a member of.
#[derive(Clone, Debug)]
pub struct Seen {
    pub device: DeviceIdentity,
    pub group: Option<HaGroup>,
    /// None where the archive does not hold the keys.
    pub membership: Option<Membership>,
    /// What its configuration has in place of lock files.
    pub service: Option<Service>,
}

/// An archive's content, staged.
pub struct Staged {
    pub draft: Draft,
    pub manifest: Manifest,
    /// The archive's domains, the empty ones too.
    pub present: BTreeSet<String>,
}

/// Reads an archive into `draft`, in one pass. All failed checks come back together.
pub fn stage(
    input: impl BufRead,
    file: &str,
    here: &Here<'_>,
    live: &Index,
    draft: Draft,
    told: &mut dyn FnMut(Milestone),
) -> Result<Staged, Vec<Failure>> {
    let mut stage = Stage {
        file,
        here,
        live,
        draft,
        told,
        present: BTreeSet::new(),
        failures: Vec::new(),
        bundled: Vec::new(),
        seen: None,
        awaited: BTreeSet::new(),
    };
    match archive::read(input, &here.profile.limits, &mut stage) {
        Ok(manifest) => Ok(Staged { manifest, present: stage.present, draft: stage.draft }),
        Err(_) if !stage.failures.is_empty() => Err(stage.failures),
        Err(failure) if failure.code == Code::ArchiveBundle => {
            Err(vec![bundle::refusal(file, &stage.bundled)])
        }
        Err(failure) => Err(vec![failure]),
    }
}

struct Stage<'a> {
    file: &'a str,
    here: &'a Here<'a>,
    live: &'a Index,
    draft: Draft,
    told: &'a mut dyn FnMut(Milestone),
    present: BTreeSet<String>,
    failures: Vec<Failure>,
    /// Not told yet.
    seen: Option<Seen>,
    /// Files that are listed, and that have to be here before it is told.
    awaited: BTreeSet<TreePath>,
    /// Archives, where it is a bundle of them.
    bundled: Vec<String>,
}

impl Stage<'_> {
    /// The domain that takes an entry; none where the domain is optional and not known here.
    fn domain(&self, name: &str, entry: &Entry) -> Result<Option<&Domain>, Failure> {
        if !self.present.contains(name) {
            return Ok(None);
        }
        let Some(domain) = self.here.domains.get(name) else { return Ok(None) };
        domain.accepts(entry)?;
        Ok(Some(domain))
    }
}

impl Stage<'_> {
    /// What a replacement always has of its own: shown, never compared.
    fn mapping(&self, manifest: &Manifest) -> Vec<String> {
        let (backup, this) = (&manifest.hardware, &self.here.facts.hardware);
        let mut notes = Vec::new();
        if (&backup.serial, &backup.uuid) != (&this.serial, &this.uuid) {
            notes.push(format!(
                "hardware: serial {} and UUID {} in the backup, serial {} and UUID {} here",
                backup.serial, backup.uuid, this.serial, this.uuid
            ));
        }
        let pairs = backup.interfaces.iter().zip(&this.interfaces);
        let renamed: Vec<_> = pairs
            .filter(|(b, t)| b.kernel != t.kernel)
            .map(|(b, t)| format!("{} was {}, is {}", t.name, b.kernel, t.kernel))
            .collect();
        if !renamed.is_empty() {
            notes.push(format!("interfaces: {}", renamed.join("; ")));
        }
        notes
    }
}

impl Stage<'_> {
    /// Once nothing more is awaited.
    fn tell_what_is_seen(&mut self) -> Result<(), Failure> {
        let Some(mut seen) = self.seen.take_if(|_| self.awaited.is_empty()) else { return Ok(()) };
        if let (Some(group), Some(ha)) = (&seen.group, &self.here.profile.ha)
            && let (Some(key), Some(host_key)) = (self.draft.text(&ha.key)?, self.draft.text(&ha.host_key)?)
        {
            let (key, host_key) = (Secret::new(key), Secret::new(host_key));
            seen.membership = Some(Membership { group: group.clone(), key, host_key });
        }
        seen.service = Service::read(self.draft.tree(), self.here.profile)?;
        (self.told)(Milestone::Seen(Box::new(seen)));
        Ok(())
    }
}

impl archive::Receiver for Stage<'_> {
    /// It is no use for a restore, but once it is here an archive can be taken out of it: so it is
    /// looked through, or fetched, to its end.
    fn packed(&mut self, name: &str) -> Result<(), Failure> {
        if self.bundled.is_empty() {
            if let Some(first) = self.here.known.first() {
                self.failures = self.here.known.clone();
                return Err(first.clone());
            }
            let note = format!("{} is a bundle of archives: it is looked through, not restored", self.file);
            (self.told)(Milestone::Note(note));
        }
        self.bundled.push(name.to_owned());
        Ok(())
    }

    fn manifest(&mut self, manifest: &Manifest) -> Result<(), Failure> {
        self.failures = check::manifest(manifest, self.file, self.here);
        if let Some(first) = self.failures.first() {
            return Err(first.clone());
        }
        let known = |name: &&String| self.here.domains.get(name).is_some();
        self.present = manifest.domains.iter().map(|record| &record.name).filter(known).cloned().collect();
        self.mapping(manifest).into_iter().for_each(|note| (self.told)(Milestone::Note(note)));
        (self.told)(Milestone::Details(Box::new(manifest.details(self.file))));
        Ok(())
    }

    fn sums(&mut self, manifest: &Manifest, sums: &Sums) -> Result<(), Failure> {
        let changes = diff::announced(self.here.domains, &self.present, self.live, sums.index());
        (self.told)(Milestone::Changes(changes));
        if let Some(ha) = &self.here.profile.ha {
            let service = ha.lock_service.iter().flat_map(|at| [at.url.path(), at.group.path(), &at.ca]);
            let listed: BTreeSet<_> = sums.index().iter().map(|(_, entry)| &entry.path).collect();
            let wanted = [&ha.key, &ha.host_key].into_iter().chain(service);
            self.awaited = wanted.filter(|path| listed.contains(path)).cloned().collect();
        }
        let (device, group) = (manifest.device.clone(), manifest.ha.clone());
        self.seen = Some(Seen { device, group, membership: None, service: None });
        self.tell_what_is_seen()
    }

    fn folder(&mut self, domain: &str, entry: &Entry) -> Result<(), Failure> {
        match self.domain(domain, entry)? {
            Some(_) => self.draft.put(domain, entry.clone()),
            None => Ok(()),
        }
    }

    fn link(&mut self, name: &str, entry: &Entry) -> Result<(), Failure> {
        match self.domain(name, entry)? {
            Some(_) => self.draft.put(name, entry.clone()),
            None => Ok(()),
        }
    }

    fn file(&mut self, name: &str, entry: &Entry, content: &mut dyn BufRead) -> Result<(), Failure> {
        let Some(domain) = self.domain(name, entry)? else {
            return std::io::copy(content, &mut std::io::sink())
                .map(drop)
                .map_err(|e| Failure::io("cannot read the archive", &e));
        };
        let mut entry = entry.clone();
        if let EntryKind::File { sealed, .. } = &mut entry.kind {
            *sealed = domain.is_secret(&entry.path);
        }
        let path = entry.path.clone();
        self.draft.put_file(name, entry, content)?;
        if self.awaited.remove(&path) { self.tell_what_is_seen() } else { Ok(()) }
    }
}
