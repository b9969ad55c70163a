//! What a restore changes, domain by domain.

use std::collections::BTreeSet;

use reinstate_api::DomainChange;

use crate::archive::Sums;
use crate::domain::{Domains, Policy};
use crate::tree::{EntryKind, Index, TreePath};

/// From the archive's list of files alone, long before it is whole: contents, not modes.
pub fn listed(domains: &Domains, sums: &Sums, present: &BTreeSet<String>, live: &Index) -> Vec<DomainChange> {
    let mut changes = differences(domains, sums, present, live);
    for change in &mut changes {
        match domains.get(&change.domain).map(|domain| domain.restore) {
            Some(Policy::Merge) => change.removed.clear(),
            // Whatever the backup holds of it goes as well.
            Some(Policy::Remove) => {
                change.removed.append(&mut change.added);
                change.removed.append(&mut change.changed);
                change.removed.extend(
                    live.domain(&change.domain)
                        .filter(|entry| entry.is_file())
                        .map(|entry| entry.path.to_string()),
                );
                change.removed.sort();
                change.removed.dedup();
            }
            _ => {}
        }
    }
    changes
}

fn differences(
    domains: &Domains,
    sums: &Sums,
    present: &BTreeSet<String>,
    live: &Index,
) -> Vec<DomainChange> {
    each(domains, present, |domain| {
        let backup: BTreeSet<&TreePath> =
            sums.iter().filter(|(name, ..)| *name == domain).map(|(_, path, _)| path).collect();
        Sides {
            backup,
            live: live.domain(domain).filter(|entry| entry.is_file()).map(|entry| &entry.path).collect(),
            same: Box::new(move |path| match live.get(domain, path).map(|entry| &entry.kind) {
                Some(EntryKind::File { sha256, .. }) => sums.get(domain, path) == Some(*sha256),
                _ => false,
            }),
        }
    })
}

/// Between the live configuration and the tree that was staged: exact.
pub fn exact(
    domains: &Domains,
    present: &BTreeSet<String>,
    live: &Index,
    staged: &Index,
) -> Vec<DomainChange> {
    each(domains, present, |domain| Sides {
        backup: staged.domain(domain).map(|entry| &entry.path).collect(),
        live: live.domain(domain).map(|entry| &entry.path).collect(),
        same: Box::new(move |path| match (live.get(domain, path), staged.get(domain, path)) {
            (Some(a), Some(b)) => a.same(b),
            _ => false,
        }),
    })
}

struct Sides<'a> {
    backup: BTreeSet<&'a TreePath>,
    live: BTreeSet<&'a TreePath>,
    same: Box<dyn Fn(&TreePath) -> bool + 'a>,
}

fn each<'a>(
    domains: &'a Domains,
    present: &BTreeSet<String>,
    sides: impl Fn(&'a str) -> Sides<'a>,
) -> Vec<DomainChange> {
    let mut changes = Vec::new();
    for domain in domains.iter() {
        let Sides { backup, live, same } = sides(&domain.name);
        let shown = |paths: Vec<&&TreePath>| paths.into_iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut change = DomainChange { domain: domain.name.clone(), ..DomainChange::default() };
        change.policy = match domain.restore {
            Policy::Keep => "keep".into(),
            _ if !present.contains(&domain.name) && domain.restore != Policy::Remove => "absent".into(),
            policy => policy.as_str().into(),
        };
        if !matches!(change.policy.as_str(), "keep" | "absent") {
            let differing = backup.intersection(&live).filter(|path| !same(path));
            change.changed = shown(differing.collect());
            change.added = shown(backup.difference(&live).collect());
            change.removed = shown(live.difference(&backup).collect());
        }
        changes.push(change);
    }
    changes
}
