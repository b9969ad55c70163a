//! Makes the live configuration equal to a generation.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use reinstate_api::{Code, Failure, one_line};
use sha2::Digest as _;

use super::damaged;
use crate::domain::{Domain, Domains};
use crate::files::{Folder, Kind, found};
use crate::live;
use crate::secrets;
use crate::store::{Generation, Names, SealKey};
use crate::tree::{Digest, Entry, EntryKind, Index, TreePath};

/// The largest file whose lines are looked at: 16 MiB.
const MAX_INSPECTED: u64 = 16 << 20;

const BUFFER: usize = 128 << 10;

/// Everything is copied and verified beside its place first, and renamed into place only when all
/// of it is good: a damaged generation leaves the live configuration alone.
pub(super) fn apply(root: &Folder, domains: &Domains, generation: &Generation) -> Result<(), Failure> {
    let index = generation.index()?;
    permit(domains, generation, &index)?;
    let names = names(root, generation, &index)?;
    let key = generation.key()?;
    secrets::unseal(root, generation, &index, &names)?;

    let target = Target { root, domains, generation, names, key };
    remove_temporaries(root, domains, &index)?;
    for (_, entry) in index.iter().filter(|(_, entry)| entry.is_folder()) {
        target.make_folder(entry)?;
    }
    let mut buffer = vec![0; BUFFER];
    for (domain, entry) in index.iter().filter(|(_, entry)| !entry.is_folder()) {
        target.prepare(domain, entry, &mut buffer)?;
    }
    sync(root, &index)?;
    for (_, entry) in index.iter().filter(|(_, entry)| !entry.is_folder()) {
        target.put(entry)?;
    }
    for domain in domains.stored().filter(|domain| generation.record.domains.contains(&domain.name)) {
        remove_extras(root, domain, &index)?;
    }
    for (_, entry) in index.iter().filter(|(_, entry)| entry.is_folder()) {
        target.dress_folder(entry)?;
    }
    sync(root, &index)
}

/// Activation trusts nobody: what no domain owns or declares is refused here, whoever staged it.
fn permit(domains: &Domains, generation: &Generation, index: &Index) -> Result<(), Failure> {
    let listed = &generation.record.domains;
    let unknown = listed.iter().find(|name| domains.stored().all(|domain| domain.name != **name));
    let unlisted = index.domains.iter().find(|(name, entries)| !entries.is_empty() && !listed.contains(name));
    if let Some(name) = unknown.or(unlisted.map(|(name, _)| name)) {
        return Err(Failure::new(
            Code::DomainUnknown,
            format!(
                "generation {} is not activated: domain '{}' is not one of this appliance's, or not in its record",
                generation.number(),
                one_line(name)
            ),
        ));
    }
    let refused = |entry: &Entry, why: &str| {
        Failure::new(Code::PathNotOwned, format!("{} is not activated: {why}", entry.path))
    };
    for (name, entry) in index.iter() {
        let domain = domains
            .stored()
            .find(|domain| domain.name == name)
            .ok_or_else(|| refused(entry, &format!("there is no domain '{}'", one_line(name))))?;
        if !domain.owns(&entry.path) {
            return Err(refused(entry, &format!("domain '{name}' does not own it")));
        }
        if entry.mode & !0o777 != 0 {
            return Err(refused(entry, &format!("its mode is {:o}, of at most 777", entry.mode)));
        }
        if let EntryKind::Link { target } = &entry.kind
            && !domain.allows_link(&entry.path, target)
        {
            return Err(refused(entry, &format!("domain '{name}' declares no link to {}", one_line(target))));
        }
    }
    Ok(())
}

/// Owners are resolved with the accounts of the generation itself, where it has them.
fn names(root: &Folder, generation: &Generation, index: &Index) -> Result<Names, Failure> {
    let key = generation.key()?;
    let text = |path: &str| {
        let entry =
            index.iter().map(|(_, entry)| entry).find(|entry| entry.path.as_str() == path && entry.is_file());
        let Some(entry) = entry else { return Ok(None) };
        let mut text = Vec::new();
        generation
            .open(entry, &key)?
            .take(MAX_INSPECTED)
            .read_to_end(&mut text)
            .map_err(|e| Failure::io(format_args!("cannot read {}", entry.path), &e))?;
        Ok::<_, Failure>(Some(text))
    };
    match (text("etc/passwd")?, text("etc/group")?) {
        (Some(passwd), Some(group)) => Ok(Names::parse(&passwd, &group)),
        _ => Names::read(root),
    }
}

fn temporary(path: &TreePath) -> String {
    let digest = sha2::Sha256::digest(path.as_str());
    let name =
        format!("{}{:02x}{:02x}{:02x}{:02x}", live::TEMPORARY, digest[0], digest[1], digest[2], digest[3]);
    match path.parent() {
        Some(parent) => format!("{}/{name}", parent.as_str()),
        None => name,
    }
}

/// What an earlier, broken-off activation has left beside its targets.
fn remove_temporaries(root: &Folder, domains: &Domains, index: &Index) -> Result<(), Failure> {
    let mut folders: BTreeSet<TreePath> = parents(index).collect();
    for domain in domains.stored() {
        folders.extend(domain.paths.iter().filter_map(|owned| owned.path.parent()));
        let kept = live::paths(root, domain)?;
        folders.extend(kept.into_iter().filter(|(_, kind)| *kind == Kind::Folder).map(|(path, _)| path));
    }
    for folder in folders {
        let Ok(names) = root.list(&folder) else {
            continue;
        };
        for (name, _) in names {
            if name.to_string_lossy().starts_with(live::TEMPORARY) {
                root.remove_all(format!("{}/{}", folder.as_str(), name.to_string_lossy()))?;
            }
        }
    }
    Ok(())
}

