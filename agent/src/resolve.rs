//! What a restore does to each domain, resolved while staging: snapshot and archive become the tree
//! that is wanted.

mod accounts;

use std::collections::BTreeSet;
use std::io::Read;

use reinstate_api::Failure;

use crate::domain::{Domain, Domains, Policy};
use crate::store::{Draft, Generation, SealKey};
use crate::tree::{Entry, EntryKind, Index, TreePath};

/// The largest file that is read whole, to be merged or looked at.
const MAX_TEXT: u64 = 16 << 20;

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
                    notes.push(format!("{name}: {path} was taken off; enrol it again"));
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
    inspect_all(draft, domains)?;
    let keys = draft.index().iter().filter(|(_, entry)| entry.is_sealed()).count();
    if keys > 0 {
        notes.push(format!("{keys} private keys are sealed with a key made for this configuration"));
    }
    Ok(notes)
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
        if !taken {
            draft.adopt(domain, snapshot, key, entry)?;
        }
    }
    Ok(())
}

/// Activation refuses these lines too; here the refusal comes before anything was changed.
fn inspect_all(draft: &Draft, domains: &Domains) -> Result<(), Failure> {
    for domain in domains.stored() {
        for entry in draft.index().domain(&domain.name) {
            if entry.is_file() && domain.inspects(&entry.path) {
                domain.inspect(&entry.path, &text(&entry.path, &mut *draft.open(entry)?)?)?;
            }
        }
    }
    Ok(())
}

fn text(path: &TreePath, from: &mut dyn Read) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    from.take(MAX_TEXT)
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
