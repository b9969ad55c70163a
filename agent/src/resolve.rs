//! What a restore does to each domain, resolved while staging: snapshot and archive become the tree
//! that is wanted.

mod accounts;

use std::collections::BTreeSet;
use std::io::Read;

use reinstate_api::Failure;

use crate::activate::MAX_WHOLE;
use crate::domain::{Domain, Domains, Policy};
use crate::store::{Draft, Generation, SealKey};
use crate::tree::{Entry, EntryKind, Index, TreePath};

/// Completes a draft that holds an archive's content. `present` names the archive's domains, the
/// empty ones too. Returns what the admin has to be told.
pub fn resolve(
    draft: &mut Draft,
    domains: &Domains,
    present: &BTreeSet<String>,
    snapshot: &Generation,
) -> Result<Vec<String>, Failure> {
    let (local, key) = (snapshot.index()?, snapshot.key()?);
    let mut notes = Vec::new();
    for domain in domains.stored() {
        let name = &domain.name;
        match domain.restore {
            Policy::Keep => {}
            Policy::Remove => {
                for path in remove(draft, domain, &local, snapshot, &key)? {
                    notes.push(taken_off(name, &path));
                }
            }
            _ if !present.contains(name) => {
                for entry in local.domain(name) {
                    draft.adopt(name, snapshot, &key, entry)?;
                }
                notes.push(format!("{name}: not in the backup, left as it is"));
            }
            Policy::Merge => merge(draft, name, &local, snapshot, &key)?,
            Policy::Replace if domain.accounts.is_some() => {
                notes.extend(accounts::merge(draft, domain, &local, snapshot, &key)?);
            }
            Policy::Replace => {}
        }
    }

    let keys = draft.index().iter().filter(|(_, entry)| entry.is_sealed()).count();
    if keys > 0 {
        notes.push(format!("{keys} private keys are sealed with a key made for this configuration"));
    }
    Ok(notes)
}

const TAKEN_OFF: &str = " was taken off; enrol it again";

/// The note of a path that a restore takes off.
pub fn taken_off(domain: &str, path: &TreePath) -> String {
    format!("{domain}: {path}{TAKEN_OFF}")
}

/// Is this note one of something that was taken off?
pub fn is_taken_off(note: &str) -> bool {
    note.ends_with(TAKEN_OFF)
}

/// Takes a domain's files off, those of the backup and those of this device; its folders stay.
fn remove(
    draft: &mut Draft,
    domain: &Domain,
    local: &Index,
    snapshot: &Generation,
    key: &SealKey,
) -> Result<BTreeSet<TreePath>, Failure> {
    let staged: Vec<TreePath> = draft.index().domain(&domain.name).map(|entry| entry.path.clone()).collect();
    let files = |index: &Index| -> Vec<TreePath> {
        index
            .domain(&domain.name)
            .filter(|entry| !entry.is_folder())
            .map(|entry| entry.path.clone())
            .collect()
    };
    let removed = files(draft.index()).into_iter().chain(files(local)).collect();
    for path in &staged {
        draft.take_out(&domain.name, path)?;
    }
    for entry in local.domain(&domain.name).filter(|entry| entry.is_folder()) {
        draft.adopt(&domain.name, snapshot, key, entry)?;
    }
    Ok(removed)
}

/// Local entries that the backup lacks stay, unless the backup has something else in their place.
fn merge(
    draft: &mut Draft,
    domain: &str,
    local: &Index,
    snapshot: &Generation,
    key: &SealKey,
) -> Result<(), Failure> {
    for entry in local.domain(domain) {
        let taken = std::iter::successors(Some(entry.path.clone()), TreePath::parent)
            .filter_map(|path| draft.index().get(domain, &path).map(|there| (path, there)))
            .any(|(path, there)| path == entry.path || !there.is_folder());
        let is_above = !entry.is_folder() && draft.index().has_below(domain, &entry.path);
        if !taken && !is_above {
            draft.adopt(domain, snapshot, key, entry)?;
        }
    }
    Ok(())
}

fn text(path: &TreePath, from: &mut dyn Read) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    from.take(MAX_WHOLE)
        .read_to_end(&mut text)
        .map_err(|e| Failure::io(format_args!("cannot read {path}"), &e))?;
    Ok(text)
}

/// An entry for content that was made here, with the mode and owner of another one.
fn replaced(like: &Entry, content: &[u8]) -> Entry {
    let sealed = matches!(like.kind, EntryKind::File { sealed: true, .. });
    let kind =
        EntryKind::File { size: content.len() as u64, sha256: crate::tree::Digest::of(content), sealed };
    Entry { kind, ..like.clone() }
}
