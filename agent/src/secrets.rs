//! Where unsealed private keys are: in memory, behind a link at the path that services read.

use std::io::Write;

use reinstate_api::Failure;

use crate::files::{Folder, Kind, found};
use crate::store::{Generation, Names};
use crate::tree::{Entry, EntryKind, Hashing, Index, TreePath};

/// Below the appliance's root; on a real appliance /run is a tmpfs.
const FOLDER: &str = "run/reinstate/secrets";

/// Where the clear content of the secret at `path` lies.
pub fn place(path: &TreePath) -> TreePath {
    path.under(FOLDER)
}

/// What the link at `path` says. It is relative, so that it holds under any root.
pub fn link_target(path: &TreePath) -> String {
    let up = "../".repeat(path.as_str().matches('/').count());
    format!("{up}{}", place(path).as_str())
}

/// Unseals every secret of a generation into memory, each with its mode and owner.
pub fn unseal(root: &Folder, generation: &Generation, index: &Index, names: &Names) -> Result<(), Failure> {
    if generation.sealed(index).next().is_none() {
        return Ok(());
    }
    let key = generation.key()?;
    for (_, entry) in index.iter() {
        let EntryKind::File { sealed: true, sha256, .. } = entry.kind else {
            continue;
        };
        let place = place(&entry.path);
        if let Some(parent) = place.parent() {
            root.make_folders(&parent, 0o755)?;
        }
        root.remove_if_there(&place)?;
        let mut content = Hashing::new(generation.open(entry, &key)?);
        let mut clear = Vec::new();
        std::io::Read::read_to_end(&mut content, &mut clear)
            .map_err(|e| Failure::io(format_args!("cannot unseal {}", entry.path), &e))?;
        let clear = zeroize::Zeroizing::new(clear);
        let (_, digest) = content.finish();
        if digest != sha256 {
            return Err(generation.damaged(entry, digest, sha256));
        }
        let mut file = root.create(&place, 0o600)?;
        file.write_all(&clear)
            .map_err(|e| Failure::io(format_args!("cannot write /{}", place.as_str()), &e))?;
        if let Some((uid, gid)) = names.ids(&entry.path, &entry.owner, &entry.group)? {
            file.set_owner(uid, gid)?;
        }
        file.set_mode(entry.mode)?;
    }
    Ok(())
}

/// Is this generation's secret reached through the link that activation makes?
pub fn is_linked(root: &Folder, entry: &Entry) -> Result<bool, Failure> {
    let kind = found(root.stat(&entry.path))?.map(|stat| stat.kind);
    Ok(kind == Some(Kind::Link) && root.read_link(&entry.path)?.to_str() == Some(&link_target(&entry.path)))
}
