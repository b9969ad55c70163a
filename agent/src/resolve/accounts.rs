//! The account database, merged account by account.
//!
//! Accounts in the profile's range come from the backup, password included; local-only ones go,
//! unless they are kept; system accounts and groups stay exactly as they are on this device, except
//! for which restored accounts are members of the system groups that the domain names.

use std::collections::{BTreeMap, BTreeSet};

use reinstate_api::{Code, Failure, one_line};

use super::{replaced, text};
use crate::accounts::{Database, Record};
use crate::domain::{Accounts, Domain};
use crate::store::{Draft, Generation, SealKey};
use crate::tree::{Entry, Index};

/// Merges `passwd`, `shadow`, `group` and `gshadow` of a domain; other files of it are replaced.
pub(super) fn merge(
    draft: &mut Draft,
    domain: &Domain,
    local: &Index,
    snapshot: &Generation,
    key: &SealKey,
) -> Result<Vec<String>, Failure> {
    let Some(rules) = &domain.accounts else { return Ok(Vec::new()) };
    let find = |index: &Index, name: &str| -> Option<Entry> {
        index.domain(&domain.name).find(|entry| entry.path.file_name() == name && entry.is_file()).cloned()
    };
    // A file that one side lacks is an empty one; a file that neither has is none.
    let read = |name: &str| -> Result<Option<(Entry, Database, Database)>, Failure> {
        let (theirs, ours) = (find(draft.index(), name), find(local, name));
        let backup = theirs
            .as_ref()
            .map(|entry| Database::parse(&entry.path, &text(&entry.path, &mut *draft.open(entry)?)?));
        let here = ours
            .as_ref()
            .map(|entry| Database::parse(&entry.path, &text(&entry.path, &mut *snapshot.open(entry, key)?)?));
        let Some(entry) = theirs.or(ours) else { return Ok(None) };
        Ok(Some((entry, backup.transpose()?.unwrap_or_default(), here.transpose()?.unwrap_or_default())))
    };
    let Some((passwd, backup, here)) = read("passwd")?.filter(|(_, backup, _)| !backup.0.is_empty()) else {
        return Err(Failure::new(Code::ArchiveInvalid, "the backup holds no accounts (passwd)"));
    };
    let choice = Choice::new(rules, &backup, &here);
    choice.no_id_twice(&backup, &here)?;
    let mut notes = Vec::new();
    let gone = here.0.iter().map(Record::name).filter(|name| choice.drops(name));
    notes.extend(gone.map(|name| {
        format!("{}: account '{}' exists only here and was taken off", domain.name, one_line(name))
    }));

    let as_it_is = |_: Option<&Record>, line: &Record| line.clone();
    let mut files = vec![(passwd, choice.merge(&backup, &here, &as_it_is))];
    if let Some((entry, backup, here)) = read("shadow")? {
        files.push((entry, choice.merge(&backup, &here, &as_it_is)));
    }
    if let Some((entry, backup, here)) = read("group")? {
        let groups = Choice::new(rules, &backup, &here);
        groups.no_id_twice(&backup, &here)?;
        let members = |theirs: Option<&Record>, ours: &Record| {
            let listed = rules.groups.iter().any(|group| group == ours.name());
            choice.members(theirs.filter(|_| listed), ours)
        };
        for group in backup.0.iter().filter(|group| groups.stays.contains(group.name())) {
            let closed = !rules.groups.iter().any(|open| open == group.name());
            let left_out = group.members().filter(|name| closed && choice.restored.contains(*name));
            notes.extend(left_out.map(|name| {
                let (name, group) = (one_line(name), one_line(group.name()));
                format!("{}: account '{name}' is in no system group {group} here", domain.name)
            }));
        }
        files.push((entry, groups.merge(&backup, &here, &members)));
        if let Some((entry, backup, here)) = read("gshadow")? {
            files.push((entry, groups.merge(&backup, &here, &members)));
        }
    }
    for (entry, content) in files {
        let entry = replaced(&entry, content.as_bytes());
        draft.take_out(&domain.name, &entry.path)?;
        draft.put_file(&domain.name, entry, &mut content.as_bytes())?;
    }
    Ok(notes)
}

/// Which names come from the backup, and which stay.
struct Choice {
    restored: BTreeSet<String>,
    stays: BTreeSet<String>,
    here: BTreeSet<String>,
}

impl Choice {
    fn new(rules: &Accounts, backup: &Database, here: &Database) -> Self {
        let ranged = |record: &&Record| record.id().is_some_and(|id| rules.covers(id));
        let system: BTreeMap<&str, &Record> =
            here.0.iter().filter(|record| !ranged(record)).map(|record| (record.name(), record)).collect();
        // A name that is a system account here stays one, whatever number the backup gives it.
        let restored: BTreeSet<String> = backup
            .0
            .iter()
            .filter(ranged)
            .map(|record| record.name().to_owned())
            .filter(|name| !system.contains_key(name.as_str()))
            .collect();
        let stays = here
            .0
            .iter()
            .map(Record::name)
            .filter(|name| system.contains_key(name) || rules.keep.iter().any(|kept| kept == name))
            .filter(|name| !restored.contains(*name))
            .map(String::from)
            .collect();
        Self { restored, stays, here: here.0.iter().map(|record| record.name().to_owned()).collect() }
    }

