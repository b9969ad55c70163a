//! Restores that start in the same instant, while the winner is killed or a link is cut at any moment.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reinstate_api::{HistoryEntry, Outcome, Role};
use reinstate_tests::group::{Group, Member, Roster};
use uuid::Uuid;

use crate::{program, rounds, seed};

/// How many groups play at once: they wait most of the time.
const GROUPS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Harm {
    Power(usize),
    Daemon(usize),
    Link(usize),
}

fn attempt(member: &Member, delay: u64) {
    std::thread::sleep(Duration::from_millis(delay));
    // It may be killed before it answers.
    if member.restore(&[]).is_ok() {
        member.drive(&mut |_| {});
    }
}

/// Whatever was killed runs again.
fn revive(member: &mut Member) {
    let until = Instant::now() + Duration::from_secs(60);
    while member.machine.status().is_err() {
        assert!(Instant::now() < until, "it does not come back");
        if !member.machine.is_rebooting() {
            member.machine.power().cut();
            let _ = member.machine.start();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One round; how many of its restores have committed.
fn round(group: &mut Group, random: &mut StdRng) -> usize {
    let before: Vec<_> = group.members.iter().map(Member::mark).collect();
    let delays = [random.random_range(0..8), random.random_range(0..8)];
    let harm = match random.random_range(0..3) {
        0 => Harm::Power(random.random_range(0..2)),
        1 => Harm::Daemon(random.random_range(0..2)),
        _ => Harm::Link(random.random_range(0..2)),
    };
    let at = Duration::from_millis(random.random_range(0..1500));
    let heals = Duration::from_millis(random.random_range(0..4000));
    std::thread::scope(|scope| {
        for (member, delay) in group.members.iter().zip(delays) {
            scope.spawn(move || attempt(member, delay));
        }
        std::thread::sleep(at);
        match harm {
            Harm::Power(number) => group.members[number].machine.power().cut(),
            Harm::Daemon(number) => group.members[number].machine.kill9(),
            Harm::Link(number) => {
                group.net.link(number, false);
                std::thread::sleep(heals);
                group.net.link(number, true);
            }
        }
        if let Harm::Daemon(number) = harm {
            // `revive` tries again where this one comes up too early.
            let _ = group.members[number].machine.restart_daemon();
        }
    });
    if let Harm::Power(number) | Harm::Daemon(number) = harm {
        revive(&mut group.members[number]);
    }
    let ended = |member: &Member, before: Option<Uuid>| -> Vec<HistoryEntry> {
        member.machine.wait_until_idle().unwrap();
        member.since(before)
    };
    let ended: Vec<_> =
        group.members.iter().zip(before).map(|(member, before)| ended(member, before)).collect();
    // Never lost: whoever still holds something is shown, and lets go by itself.
    group.settled();
    let committed: Vec<_> =
        ended.iter().flatten().filter(|entry| !matches!(entry.outcome, Outcome::Failed { .. })).collect();
    assert!(committed.iter().all(|entry| entry.overrides.is_empty()), "{committed:?}");
    // A link that was cut may hold one up until the other one is over: then both may be restored, one after the other.
    let span = |number: usize| {
        let done = ended[number].iter().find(|entry| !matches!(entry.outcome, Outcome::Failed { .. }))?;
        Some((group.members[number].announced(done.id), done.ended))
    };
    if let (Some(one), Some(other)) = (span(0), span(1)) {
        let apart = one.1 < other.0 || other.1 < one.0;
        assert!(apart, "{harm:?} after {at:?}: two commits at once: {one:?} {other:?} {ended:?}");
    }
    committed.len()
}

#[test]
fn whatever_is_killed_or_cut_there_are_never_two_commits_and_no_lock_stays() {
    let (seed, all) = (seed(), rounds(200));
    let played = std::sync::atomic::AtomicUsize::new(0);
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let one = |number: usize| {
            let played = &played;
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
                let mut group =
                    Group::start(program(), Roster::new("edge", &[Role::Primary, Role::Secondary]));
                let mut committed = 0;
                while played.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < all {
                    committed += round(&mut group, &mut random);
                }
                committed
            })
        };
        let groups: Vec<_> = (0..GROUPS).map(one).collect();
        groups.into_iter().map(|group| group.join().unwrap()).collect()
    });
    println!("{all} rounds with harm: {} committed, none beside another", counts.iter().sum::<usize>());
}
