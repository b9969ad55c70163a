//! Makes the live configuration equal to a generation.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use reinstate_api::{Code, Failure};
use sha2::Digest as _;

use super::accept::{MAX_WHOLE, names, permit, permit_accounts};
use crate::domain::{Domain, Domains, TEMPORARY};
use crate::files::{Folder, Kind, found};
use crate::live;
use crate::secrets;
use crate::store::{Generation, Names, SealKey};
use crate::tree::{Digest, Entry, EntryKind, Index, TreePath};

const BUFFER: usize = 128 << 10;

/// Why a generation is not live.
pub(super) enum Unapplied {
    /// Every file is as it was; what was put beside them is for [`tidy`] to take away.
    Untouched(Failure),
    Touched(Failure),
}

impl Unapplied {
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Untouched(failure) | Self::Touched(failure) => failure,
        }
    }
}

/// Everything is copied and verified beside its place first, and renamed into place only when all
/// of it is good: a damaged generation leaves the live configuration alone.
pub(super) fn apply(root: &Folder, domains: &Domains, generation: &Generation) -> Result<(), Unapplied> {
    let mut touched = false;
    let prepared = prepare(root, domains, generation, &mut touched);
    let (target, index) = prepared.map_err(|failure| match touched {
        true => Unapplied::Touched(failure),
        false => Unapplied::Untouched(failure),
    })?;
    put(&target, &index).map_err(Unapplied::Touched)
}

fn prepare<'a>(
    root: &'a Folder,
    domains: &'a Domains,
    generation: &'a Generation,
    touched: &mut bool,
) -> Result<(Target<'a>, Index), Failure> {
    let index = generation.index()?;
    permit(domains, generation, &index)?;
    permit_accounts(domains, generation, &index, |path| Ok(found(root.read(path, MAX_WHOLE))?))?;
    let (names, key) = (names(root, generation, &index)?, generation.key()?);
    let target = Target { root, domains, generation, names, key };
    remove_temporaries(root, domains, &index)?;
    for (domain, entry) in index.iter() {
        target.make_way(domain, entry, touched)?;
    }
    let mut buffer = vec![0; BUFFER];
    for (domain, entry) in index.iter().filter(|(_, entry)| !entry.is_folder()) {
        target.prepare(domain, entry, &mut buffer)?;
    }
    // The next boot would make it whole after a power cut without this too. But a disk that cannot keep what was
    // written says so only now, while every file is as it was.
    sync(root, domains, &index)?;
    Ok((target, index))
}

fn put(target: &Target<'_>, index: &Index) -> Result<(), Failure> {
    let Target { root, domains, generation, names, .. } = target;
    secrets::unseal(root, domains, generation, index, names)?;
    for (_, entry) in index.iter().filter(|(_, entry)| !entry.is_folder()) {
        target.put(entry)?;
    }
    remove_extras(root, domains, generation, index)?;
    for (_, entry) in index.iter().filter(|(_, entry)| entry.is_folder()) {
        target.dress_folder(entry)?;
    }
    sync(root, domains, index)
}

/// Takes away what a broken-off activation has put beside the live configuration, which is the
/// given generation.
pub(super) fn tidy(root: &Folder, domains: &Domains, live: &Generation) -> Result<(), Failure> {
    let index = live.index()?;
    remove_temporaries(root, domains, &index)?;
    remove_extras(root, domains, live, &index)
}

fn temporary(path: &TreePath) -> String {
    let digest = Digest::of(path.as_str().as_bytes()).to_string();
    let name = format!("{}{}", TEMPORARY, &digest[..32]);
    match path.parent() {
        Some(parent) => format!("{}/{name}", parent.as_str()),
        None => name,
    }
}

/// What an earlier, broken-off activation has left beside its targets.
fn remove_temporaries(root: &Folder, domains: &Domains, index: &Index) -> Result<(), Failure> {
    for folder in folders(root, domains, index)? {
        let Ok(names) = root.list(&folder) else { continue };
        for (name, _) in names {
            if name.to_string_lossy().starts_with(TEMPORARY) {
                root.remove_all(format!("{}/{}", folder.as_str(), name.to_string_lossy()))?;
            }
        }
    }
    Ok(())
}

