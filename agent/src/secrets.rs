//! Where unsealed private keys are: in memory, behind a link at the path that services read.

use std::io::{Read, Write};

use reinstate_api::{Code, Failure};

use crate::domain::Domains;
use crate::files::{Folder, Kind, found};
use crate::store::{Generation, Names, SealKey};
use crate::tree::{Entry, EntryKind, Hashing, Index, TreePath};

/// Below the appliance's root; on a real appliance /run is a tmpfs.
pub const FOLDER: &str = "run/reinstate/secrets";

/// Where the clear content of the secret at `path` lies.
pub fn place(path: &TreePath) -> TreePath {
    path.under(FOLDER)
}

/// What the link at `path` says. It is relative, so that it holds under any root.
pub fn link_target(path: &TreePath) -> String {
    let up = "../".repeat(path.as_str().matches('/').count());
    format!("{up}{}", place(path).as_str())
}

/// Unseals every secret of a generation into memory, each with its mode and owner, in folders that
/// let nobody in whom the live ones keep out. One that cannot be unsealed does not keep the others
/// away.
pub fn unseal(
    root: &Folder,
    domains: &Domains,
    generation: &Generation,
    index: &Index,
    names: &Names,
) -> Result<(), Failure> {
    if generation.sealed(index).next().is_none() {
        return Ok(());
    }
    let key = generation.key()?;
    let mut failed = Vec::new();
    for (domain, entry) in index.iter().filter(|(_, entry)| entry.is_sealed()) {
        let unsealed = clear(domains, domain, generation, entry, &key).and_then(|clear| {
            make_parents(root, index, names, &entry.path)?;
            write(root, names, entry, &clear)
        });
        failed.extend(unsealed.err());
    }
    match failed.len() {
        0 => Ok(()),
        1 => Err(failed.remove(0)),
        count => Err(Failure::new(
            Code::ActivationFailed,
            format!("{count} keys cannot be unsealed: {}", failed[0]),
        )),
    }
}

fn clear(
    domains: &Domains,
    domain: &str,
    generation: &Generation,
    entry: &Entry,
    key: &SealKey,
) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
    let EntryKind::File { sha256, size, .. } = entry.kind else { return Ok(Vec::new().into()) };
    let mut content = Hashing::new(generation.open(entry, key)?.take(size + 1));
    let mut clear = zeroize::Zeroizing::new(Vec::new());
    content
        .read_to_end(&mut clear)
        .map_err(|e| Failure::io(format_args!("cannot unseal {}", entry.path), &e))?;
    let (_, digest) = content.finish();
    if digest != sha256 {
        return Err(generation.damaged(entry, digest, sha256));
    }
    if let Some(domain) = domains.get(domain) {
        domain.inspect(&entry.path, &clear)?;
    }
    Ok(clear)
}

fn write(root: &Folder, names: &Names, entry: &Entry, clear: &[u8]) -> Result<(), Failure> {
    let place = place(&entry.path);
    root.remove_if_there(&place)?;
    let mut file = root.create(&place, 0o600)?;
    file.write_all(clear).map_err(|e| Failure::io(format_args!("cannot write /{}", place.as_str()), &e))?;
    if let Some((uid, gid)) = names.ids(&entry.path, &entry.owner, &entry.group)? {
        file.set_owner(uid, gid)?;
    }
    Ok(file.set_mode(entry.mode)?)
}

/// The folders above a key's place, each like the one above the key itself: the generation's, or
/// where it has none the live one.
fn make_parents(root: &Folder, index: &Index, names: &Names, path: &TreePath) -> Result<(), Failure> {
    root.make_folders(FOLDER, 0o755)?;
    let mut above: Vec<_> = std::iter::successors(path.parent(), TreePath::parent).collect();
    above.reverse();
    for folder in above {
        let place = place(&folder);
        if found(root.folder(&place))?.is_some() {
            continue;
        }
        root.make_folder(&place, 0o700)?;
        let made = root.folder(&place)?;
        let entry =
            index.iter().map(|(_, entry)| entry).find(|entry| entry.path == folder && entry.is_folder());
        let (mode, ids) = match (entry, found(root.stat(&folder))?) {
            (Some(entry), _) => (entry.mode, names.ids(&folder, &entry.owner, &entry.group)?),
            (None, Some(live)) => (live.mode & 0o777, names.privileged().then_some((live.uid, live.gid))),
            (None, None) => (0o755, None),
        };
        if let Some((uid, gid)) = ids {
            made.set_own_owner(uid, gid)?;
        }
        made.set_own_mode(mode)?;
    }
    Ok(())
}

/// Is this generation's secret reached through the link that activation makes?
pub fn is_linked(root: &Folder, entry: &Entry) -> Result<bool, Failure> {
    let kind = found(root.stat(&entry.path))?.map(|stat| stat.kind);
    Ok(entry.is_sealed()
        && kind == Some(Kind::Link)
        && root.read_link(&entry.path)?.to_str() == Some(&link_target(&entry.path)))
}