    /// A restored account must not be the same as one that stays, under another name.
    fn no_id_twice(&self, backup: &Database, here: &Database) -> Result<(), Failure> {
        let stays: BTreeMap<u32, &str> = here
            .0
            .iter()
            .filter(|record| self.stays.contains(record.name()))
            .filter_map(|record| Some((record.id()?, record.name())))
            .collect();
        for record in backup.0.iter().filter(|record| self.restored.contains(record.name())) {
            if let Some((id, name)) = record.id().and_then(|id| Some((id, *stays.get(&id)?))) {
                return Err(Failure::new(
                    Code::ArchiveInvalid,
                    format!(
                        "'{}' of the backup and '{}' of this appliance both have the number {id}",
                        one_line(record.name()),
                        one_line(name)
                    ),
                )
                .hint("give one of them another number"));
            }
        }
        Ok(())
    }

    fn drops(&self, name: &str) -> bool {
        self.here.contains(name) && !self.restored.contains(name) && !self.stays.contains(name)
    }

    /// In the backup's order, then what exists only here; `stay` gives the line of one that stays,
    /// from the backup's line and from this device's.
    fn merge(
        &self,
        backup: &Database,
        here: &Database,
        stay: &dyn Fn(Option<&Record>, &Record) -> Record,
    ) -> String {
        let mut lines = Vec::new();
        for record in &backup.0 {
            if self.restored.contains(record.name()) {
                lines.push(record.clone());
            } else if let Some(ours) = here.get(record.name()).filter(|ours| self.stays.contains(ours.name()))
            {
                lines.push(stay(Some(record), ours));
            }
        }
        for ours in here.0.iter().filter(|ours| self.stays.contains(ours.name())) {
            if backup.get(ours.name()).is_none() {
                lines.push(stay(None, ours));
            }
        }
        lines.iter().map(|record| record.0.join(":") + "\n").collect()
    }

    /// A system group keeps its system members; of the others, the restored ones are the backup's.
    fn members(&self, theirs: Option<&Record>, ours: &Record) -> Record {
        let mut members: Vec<&str> = theirs.into_iter().flat_map(Record::members).collect();
        members.retain(|name| {
            self.restored.contains(*name)
                || (self.stays.contains(*name) && ours.members().any(|ours| ours == *name))
        });
        for name in ours.members() {
            if self.stays.contains(name) && !members.contains(&name) {
                members.push(name);
            }
        }
        let members = members.join(",");
        let mut record = ours.clone();
        if let Some(last) = record.0.last_mut() {
            *last = members;
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(text: &str) -> Database {
        Database::parse(&"etc/passwd".parse().unwrap(), text.as_bytes()).unwrap()
    }

    fn rules() -> Accounts {
        Accounts {
            first_uid: 1000,
            last_uid: 59999,
            keep: vec!["vendor".into()],
            groups: vec!["sudo".into()],
            shells: Vec::new(),
        }
    }

    const BACKUP: &str = "root:x:0:0\nadmin:x:1000:1000\nalice:x:1001:1001\nold:x:7:7\n";
    const HERE: &str =
        "root:x:0:0:here\nsshd:x:100:100\nadmin:x:1000:1000:factory\nbob:x:1002:1\nvendor:x:1003:1\n";

    #[test]
    fn people_come_from_the_backup_and_system_accounts_stay() {
        let (backup, here) = (database(BACKUP), database(HERE));
        let choice = Choice::new(&rules(), &backup, &here);
        let merged = choice.merge(&backup, &here, &|_, line| line.clone());
        assert_eq!(
            merged,
            "root:x:0:0:here\nadmin:x:1000:1000\nalice:x:1001:1001\nsshd:x:100:100\nvendor:x:1003:1\n"
        );
        assert!(choice.drops("bob") && !choice.drops("vendor") && !choice.drops("alice"));
    }

    #[test]
    fn a_restored_account_keeps_its_place_in_a_system_group() {
        let (backup, here) = (database(BACKUP), database(HERE));
        let choice = Choice::new(&rules(), &backup, &here);
        let theirs = Record(["sudo", "x", "27", "alice,old,sshd"].map(String::from).to_vec());
        let ours = Record(["sudo", "x", "28", "bob,sshd"].map(String::from).to_vec());
        assert_eq!(choice.members(Some(&theirs), &ours).0.join(":"), "sudo:x:28:alice,sshd");
        assert_eq!(choice.members(None, &ours).0.join(":"), "sudo:x:28:sshd");
    }
}
