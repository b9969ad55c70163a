//! What was changed by hand since the snapshot is in no generation: it is kept aside before it is overwritten.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use reinstate_api::{Failure, one_line};

use crate::domain::{Domain, Domains};
use crate::files::{Folder, Kind, found};
use crate::live;
use crate::secrets;
use crate::store::Generation;
use crate::tree::{EntryKind, Hashing, Index, TreePath};

/// Root's own, because there may be keys among it; below the root.
pub const ASIDE: &str = "var/lib/reinstate-aside";

/// Of so many jobs it is kept.
const JOBS: usize = 4;

/// Copies what differs from the snapshot, into a folder with the target's number; a sentence for each path.
pub(super) fn keep(
    root: &Folder,
    domains: &Domains,
    snapshot: &Generation,
    index: &Index,
    target: u64,
) -> Result<Vec<String>, Failure> {
    let place = format!("{ASIDE}/{target}");
    // An activation that was cut short in the middle of this does it again.
    root.remove_all(&place)?;
    let mut notes = Vec::new();
    let held = |domain: &&Domain| snapshot.record.domains.contains(&domain.name);
    for domain in domains.stored().filter(held) {
        let mut here = BTreeSet::new();
        for (path, kind) in live::paths(root, domain)? {
            let changed = match kind {
                Kind::File => is_changed(root, domain, index, &path)?,
                Kind::Link => is_other_link(root, domain, index, &path)?,
                Kind::Folder | Kind::Other => false,
            };
            if changed && kind == Kind::Link {
                let target = root.read_link(&path)?;
                notes.push(format!("{path} was made a link to {}", one_line(&target.to_string_lossy())));
            } else if changed {
                copy(root, &path, &place)?;
                notes.push(format!(
                    "{path} was changed by hand; what it was is kept as /{place}/{}",
                    path.as_str()
                ));
            }
            here.insert(path);
        }
        let gone =
            index.domain(&domain.name).filter(|entry| !entry.is_folder() && !here.contains(&entry.path));
        notes.extend(gone.map(|entry| format!("{} was removed by hand", entry.path)));
    }
    if !notes.is_empty() {
        forget_old(root)?;
    }
    Ok(notes)
}

fn is_changed(root: &Folder, domain: &Domain, index: &Index, path: &TreePath) -> Result<bool, Failure> {
    let Some(entry) = index.get(&domain.name, path) else { return Ok(true) };
    let EntryKind::File { sha256, .. } = entry.kind else { return Ok(true) };
    let Some(file) = found(root.open_file(path))? else { return Ok(false) };
    let mut hashing = Hashing::new(file);
    io::copy(&mut hashing, &mut io::sink()).map_err(|e| cannot_read(path, &e))?;
    Ok(hashing.finish().1 != sha256)
}

fn is_other_link(root: &Folder, domain: &Domain, index: &Index, path: &TreePath) -> Result<bool, Failure> {
    let link = root.read_link(path)?;
    let sealed = domain.is_secret(path) && link.to_str() == Some(&secrets::link_target(path));
    let known = index.get(&domain.name, path).is_some_and(|entry| match &entry.kind {
        EntryKind::Link { target } => link.to_str() == Some(target),
        _ => false,
    });
    Ok(!sealed && !known)
}

fn copy(root: &Folder, path: &TreePath, place: &str) -> Result<(), Failure> {
    let Some(mut from) = found(root.open_file(path))? else { return Ok(()) };
    let parent = path.parent().map(|parent| format!("{place}/{}", parent.as_str()));
    root.make_folders(parent.as_deref().unwrap_or(place), 0o700)?;
    let to = format!("{place}/{}", path.as_str());
    let mut out = BufWriter::with_capacity(128 << 10, root.create(&to, 0o600)?);
    let copied = copy_content(&mut from, &mut out);
    copied.map_err(|e| Failure::io(format_args!("cannot keep {path} as /{to}"), &e))?;
    Ok(())
}

fn copy_content(from: &mut File, to: &mut dyn Write) -> io::Result<()> {
    io::copy(from, to)?;
    to.flush()
}

/// Only what the newest jobs have left stays; all of it is on the disk by then.
fn forget_old(root: &Folder) -> Result<(), Failure> {
    let Some(aside) = found(root.folder(ASIDE))? else { return Ok(()) };
    let names = aside.list("")?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|(name, _)| name.to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    for number in &numbers[..numbers.len().saturating_sub(JOBS)] {
        aside.remove_all(number.to_string())?;
    }
    Ok(aside.sync_all()?)
}

fn cannot_read(path: &TreePath, error: &io::Error) -> Failure {
    Failure::io(format_args!("cannot read {path}"), error)
}
