//! The people with an account, as the account database of this appliance has them.

use std::collections::BTreeMap;

use reinstate_api::{Access, Failure, UserView, one_line};

use crate::accounts::{ADMINS, OPERATORS, Record};
use crate::domain::Domains;
use crate::files::{Folder, found};

const MAX_BYTES: u64 = 4 << 20;

/// The accounts in the range that a domain names, by number. Whether a password lets somebody in is in a file that only
/// root reads, so a short process of root's does this.
pub fn read(root: &Folder, domains: &Domains) -> Result<Vec<UserView>, Failure> {
    let Some(rules) = domains.iter().find_map(|domain| domain.accounts.as_ref()) else {
        return Ok(Vec::new());
    };
    let groups = records(root, "etc/group")?;
    let shadow: BTreeMap<String, Record> =
        records(root, "etc/shadow")?.into_iter().map(|record| (record.name().to_owned(), record)).collect();
    let access = |person: &Record| {
        let gid = person.0.get(3);
        let is_in = |name: &str| {
            groups
                .iter()
                .filter(|group| group.name() == name)
                .any(|group| group.0.get(2) == gid || group.members().any(|member| member == person.name()))
        };
        match () {
            () if is_in(ADMINS) => Some(Access::Config),
            () if is_in(OPERATORS) => Some(Access::Basic),
            () => None,
        }
    };
    let mut people: Vec<UserView> = records(root, "etc/passwd")?
        .iter()
        .filter_map(|person| {
            let uid = person.id().filter(|id| rules.covers(*id))?;
            let (name, access) = (one_line(person.name()), access(person));
            Some(UserView { name, uid, access, locked: is_locked(person, shadow.get(person.name())) })
        })
        .collect();
    people.sort_by_key(|person| person.uid);
    Ok(people)
}

/// No password becomes one of these; an empty field lets everybody in.
fn is_locked(person: &Record, shadow: Option<&Record>) -> bool {
    let field = |record: &Record| record.0.get(1).cloned().unwrap_or_default();
    let hash = match field(person).as_str() {
        "x" => shadow.map_or("!".into(), field),
        own => own.to_owned(),
    };
    hash.starts_with(['!', '*'])
}

/// What is no line of such a file is passed over: this shows, and decides nothing.
fn records(root: &Folder, path: &str) -> Result<Vec<Record>, Failure> {
    let bytes = found(root.read(path, MAX_BYTES))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let records = text.lines().map(|line| Record(line.split(':').map(String::from).collect()));
    Ok(records.filter(|record| record.0.len() >= 3 && !record.name().is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_password_that_lets_in_is_locked() {
        let record = |line: &str| Record(line.split(':').map(String::from).collect());
        let person = record("bob:x:1001:1001::/:/bin/sh");
        for (shadow, locked) in [
            (Some("bob:$6$salt$hash:1"), false),
            (Some("bob:!$6$salt$hash:1"), true),
            (Some("bob:*:1"), true),
            (Some("bob::1"), false),
            (None, true),
        ] {
            assert_eq!(is_locked(&person, shadow.map(record).as_ref()), locked, "{shadow:?}");
        }
        assert!(!is_locked(&record("bob:$6$salt$hash:1001"), None));
    }
}