fn parents(index: &Index) -> impl Iterator<Item = TreePath> {
    index.iter().filter_map(|(_, entry)| entry.path.parent())
}

struct Target<'a> {
    root: &'a Folder,
    domains: &'a Domains,
    generation: &'a Generation,
    names: Names,
    key: SealKey,
}

impl Target<'_> {
    fn make_folder(&self, entry: &Entry) -> Result<(), Failure> {
        self.make_parents(&entry.path)?;
        match found(self.root.stat(&entry.path))?.map(|stat| stat.kind) {
            Some(Kind::Folder) => return Ok(()),
            Some(_) => self.root.remove_file(&entry.path)?,
            None => {}
        }
        Ok(self.root.make_folder(&entry.path, 0o700)?)
    }

    /// Folders above an owned path are the image's; where one is missing it is made.
    fn make_parents(&self, path: &TreePath) -> Result<(), Failure> {
        path.parent().map_or(Ok(()), |parent| Ok(self.root.make_folders(&parent, 0o755)?))
    }

    fn dress_folder(&self, entry: &Entry) -> Result<(), Failure> {
        if let Some((uid, gid)) = self.names.ids(&entry.path, &entry.owner, &entry.group)? {
            self.root.set_owner(&entry.path, uid, gid)?;
        }
        Ok(self.root.set_mode(&entry.path, entry.mode)?)
    }

    /// Copies to a temporary file in the same folder, verifying in the same read.
    fn prepare(&self, domain: &str, entry: &Entry, buffer: &mut [u8]) -> Result<(), Failure> {
        self.make_parents(&entry.path)?;
        let place = temporary(&entry.path);
        let link = match &entry.kind {
            EntryKind::Link { target } => Some(target.clone()),
            EntryKind::File { sealed: true, .. } => Some(secrets::link_target(&entry.path)),
            _ => None,
        };
        let ids = self.names.ids(&entry.path, &entry.owner, &entry.group)?;
        if let Some(target) = link {
            self.root.link(&target, &place)?;
            if let Some((uid, gid)) = ids {
                self.root.set_owner(&place, uid, gid)?;
            }
            return Ok(());
        }
        let mut file = self.root.create(&place, 0o600)?;
        self.copy(domain, entry, &mut file, buffer)?;
        if let Some((uid, gid)) = ids {
            file.set_owner(uid, gid)?;
        }
        Ok(file.set_mode(entry.mode)?)
    }

    fn copy(
        &self,
        domain: &str,
        entry: &Entry,
        to: &mut dyn Write,
        buffer: &mut [u8],
    ) -> Result<(), Failure> {
        let EntryKind::File { sha256, size, .. } = entry.kind else {
            return Ok(());
        };
        let inspected = self.domains.get(domain).filter(|domain| domain.inspects(&entry.path));
        if inspected.is_some() && size > MAX_INSPECTED {
            let why = format!(
                "{} has {size} bytes; a file whose lines are looked at has at most {MAX_INSPECTED}",
                entry.path
            );
            return Err(Failure::new(Code::LineRefused, why));
        }
        let mut from = self.generation.open(entry, &self.key)?;
        let mut hasher = sha2::Sha256::new();
        let mut text = Vec::new();
        loop {
            let read =
                from.read(buffer).map_err(|e| Failure::io(format_args!("cannot read {}", entry.path), &e))?;
            if read == 0 {
                break;
            }
            let bytes = &buffer[..read];
            hasher.update(bytes);
            if inspected.is_some() {
                text.extend_from_slice(bytes);
            }
            to.write_all(bytes).map_err(|e| Failure::io(format_args!("cannot write {}", entry.path), &e))?;
        }
        let digest = Digest::finish(hasher);
        if digest != sha256 {
            return Err(damaged(self.generation, entry, digest, sha256));
        }
        inspected.map_or(Ok(()), |domain| inspect(domain, &entry.path, &text))
    }

    fn put(&self, entry: &Entry) -> Result<(), Failure> {
        if found(self.root.stat(&entry.path))?.is_some_and(|stat| stat.kind == Kind::Folder) {
            self.root.remove_all(&entry.path)?;
        }
        Ok(self.root.rename(temporary(&entry.path), &entry.path)?)
    }
}

/// Lines that would execute programs, or make an account equal to root.
pub(crate) fn inspect(domain: &Domain, path: &TreePath, content: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(content);
    match domain.refused_line(path, &text) {
        None => Ok(()),
        Some((number, line)) => {
            let line: String = line.chars().take(120).collect();
            Err(Failure::new(
                Code::LineRefused,
                format!("{path}, line {number}: '{line}' is never activated by domain '{}'", domain.name),
            )
            .hint("the backup holds a setting that runs programs or makes an account equal to root"))
        }
    }
}

/// Removes what the domain owns and the generation lacks, deepest first.
fn remove_extras(root: &Folder, domain: &Domain, index: &Index) -> Result<(), Failure> {
    for (path, kind) in live::paths(root, domain)?.into_iter().rev() {
        if index.get(&domain.name, &path).is_some() {
            continue;
        }
        match kind {
            Kind::Folder if root.list(&path)?.is_empty() => root.remove_folder(&path)?,
            Kind::Folder => {} // It holds something that the domain does not own.
            _ => root.remove_file(&path)?,
        }
    }
    Ok(())
}

/// Makes everything durable, each file system once.
fn sync(root: &Folder, index: &Index) -> Result<(), Failure> {
    let mut systems = BTreeMap::new();
    for folder in parents(index).collect::<BTreeSet<_>>() {
        let Some(folder) = found(root.folder(&folder))? else {
            continue;
        };
        systems.entry(folder.device()?).or_insert(folder);
    }
    systems.values().try_for_each(|folder| Ok(folder.sync_all()?))
}
