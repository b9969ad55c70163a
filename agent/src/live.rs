//! The live configuration, read: what a snapshot stores and what a scan compares.

use reinstate_api::{Code, Failure};

use crate::domain::{Domain, Domains, Owned, TEMPORARY};
use crate::files::{Folder, Kind, Stat, found};
use crate::secrets;
use crate::store::{Draft, Names};
use crate::tree::{Digest, Entry, EntryKind, Hashing, Index, TreePath};

/// Copies the live configuration into a draft.
pub fn snapshot(root: &Folder, domains: &Domains, draft: &mut Draft) -> Result<(), Failure> {
    walk(root, domains, &mut |domain, entry, content| match content {
        None => draft.put(domain, entry),
        Some(mut file) => draft.put_unknown(domain, entry, &mut file),
    })
}

/// The live configuration's index, without a copy.
pub fn scan(root: &Folder, domains: &Domains) -> Result<Index, Failure> {
    let mut index = Index::default();
    walk(root, domains, &mut |domain, mut entry, content| {
        if let (Some(file), EntryKind::File { sealed, .. }) = (content, &entry.kind) {
            let mut hashing = Hashing::new(file);
            std::io::copy(&mut hashing, &mut std::io::sink())
                .map_err(|e| Failure::io(format_args!("cannot read {}", entry.path), &e))?;
            let (size, sha256) = hashing.finish();
            entry.kind = EntryKind::File { size, sha256, sealed: *sealed };
        }
        index.insert(domain, entry);
        Ok(())
    })?;
    Ok(index)
}

/// Every path that a stored domain owns and that is there, without content.
pub fn paths(root: &Folder, domain: &Domain) -> Result<Vec<(TreePath, Kind)>, Failure> {
    let mut paths = Vec::new();
    for owned in &domain.paths {
        collect(root, domain, owned, &mut paths)?;
    }
    Ok(paths)
}

fn collect(
    root: &Folder,
    domain: &Domain,
    owned: &Owned,
    into: &mut Vec<(TreePath, Kind)>,
) -> Result<(), Failure> {
    let Some(stat) = found(root.stat(&owned.path))? else {
        return Ok(());
    };
    into.push((owned.path.clone(), stat.kind));
    if owned.folder && stat.kind == Kind::Folder {
        below(root, domain, &owned.path, into)?;
    }
    Ok(())
}

fn below(
    root: &Folder,
    domain: &Domain,
    folder: &TreePath,
    into: &mut Vec<(TreePath, Kind)>,
) -> Result<(), Failure> {
    for (name, kind) in root.list(folder)? {
        let text = name.to_str().map(|name| format!("{}/{name}", folder.as_str()));
        let path: TreePath = text
            .ok_or_else(|| "it is not UTF-8".to_owned())
            .and_then(|t| t.parse())
            .map_err(|why: String| {
                let shown = name.to_string_lossy();
                unfit(&format!("{folder}/{}", reinstate_api::one_line(&shown)), &why)
            })?;
        if is_own_temporary(&path) || !domain.owns(&path) {
            continue;
        }
        into.push((path.clone(), kind));
        if kind == Kind::Folder {
            below(root, domain, &path, into)?;
        }
    }
    Ok(())
}

fn is_own_temporary(path: &TreePath) -> bool {
    path.file_name().starts_with(TEMPORARY)
}

type Visit<'a> = dyn FnMut(&str, Entry, Option<std::fs::File>) -> Result<(), Failure> + 'a;

fn walk(root: &Folder, domains: &Domains, visit: &mut Visit<'_>) -> Result<(), Failure> {
    let names = Names::read(root)?;
    for domain in domains.stored() {
        for (path, kind) in paths(root, domain)? {
            let Some((entry, content)) = read(root, domain, &names, path, kind)? else {
                continue;
            };
            visit(&domain.name, entry, content)?;
        }
    }
    Ok(())
}

type Read = Option<(Entry, Option<std::fs::File>)>;

fn read(root: &Folder, domain: &Domain, names: &Names, path: TreePath, kind: Kind) -> Result<Read, Failure> {
    let describe = |stat: Stat, path: TreePath, kind: EntryKind| {
        if stat.mode & !0o777 != 0 {
            return Err(unfit(&path, &format!("its mode is {:o}, of at most 777", stat.mode)));
        }
        let (owner, group) = names.of(&path, stat.uid, stat.gid)?;
        let entry = Entry { path, mode: stat.mode, owner, group, kind };
        domain.accepts(&entry).map_err(|failure| unfit(&entry.path, &failure.message))?;
        Ok(entry)
    };
    match kind {
        Kind::Folder => {
            let Some(stat) = found(root.stat(&path))? else {
                return Ok(None);
            };
            Ok(Some((describe(stat, path, EntryKind::Folder)?, None)))
        }
        Kind::File => file(root, domain, &path, &path, &describe),
        Kind::Link => {
            let target = root.read_link(&path)?;
            let target = target.to_str().ok_or_else(|| unfit(&path, "its target is not UTF-8"))?;
            if domain.is_secret(&path) && target == secrets::link_target(&path) {
                return file(root, domain, &secrets::place(&path), &path, &describe);
            }
            if !domain.allows_link(&path, target) {
                let why = format!(
                    "it is a symbolic link to {}, which domain '{}' does not declare",
                    reinstate_api::one_line(target),
                    domain.name
                );
                return Err(unfit(&path, &why));
            }
            let Some(stat) = found(root.stat(&path))? else {
                return Ok(None);
            };
            let kind = EntryKind::Link { target: target.to_owned() };
            Ok(Some((describe(Stat { mode: 0o777, ..stat }, path, kind)?, None)))
        }
        Kind::Other => Err(unfit(&path, "it is neither a file nor a folder")),
    }
}

/// A file whose content lies at `place`: itself, or unsealed in memory.
fn file(
    root: &Folder,
    domain: &Domain,
    place: &TreePath,
    path: &TreePath,
    describe: &dyn Fn(Stat, TreePath, EntryKind) -> Result<Entry, Failure>,
) -> Result<Read, Failure> {
    let (Some(stat), Some(file)) = (found(root.stat(place))?, found(root.open_file(place))?) else {
        return match place == path {
            true => Ok(None), // It went away since its folder was listed.
            false => Err(unfit(path, "it is sealed and has not been unsealed at boot")),
        };
    };
    let unknown = EntryKind::File { size: 0, sha256: Digest([0; 32]), sealed: domain.is_secret(path) };
    Ok(Some((describe(stat, path.clone(), unknown)?, Some(file))))
}

fn unfit(path: &dyn std::fmt::Display, why: &str) -> Failure {
    Failure::new(Code::SnapshotFailed, format!("{path} cannot be part of a snapshot: {why}"))
        .hint("take it away, or have the domain declare it")
}
