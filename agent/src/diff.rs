//! What a restore changes, domain by domain.

use std::collections::BTreeSet;

use reinstate_api::DomainChange;

use crate::domain::{Domain, Domains, Policy};
use crate::tree::{Index, TreePath};

/// From the archive's list alone, long before the archive is whole, with each domain's policy applied
/// as far as the list tells.
pub fn announced(
    domains: &Domains,
    present: &BTreeSet<String>,
    live: &Index,
    archive: &Index,
) -> Vec<DomainChange> {
    let mut changes = exact(domains, present, live, archive);
    for change in &mut changes {
        match domains.get(&change.domain).map(|domain| domain.restore) {
            Some(Policy::Merge) => change.removed.clear(),
            Some(Policy::Remove) => {
                let both = live.domain(&change.domain).chain(archive.domain(&change.domain));
                let gone: BTreeSet<_> =
                    both.filter(|entry| !entry.is_folder()).map(|entry| &entry.path).collect();
                change.removed = gone.into_iter().map(ToString::to_string).collect();
                change.added.clear();
                change.changed.clear();
            }
            _ => {}
        }
    }
    changes
}

/// Between the live configuration and a tree that is wanted.
pub fn exact(
    domains: &Domains,
    present: &BTreeSet<String>,
    live: &Index,
    wanted: &Index,
) -> Vec<DomainChange> {
    domains.iter().map(|domain| of_domain(domain, present.contains(&domain.name), live, wanted)).collect()
}

fn of_domain(domain: &Domain, present: bool, live: &Index, wanted: &Index) -> DomainChange {
    let name = &domain.name;
    let policy = match domain.restore {
        Policy::Replace | Policy::Merge if !present => "absent",
        policy => policy.as_str(),
    };
    let mut change = DomainChange { domain: name.clone(), policy: policy.into(), ..DomainChange::default() };
    if matches!(policy, "keep" | "absent") {
        return change;
    }
    let paths = |index: &Index| -> BTreeSet<TreePath> {
        index.domain(name).map(|entry| entry.path.clone()).collect()
    };
    for path in paths(live).union(&paths(wanted)) {
        match (live.get(name, path), wanted.get(name, path)) {
            (None, _) => change.added.push(path.to_string()),
            (_, None) => change.removed.push(path.to_string()),
            (Some(before), Some(after)) if !before.same(after) => change.changed.push(path.to_string()),
            _ => {}
        }
    }
    change
}