/// Every folder that activation may have an entry in.
fn folders(root: &Folder, domains: &Domains, index: &Index) -> Result<BTreeSet<TreePath>, Failure> {
    let mut folders: BTreeSet<TreePath> = index.iter().filter_map(|(_, entry)| entry.path.parent()).collect();
    for domain in domains.stored() {
        folders.extend(domain.paths.iter().filter_map(|owned| owned.path.parent()));
        let here = live::paths(root, domain)?;
        folders.extend(here.into_iter().filter(|(_, kind)| *kind == Kind::Folder).map(|(path, _)| path));
    }
    Ok(folders)
}

struct Target<'a> {
    root: &'a Folder,
    domains: &'a Domains,
    generation: &'a Generation,
    names: Names,
    key: SealKey,
}

impl Target<'_> {
    /// Makes the folders that are missing. Folders above an owned path are the image's; where one is
    /// missing it is made. What is of another kind than the generation's may go only if all of it is
    /// the domain's.
    fn make_way(&self, domain: &str, entry: &Entry, touched: &mut bool) -> Result<(), Failure> {
        if let Some(parent) = entry.path.parent() {
            self.root.make_folders(&parent, 0o755)?;
        }
        let there = found(self.root.stat(&entry.path))?.map(|stat| stat.kind);
        match (entry.is_folder(), there) {
            (true, None) => Ok(self.root.make_folder(&entry.path, 0o700)?),
            (true, Some(Kind::Folder)) | (false, None | Some(Kind::File | Kind::Link)) => Ok(()),
            // Its children are prepared in it, so it has to be one now; the old generation has it back.
            (true, Some(_)) => {
                *touched = true;
                self.root.remove_file(&entry.path)?;
                Ok(self.root.make_folder(&entry.path, 0o700)?)
            }
            (false, Some(_)) => self.is_all_owned(domain, &entry.path),
        }
    }

    fn is_all_owned(&self, domain: &str, path: &TreePath) -> Result<(), Failure> {
        for (name, kind) in self.root.list(path)? {
            let below: Option<TreePath> =
                name.to_str().and_then(|name| format!("{}/{name}", path.as_str()).parse().ok());
            let owned =
                below.filter(|below| self.domains.get(domain).is_some_and(|domain| domain.owns(below)));
            match owned {
                Some(below) if kind == Kind::Folder => self.is_all_owned(domain, &below)?,
                Some(_) => {}
                None => {
                    return Err(Failure::new(
                        Code::PathNotOwned,
                        format!("the folder {path} cannot give way to a file: it holds what no domain owns"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn dress_folder(&self, entry: &Entry) -> Result<(), Failure> {
        let folder = self.root.folder(&entry.path)?;
        if let Some((uid, gid)) = self.names.ids(&entry.path, &entry.owner, &entry.group)? {
            folder.set_own_owner(uid, gid)?;
        }
        Ok(folder.set_own_mode(entry.mode)?)
    }

    /// Copies to a temporary file in the same folder, verifying in the same read.
    fn prepare(&self, domain: &str, entry: &Entry, buffer: &mut [u8]) -> Result<(), Failure> {
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
        let EntryKind::File { sha256, .. } = entry.kind else { return Ok(()) };
        let inspected = self.domains.get(domain).filter(|domain| domain.inspects(&entry.path));
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
            return Err(self.generation.damaged(entry, digest, sha256));
        }
        inspected.map_or(Ok(()), |domain| domain.inspect(&entry.path, &text))
    }

    fn put(&self, entry: &Entry) -> Result<(), Failure> {
        if found(self.root.stat(&entry.path))?.is_some_and(|stat| stat.kind == Kind::Folder) {
            self.root.remove_all(&entry.path)?;
        }
        Ok(self.root.rename(temporary(&entry.path), &entry.path)?)
    }
}

/// Removes what the generation's domains own and it lacks, deepest first.
fn remove_extras(
    root: &Folder,
    domains: &Domains,
    generation: &Generation,
    index: &Index,
) -> Result<(), Failure> {
    let held = |domain: &&Domain| generation.record.domains.contains(&domain.name);
    for domain in domains.stored().filter(held) {
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
    }
    Ok(())
}

/// Makes everything durable, each file system once.
fn sync(root: &Folder, domains: &Domains, index: &Index) -> Result<(), Failure> {
    let mut systems = BTreeMap::new();
    for folder in folders(root, domains, index)? {
        let Some(folder) = found(root.folder(&folder))? else { continue };
        systems.entry(folder.device()?).or_insert(folder);
    }
    systems.values().try_for_each(|folder| Ok(folder.sync_all()?))
}
