//! Each sync of a job is forgotten once, as by a disk that only says that it was done: some moment at which the power
//! is cut then has to show it. A sync that nobody misses has no reason to be there.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, Once};

use reinstate_agent::domain::TEMPORARY;
use reinstate_agent::state::State;
use reinstate_tests::disk::{Done, Tree, View, What};

use crate::power::{Played, state};
use crate::scene::{AGENT, Scene, each};

/// Syncs that no power cut misses, and why they stay.
const REDUNDANT: [(&str, &str); 1] = [(
    "syncall etc, before anything is put into its place",
    "a disk that cannot keep what was written says so here, while every file is as it was",
)];

/// Is this path one that others act upon as soon as it was synced: the record, the lock, or a generation that the
/// record names?
fn is_promised(path: &Path, record: Option<&State>) -> bool {
    let Ok(path) = path.strip_prefix(AGENT) else { return false };
    let number =
        path.strip_prefix("generations").ok().and_then(|path| path.iter().next()?.to_str()?.parse().ok());
    let needed = |number: u64| record.is_some_and(|record| record.needed().contains(&number));
    path == Path::new("state.toml") || path == Path::new("restore.lock") || number.is_some_and(needed)
}

/// What a power cut leaves that the sync would have kept from it; with true where a promise is broken on its face.
fn disks_without(played: &Played<'_>, sync: usize) -> (bool, Vec<(usize, Tree)>) {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let moments = (sync + 1..=played.steps.len()).filter(|at| played.steps[at - 1].what.is_sync());
    let (mut with, mut without) = (played.disk_at(sync + 1, None), played.disk_at(sync + 1, Some(sync)));
    let mut done = sync + 1;
    for moment in moments {
        for step in &played.steps[done..moment] {
            with.apply(step, &played.trace).unwrap();
            without.apply(step, &played.trace).unwrap();
        }
        done = moment;
        if without.keeps_what(&with) {
            break;
        }
        let (kept, tree) = (with.tree(View::Durable), without.tree(View::Durable));
        let record = state(&kept);
        if tree.difference(&kept).iter().any(|path| is_promised(path, record.as_ref())) {
            return (true, Vec::new());
        }
        if tree != kept && seen.insert(tree.mark()) {
            found.push((moment, tree));
        }
    }
    // Nothing comes later that could make it good.
    found.reverse();
    (false, found)
}

thread_local! {
    /// A panic of this thread is what is hoped for.
    static HOPED_FOR: Cell<bool> = const { Cell::new(false) };
}

/// What is missed says so by a panic, which is nothing to print.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match HOPED_FOR.get() {
            true => {}
            false => loud(panic),
        }));
    });
}

fn is_missed(played: &Played<'_>, sync: usize) -> bool {
    let (missed, disks) = disks_without(played, sync);
    missed
        || disks.iter().any(|(moment, tree)| {
            let why = format!("without {sync}, cut before step {moment}");
            HOPED_FOR.set(true);
            let missed = catch_unwind(AssertUnwindSafe(|| played.comes_back(tree, &why))).is_err();
            HOPED_FOR.set(false);
            missed
        })
}

/// Which sync of the program it is: numbers of generations left out, with what it is for.
fn site(played: &Played<'_>, sync: usize) -> String {
    let Done { what, path } = &played.steps[sync];
    let numbered = |path: &Path| {
        let parts = path.to_str().unwrap().split('/').map(|part| match part.split_once('-') {
            _ if part.parse::<u64>().is_ok() => "N".to_owned(),
            Some((name, number)) if number.parse::<u64>().is_ok() => format!("{name}-N"),
            _ => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join("/")
    };
    let name = numbered(path);
    let before = &played.steps[..sync];
    if *what == What::SyncAll {
        let beside = before.last().is_some_and(|done| done.path.to_string_lossy().contains(TEMPORARY));
        return format!(
            "syncall {name}{}",
            if beside { ", before anything is put into its place" } else { "" }
        );
    }
    let entry = before.iter().rev().find_map(|done| match &done.what {
        What::Rename(to) if to.parent() == Some(path) => Some(format!("rename to {}", numbered(to))),
        What::Remove if done.path.parent() == Some(path) => {
            Some(format!("removal of {}", numbered(&done.path)))
        }
        _ => None,
    });
    entry.map_or(format!("sync {name}"), |entry| format!("sync {name}, after the {entry}"))
}

#[test]
fn no_sync_of_the_program_can_be_forgotten_without_being_missed() {
    hush();
    let scene = Scene::get();
    let (mut missed, mut all) = (0, 0);
    let mut sites = BTreeMap::<String, bool>::new();
    for played in [Played::restore(&scene), Played::rollback(&scene), Played::delete_manager(&scene)] {
        let syncs: Vec<u64> =
            (0..played.steps.len() as u64).filter(|n| played.steps[*n as usize].what.is_sync()).collect();
        let found = Mutex::new(Vec::new());
        each(&syncs, |sync| {
            let missed = is_missed(&played, sync as usize);
            found.lock().unwrap().push((site(&played, sync as usize), missed));
        });
        let found = found.into_inner().unwrap();
        all += found.len();
        for (site, is_missed) in found {
            missed += usize::from(is_missed);
            *sites.entry(site).or_default() |= is_missed;
        }
    }
    let survivors: Vec<_> = sites.iter().filter(|(_, missed)| !**missed).map(|(site, _)| site).collect();
    println!(
        "{missed} of {all} syncs are missed when they are forgotten; of {} places in the program that sync, {} are \
         missed in one job at least",
        sites.len(),
        sites.len() - survivors.len()
    );
    let reason = |site: &str| REDUNDANT.iter().find(|(redundant, _)| *redundant == site).map(|(_, why)| *why);
    for survivor in &survivors {
        println!("not missed: {survivor}: {}", reason(survivor).unwrap_or("FOR NO REASON"));
    }
    assert!(survivors.iter().all(|survivor| reason(survivor).is_some()), "{survivors:#?}");
    assert_eq!(survivors.len(), REDUNDANT.len(), "what is missed by now needs no reason: {survivors:#?}");
}
