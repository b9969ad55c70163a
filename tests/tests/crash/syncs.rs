//! Each sync of a job is forgotten once, as by a disk that only says that it was done: some moment at which the power
//! is cut then has to show it. A sync that nobody misses has no reason to be there.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use reinstate_tests::disk::{Tree, View};

use crate::power::Played;
use crate::scene::{AGENT, Scene, each};

/// Syncs that no cut misses, and why they stay.
const REDUNDANT: [(&str, &str); 0] = [];

/// The disks that a power cut leaves which the sync would have kept from it, the likeliest to show it first.
fn disks_without(played: &Played<'_>, sync: usize) -> Vec<(usize, Tree)> {
    let records = format!("sync {AGENT}");
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
        let tree = without.tree(View::Durable);
        if tree != with.tree(View::Durable) && seen.insert(tree.mark()) {
            found.push((moment, tree));
        }
    }
    // What a record names has to be there.
    found.sort_by_key(|(moment, _)| (played.told(moment - 1) != records, std::cmp::Reverse(*moment)));
    found
}

fn is_missed(played: &Played<'_>, sync: usize) -> bool {
    disks_without(played, sync).iter().any(|(moment, tree)| {
        let why = format!("without {sync}, cut before step {moment}");
        catch_unwind(AssertUnwindSafe(|| played.comes_back(tree, &why))).is_err()
    })
}

#[test]
#[ignore = "takes half an hour: tests/evidence"]
fn no_sync_of_a_job_can_be_forgotten_without_being_missed() {
    let scene = Scene::get();
    // What is missed says so by a panic.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut all, mut survivors) = (0, Vec::new());
    for played in [Played::restore(&scene), Played::rollback(&scene), Played::delete_manager(&scene)] {
        let syncs: Vec<u64> =
            (0..played.steps.len() as u64).filter(|n| played.steps[*n as usize].what.is_sync()).collect();
        let survived = Mutex::new(Vec::new());
        each(&syncs, |sync| {
            if !is_missed(&played, sync as usize) {
                survived.lock().unwrap().push(sync as usize);
            }
        });
        let mut survived = survived.into_inner().unwrap();
        survived.sort();
        println!("{}: {} of {} syncs are missed", played.name, syncs.len() - survived.len(), syncs.len());
        all += syncs.len();
        survivors.extend(survived.into_iter().map(|sync| {
            let before = played.told(sync.saturating_sub(1));
            format!("{}: step {sync}, {}, after {before}", played.name, played.told(sync))
        }));
    }
    println!("{} of {all} syncs are missed when they are forgotten", all - survivors.len());
    for survivor in &survivors {
        let reason = REDUNDANT.iter().find(|(what, _)| survivor.contains(what)).map(|(_, why)| *why);
        println!("{survivor}: {}", reason.unwrap_or("NOBODY MISSES IT"));
    }
    let _ = std::panic::take_hook();
    survivors.retain(|survivor| !REDUNDANT.iter().any(|(what, _)| survivor.contains(what)));
    assert!(survivors.is_empty(), "{survivors:#?}");
}
