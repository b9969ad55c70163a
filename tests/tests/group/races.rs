//! Restores that start in the same instant: exactly one goes on.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reinstate_api::{Code, Outcome, Phase, Role};
use reinstate_tests::group::{Group, Member, Roster};

use crate::{program, rounds, seed};

/// What one member came to in one round.
struct Came {
    locking: bool,
    held: bool,
}

/// All members restore in the same instant, give or take; then those that were refused try again.
fn round(group: &Group, random: &mut StdRng) -> bool {
    let barrier = Barrier::new(group.members.len());
    let delays: Vec<u64> = group.members.iter().map(|_| random.random_range(0..8)).collect();
    let before: Vec<_> = group.members.iter().map(Member::mark).collect();
    let came: Vec<Came> = std::thread::scope(|scope| {
        let all: Vec<_> = group
            .members
            .iter()
            .zip(&delays)
            .map(|(member, delay)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    std::thread::sleep(Duration::from_millis(*delay));
                    attempt(member)
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let committed = came.iter().filter(|came| !came.held).count();
    let outcomes = || group.members.iter().map(|member| member.idle()).collect::<Vec<_>>();
    assert_eq!(committed, 1, "one of all commits: {:?}", outcomes());
    for (member, before) in group.members.iter().zip(before) {
        let entry = member.idle();
        assert_eq!(member.since(before).len(), 1, "{entry:?}");
        match &entry.outcome {
            Outcome::Succeeded => {}
            Outcome::Failed { failures } => {
                assert_eq!(failures[0].code, Code::LockHeld, "{failures:?}");
                let told = group.roster.members.iter().any(|m| failures[0].message.contains(&m.hostname));
                assert!(told, "by whom: {}", failures[0].message);
            }
            other => panic!("{other:?}"),
        }
    }
    let both = came.iter().filter(|came| came.locking).count() > 1;
    // Tried again, one after the other, each succeeds.
    for (member, came) in group.members.iter().zip(&came) {
        if came.held {
            let again = attempt(member);
            assert!(!again.held, "the other one has ended: {:?}", member.idle());
            assert_eq!(member.idle().outcome, Outcome::Succeeded);
        }
    }
    group.settled();
    both
}

fn attempt(member: &Member) -> Came {
    let mut locking = false;
    if let Err(error) = member.restore(&[]) {
        panic!("{error}");
    }
    let last = member.drive(&mut |job| locking |= job.phase >= Phase::Locking);
    let outcome = last.and_then(|job| job.outcome);
    Came { locking, held: matches!(outcome, Some(Outcome::Failed { .. })) }
}

/// How many groups play at once: they wait most of the time.
const GROUPS: usize = 4;

fn play(members: &[Role], all: usize, name: &str) {
    let (seed, played) = (seed(), AtomicUsize::new(0));
    let both: usize = std::thread::scope(|scope| {
        let one = |number: usize| {
            let played = &played;
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
                let group = Group::start(program(), Roster::new("edge", members));
                let mut both = 0;
                while played.fetch_add(1, Ordering::Relaxed) < all {
                    both += usize::from(round(&group, &mut random));
                }
                both
            })
        };
        let groups: Vec<_> = (0..GROUPS.min(all)).map(one).collect();
        groups.into_iter().map(|group| group.join().unwrap()).sum()
    });
    println!("{name}: {all} rounds, in {both} more than one was in Locking");
    assert!(both * 5 >= all, "they have hardly met");
}

#[test]
fn of_two_members_that_restore_in_the_same_instant_exactly_one_commits() {
    play(&[Role::Primary, Role::Secondary], rounds(500), "two members");
}

#[test]
fn of_five_members_that_restore_in_the_same_instant_exactly_one_commits() {
    // A data node would wait for a control node, and then go on.
    play(&[Role::Control; 5], rounds(50), "five members");
}
