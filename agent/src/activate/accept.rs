//! What activation accepts: looked at before a commit, when a refusal costs nothing, and again
//! before anything is written, because activation trusts nobody.

use std::io::Read;

use reinstate_api::{Code, Failure, one_line};

use crate::accounts::{Database, Wanted};
use crate::domain::Domains;
use crate::files::Folder;
use crate::store::{Generation, Names, SealKey};
use crate::tree::{Entry, EntryKind, Index, TreePath};

/// The largest file that is read whole, to be looked at or to be unsealed: 16 MiB.
pub const MAX_WHOLE: u64 = 16 << 20;

/// Would activation take this generation? Paths, links, owners, accounts and lines are looked at; `live` is the snapshot of what is
/// there.
///
/// # Errors
/// The first thing that it would refuse, by name.
pub fn accept(
    root: &Folder,
    domains: &Domains,
    generation: &Generation,
    live: &Generation,
) -> Result<(), Failure> {
    let index = generation.index()?;
    permit(domains, generation, &index)?;
    let (live_index, live_key) = (live.index()?, live.key()?);
    permit_accounts(domains, generation, &index, |path| {
        let entry = live_index.iter().map(|(_, entry)| entry).find(|entry| entry.path == *path);
        entry.filter(|entry| entry.is_file()).map(|entry| whole(live, entry, &live_key)).transpose()
    })?;
    let (names, key) = (names(root, generation, &index)?, generation.key()?);
    for (name, entry) in index.iter() {
        names.ids(&entry.path, &entry.owner, &entry.group)?;
        let Some(domain) = domains.get(name).filter(|domain| entry.is_file() && domain.inspects(&entry.path))
        else {
            continue;
        };
        domain.inspect(&entry.path, &whole(generation, entry, &key)?)?;
    }
    Ok(())
}

/// What no domain owns or declares is refused, whoever staged it.
pub(super) fn permit(domains: &Domains, generation: &Generation, index: &Index) -> Result<(), Failure> {
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
    for (name, entry) in index.iter() {
        // A domain that is not stored is not in the record either.
        let Some(domain) = domains.get(name) else { continue };
        domain.accepts(entry)?;
        let refused =
            |why: String| Failure::new(Code::PathNotOwned, format!("{} is not activated: {why}", entry.path));
        if entry.mode & !0o777 != 0 {
            return Err(refused(format!("its mode is {:o}, of at most 777", entry.mode)));
        }
        if let EntryKind::File { size, sealed, .. } = entry.kind {
            if sealed != domain.is_secret(&entry.path) {
                return Err(refused(format!("sealed is {sealed}, domain '{name}' says otherwise")));
            }
            if (sealed || domain.inspects(&entry.path)) && size > MAX_WHOLE {
                return Err(refused(format!("it has {size} bytes, of at most {MAX_WHOLE} for such a file")));
            }
        }
    }
    Ok(())
}

/// As [`Wanted::permit`]; `live` reads what is there.
pub(super) fn permit_accounts(
    domains: &Domains,
    generation: &Generation,
    index: &Index,
    live: impl Fn(&TreePath) -> Result<Option<Vec<u8>>, Failure>,
) -> Result<(), Failure> {
    let key = generation.key()?;
    for domain in domains.stored() {
        let Some(rules) = &domain.accounts else { continue };
        let find = |name| index.domain(&domain.name).find(|e| e.path.file_name() == name && e.is_file());
        let read = |name| match find(name) {
            Some(entry) => Database::parse(&entry.path, &whole(generation, entry, &key)?),
            None => Ok(Database::default()),
        };
        let here = match find("shadow") {
            Some(entry) => Database::parse(&entry.path, &live(&entry.path)?.unwrap_or_default())?,
            None => Database::default(),
        };
        Wanted {
            passwd: read("passwd")?,
            shadow: read("shadow")?,
            group: read("group")?,
            gshadow: read("gshadow")?,
        }
        .permit(rules, &here)?;
    }
    Ok(())
}

/// Owners are resolved with the accounts of the generation itself, where it has them.
pub(super) fn names(root: &Folder, generation: &Generation, index: &Index) -> Result<Names, Failure> {
    let key = generation.key()?;
    let text = |path: &str| {
        let entry =
            index.iter().map(|(_, entry)| entry).find(|entry| entry.path.as_str() == path && entry.is_file());
        let Some(entry) = entry else { return Ok(None) };
        whole(generation, entry, &key).map(Some)
    };
    match (text("etc/passwd")?, text("etc/group")?) {
        (Some(passwd), Some(group)) => Ok(Names::parse(&passwd, &group)),
        _ => Names::read(root),
    }
}

fn whole(generation: &Generation, entry: &Entry, key: &SealKey) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    generation
        .open(entry, key)?
        .take(MAX_WHOLE)
        .read_to_end(&mut text)
        .map_err(|e| Failure::io(format_args!("cannot read {}", entry.path), &e))?;
    Ok(text)
}
