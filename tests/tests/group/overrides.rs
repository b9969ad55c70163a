//! Members that do not answer: gone without, on record, and told on both sides when they meet again.

use reinstate_api::{Answer, Code, Outcome, Override, QuestionKind, Role, Status};
use reinstate_tests::group::{Group, Member, Roster};

use crate::program;

const PAIR: [Role; 2] = [Role::Primary, Role::Secondary];

fn pair() -> Group {
    Group::start(program(), Roster::new("edge", &PAIR))
}

fn warned(status: &Status, of: &str) -> bool {
    status.warnings.iter().any(|w| w.contains(&format!("{of} was restored without-peer")))
}

/// The first question is whether to go on, the second whether to go on without the peer.
fn asked_twice(member: &Member) -> (u64, Vec<String>) {
    let (number, kind) = member.question();
    assert_eq!(kind, QuestionKind::Confirm);
    member.answer(number, Answer::Yes);
    loop {
        match member.question() {
            (asked, QuestionKind::Override { what: Override::WithoutPeer, why }) => return (asked, why),
            (asked, kind) => assert_eq!((asked, kind), (number, QuestionKind::Confirm)),
        }
    }
}

#[test]
fn a_member_that_is_down_is_named_with_what_was_tried_and_going_on_takes_a_second_answer() {
    let mut group = pair();
    group.members[1].machine.stop();
    let a = &group.members[0];
    a.restore(&[]).unwrap();
    let (number, why) = asked_twice(a);
    for part in ["fw-b", "198.51.100.2", "192.0.2.11"] {
        assert!(why[0].contains(part), "{part} is not in {why:?}");
    }
    a.answer(number, Answer::No);
    a.drive(&mut |_| {});
    let Outcome::Failed { failures } = a.idle().outcome else { panic!() };
    assert_eq!(failures[0].code, Code::Declined);

    a.restore(&[]).unwrap();
    let (number, _) = asked_twice(a);
    a.answer(number, Answer::Yes);
    a.drive(&mut |_| {});
    let entry = a.idle();
    assert_eq!(entry.outcome, Outcome::Succeeded);
    assert_eq!(entry.overrides.len(), 1);
    assert_eq!(entry.overrides[0].member, group.roster.members[1].uuid);

    group.members[1].machine.start().unwrap();
    for member in &group.members {
        member.wait("the warning on both sides", |status| warned(status, "fw-a"));
    }
    let said = group.members[1].machine.shell("configure tasks acknowledge", "").unwrap();
    assert!(said.status.success());
    assert!(!warned(&group.members[1].status(), "fw-a"), "it was taken note of");
    assert!(warned(&group.members[0].status(), "fw-a"), "not there");
    group.settled();
}

#[test]
fn of_two_fresh_replacements_that_were_told_without_peer_exactly_one_commits_where_they_see_each_other() {
    let mut group = pair();
    (0..2).for_each(|number| group.replace(program(), number));
    std::thread::scope(|scope| {
        for member in &group.members {
            scope.spawn(|| {
                member.restore(&["without-peer"]).unwrap();
                member.drive(&mut |_| {});
            });
        }
    });
    let outcomes: Vec<_> = group.members.iter().map(|member| member.idle().outcome).collect();
    let succeeded = outcomes.iter().filter(|outcome| **outcome == Outcome::Succeeded).count();
    assert_eq!(succeeded, 1, "{outcomes:?}");
    let refused = outcomes.iter().find(|outcome| **outcome != Outcome::Succeeded).unwrap();
    assert!(refused.failures().iter().all(|failure| failure.code == Code::LockHeld), "{refused:?}");
    let other = outcomes.iter().position(|outcome| *outcome != Outcome::Succeeded).unwrap();
    let member = &group.members[other];
    assert_eq!(member.restored(&[]).outcome, Outcome::Succeeded, "tried again, with its peer");
    assert_eq!(member.history()[0].overrides, []);
    group.settled();
}

#[test]
fn two_fresh_replacements_without_a_link_are_both_restored_and_both_hear_of_it_when_they_meet() {
    let mut group = pair();
    (0..2).for_each(|number| group.replace(program(), number));
    group.net.link(0, false);
    std::thread::scope(|scope| {
        for member in &group.members {
            scope.spawn(|| {
                let entry = member.restored(&["without-peer"]);
                assert_eq!(entry.outcome, Outcome::Succeeded);
                assert_eq!(entry.overrides[0].what, Override::WithoutPeer);
            });
        }
    });
    group.net.link(0, true);
    for member in &group.members {
        member.wait("both on both sides", |status| warned(status, "fw-a") && warned(status, "fw-b"));
    }
    group.settled();
}

#[test]
fn a_replacement_finds_its_peer_by_the_failover_link_and_leaves_no_address_when_it_fails() {
    let mut group = pair();
    group.replace(program(), 0);
    let failover = || {
        let shown = group.net.member(0).run(|| {
            std::process::Command::new("ip")
                .args(["-4", "-o", "address", "show", "dev", "eth1"])
                .output()
                .unwrap()
        });
        String::from_utf8(shown.stdout).unwrap()
    };
    assert_eq!(failover(), "");
    let a = &group.members[0];
    a.restore(&[]).unwrap();
    let (number, kind) = a.question();
    assert_eq!(kind, QuestionKind::Confirm);
    assert!(failover().contains("198.51.100.1/24"), "{}", failover());
    let notes = a.status().job.unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("fw-b (secondary) answers: standby")), "{notes:?}");
    a.answer(number, Answer::No);
    a.drive(&mut |_| {});
    a.idle();
    assert_eq!(failover(), "", "nothing of it stays");
    // Where the agent is killed, its next start takes it away.
    a.restore(&[]).unwrap();
    a.question();
    a.machine.kill9();
    assert!(failover().contains("198.51.100.1/24"));
    a.machine.restart_daemon().unwrap();
    a.wait("the end of the address", |_| failover().is_empty());
    assert_eq!(a.restored(&[]).outcome, Outcome::Succeeded);
    group.settled();
}
