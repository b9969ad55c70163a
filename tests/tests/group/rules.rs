//! Every rule of a group, broken alone.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use reinstate_api::{Answer, Code, JobKind, JobView, Lock, Outcome, Override, Phase, QuestionKind, Role};
use reinstate_tests::appliance::Enrolment;
use reinstate_tests::fleetlock::{Fleetlock, Kind};
use reinstate_tests::forge::Forge;
use reinstate_tests::group::{Group, Member, Roster, key_pair, quick};
use reinstate_tests::manager::Manager;
use uuid::Uuid;

use crate::program;

const PAIR: [Role; 2] = [Role::Primary, Role::Secondary];

fn pair() -> Group {
    Group::start(program(), Roster::new("edge", &PAIR))
}

fn codes(failures: &[reinstate_api::Failure]) -> Vec<Code> {
    failures.iter().map(|failure| failure.code).collect()
}

/// What another member has backed up lies in this one's folder too.
fn lend(from: &Member, to: &Member) -> String {
    let name = "borrowed_20260105080000.tar";
    fs::copy(from.backup(&from.file), to.backup(name)).unwrap();
    name.to_owned()
}

#[test]
fn the_backup_of_the_peer_that_is_alive_is_refused_whatever_its_name() {
    let group = pair();
    let file = lend(&group.members[1], &group.members[0]);
    let failures = group.members[0].refused(&file, &["without-peer"]);
    assert!(codes(&failures).contains(&Code::DeviceAlive), "{failures:?}");
    assert!(
        failures[0].message.contains("fw-b") && failures[0].message.contains("198.51.100.2"),
        "{failures:?}"
    );
    group.settled();
}

#[test]
fn a_backup_with_swapped_static_roles_is_refused_by_the_peer_that_knows_better() {
    let mut roster = Roster::new("edge", &PAIR);
    let right = roster.members.clone();
    roster.members[0].role = Role::Secondary;
    roster.members[1].role = Role::Primary;
    let swapped = Group::start(program(), roster);
    let archive = fs::read(swapped.members[0].backup(&swapped.members[0].file)).unwrap();
    let (name, key) = (swapped.roster.name.clone(), swapped.roster.key.clone());
    drop(swapped);
    let group = Group::start(program(), Roster { name, members: right, key });
    let file = "swapped_20260105080000.tar";
    fs::write(group.members[0].backup(file), archive).unwrap();
    let failures = group.members[0].refused(file, &[]);
    assert!(codes(&failures).iter().all(|code| *code == Code::RoleMismatch), "{failures:?}");
    assert!(failures.iter().any(|f| f.message.contains("fw-b expects primary")), "{failures:?}");
}

#[test]
fn a_data_node_is_not_restored_without_a_control_node_unless_that_is_said_twice() {
    let group = Group::start(program(), Roster::new("cluster", &[Role::Control, Role::Data]));
    let [control, data] = [0, 1].map(|number| &group.members[number]);
    control.machine.stop();
    let failures = data.refused(&data.file, &["without-peer"]);
    assert_eq!(codes(&failures), [Code::ControlMissing]);
    assert!(failures[0].hint.contains("without-control"), "{failures:?}");
    // The word alone is not enough.
    data.restore(&["without-peer", "without-control"]).unwrap();
    let (number, kind) = data.question();
    assert_eq!(kind, QuestionKind::Confirm);
    data.answer(number, Answer::Yes);
    let until_asked = || loop {
        let (asked, kind) = data.question();
        if asked > number {
            return (asked, kind);
        }
    };
    let (number, kind) = until_asked();
    assert!(matches!(kind, QuestionKind::Override { what: Override::WithoutControl, .. }), "{kind:?}");
    data.answer(number, Answer::Yes);
    data.drive(&mut |_| {});
    let entry = data.idle();
    assert_eq!(entry.outcome, Outcome::Succeeded);
    let overridden: Vec<_> = entry.overrides.iter().map(|o| o.what).collect();
    assert_eq!(overridden, [Override::WithoutControl, Override::WithoutPeer]);
}

#[test]
fn a_data_node_waits_for_the_control_node_that_restores_itself() {
    let mut group = Group::start(program(), Roster::new("cluster", &[Role::Control, Role::Data]));
    // A restore of the control node's has announced itself here; it takes until an admin says that it is over.
    let lock = foreign(&group, Uuid::new_v4());
    assert_eq!(lock.device, group.roster.members[0].uuid);
    let data = &mut group.members[1];
    plant(data, &lock);
    data.restore(&[]).unwrap();
    let waiting = |job: &JobView| job.notes.iter().any(|n| n.contains("waiting for the control node fw-a"));
    data.wait("the wait", |status| status.job.as_ref().is_some_and(waiting));
    std::thread::sleep(Duration::from_secs(2));
    let job = data.status().job.unwrap();
    assert!(job.outcome.is_none() && job.question.is_none(), "it waits, and asks nothing: {job:?}");
    let cleared = data.machine.shell("clear restore-lock", "Y\nY\nthe disk of fw-a was lost\n").unwrap();
    assert!(cleared.status.success(), "{cleared:?}");
    data.drive(&mut |_| {});
    assert_eq!(data.idle().outcome, Outcome::Succeeded);
    group.settled();
}

#[test]
fn a_backup_without_the_keys_of_its_group_is_refused() {
    let group = pair();
    let member = &group.members[0];
    fs::remove_file(member.machine.root().join("etc/appliance/ha/host.key")).unwrap();
    let made = member.machine.client().post::<reinstate_api::Created>("/v1/backups", &serde_json::json!({}));
    let failures = member.refused(&made.unwrap().file, &[]);
    assert_eq!(codes(&failures), [Code::ArchiveInvalid]);
    assert!(failures[0].message.contains("lacks"), "{failures:?}");
}

#[test]
fn a_backup_that_contradicts_its_own_group_is_refused() {
    let group = pair();
    let member = &group.members[0];
    let mut forge = Forge::open(&fs::read(member.backup(&member.file)).unwrap()).unwrap();
    forge.manifest.ha.as_mut().unwrap().members[0].host_key = key_pair().1;
    fs::write(member.backup(&member.file), forge.write().unwrap()).unwrap();
    let failures = member.refused(&member.file, &[]);
    assert_eq!(codes(&failures), [Code::ArchiveInvalid]);
    assert!(failures[0].message.contains("HA group"), "{failures:?}");
}

/// A lock of `fw-a`'s that it says nothing about.
fn foreign(group: &Group, id: Uuid) -> Lock {
    Lock {
        id,
        device: group.roster.members[0].uuid.clone(),
        hostname: "fw-a".into(),
        by: "admin".into(),
        since: "2020-01-05T08:00:00Z".parse().unwrap(),
        phase: Phase::Committing,
        without: Vec::new(),
    }
}

/// The member starts with this lock.
fn plant(member: &mut Member, lock: &Lock) {
    member.machine.stop();
    let file = member.machine.root().join("var/lib/reinstate/restore.lock");
    fs::write(file, toml::to_string(lock).unwrap()).unwrap();
    member.machine.start().unwrap();
}

#[test]
fn a_lock_whose_holder_says_that_it_is_over_goes_and_another_one_stays_until_it_is_cleared() {
    let mut group = pair();
    assert_eq!(group.members[0].restored(&[]).outcome, Outcome::Succeeded);
    let over = group.members[0].history()[0].id;
    let locks = [foreign(&group, over), foreign(&group, Uuid::new_v4())];
    for lock in &locks {
        let b = &mut group.members[1];
        plant(b, lock);
        if lock.id == over {
            b.wait("the release of what is over", |status| status.lock.is_none());
        }
    }
    // Years old, and its holder does not know it: it never ends by itself.
    let b = &group.members[1];
    b.wait("the meeting", |status| {
        status
            .group
            .as_ref()
            .is_some_and(|group| group.members.iter().all(|m| m.state.is_some()) && !group.members.is_empty())
    });
    let failures = b.refused(&b.file, &[]);
    assert_eq!(codes(&failures), [Code::LockHeld]);
    for part in ["fw-a", "committing", "2020-01-05"] {
        assert!(failures[0].message.contains(part), "{failures:?}");
    }
    let shown = String::from_utf8(b.machine.shell("show restore lock", "").unwrap().stdout).unwrap();
    assert!(shown.contains("held by fw-a") && shown.contains(&locks[1].id.to_string()), "{shown}");
    let clear = |answers: &str| {
        let output = b.machine.shell("clear restore-lock", answers).unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    for answers in ["N\n", "Y\nN\n", "Y\nY\n\n", ""] {
        assert_eq!(clear(answers).1, Some(1), "{answers:?}");
    }
    assert!(b.status().lock.is_some(), "asked twice, and a reason is wanted");
    let (said, status) = clear("Y\nY\nfw-a burnt down\n");
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(b.status().lock, None);
    let entry = b.history().remove(0);
    assert_eq!(entry.kind, JobKind::ClearLock);
    assert!(entry.notes.iter().any(|note| note.contains("fw-a burnt down")), "{entry:?}");
    assert_eq!(b.restored(&[]).outcome, Outcome::Succeeded);
}

#[test]
fn a_restore_whose_lock_was_cleared_meanwhile_does_not_commit() {
    let group = pair();
    let [a, b] = [0, 1].map(|number| &group.members[number]);
    a.restore(&[]).unwrap();
    let (number, _) = a.question();
    // The lock is taken at the answer, and the commit follows in an instant: so it is taken away all the time.
    std::thread::scope(|scope| {
        let clearing = scope.spawn(|| {
            let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while std::time::Instant::now() < until {
                let Some(lock) = b.status().lock else { continue };
                let request = serde_json::json!({"restore": lock.id, "reason": "a test", "committing": true});
                let answer = b.machine.client().call("POST", "/v1/lock/clear", Some(&request));
                return answer.is_ok_and(|(status, _)| status == 200).then_some(lock.phase);
            }
            None
        });
        a.answer(number, Answer::Yes);
        a.drive(&mut |_| {});
        let phase = clearing.join().unwrap().expect("the lock was there and was cleared");
        let entry = a.idle();
        match entry.outcome {
            Outcome::Failed { failures } => assert_eq!(codes(&failures), [Code::LockLost], "{failures:?}"),
            // Cleared after it was announced: that is on record.
            Outcome::Succeeded => assert!(phase >= Phase::Committing, "cleared in {phase}"),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(b.history()[0].kind, JobKind::ClearLock);
    group.settled();
}

#[test]
fn a_manager_that_never_answers_holds_no_lock() {
    let roster = Roster::new("edge", &PAIR);
    let manager = Manager::closed().unwrap();
    let enrolment = Enrolment::with(&manager, "fw-a").unwrap();
    let mut group = Group::start(program(), roster);
    // Connections are taken by the kernel, and nobody ever reads.
    let silent = group.net.member(0).run(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let enrolment =
        Enrolment { host: "127.0.0.1".into(), port: silent.local_addr().unwrap().port(), ..enrolment };
    group.members[0].machine.stop();
    let appliance = group.roster.appliance(0).managed(&enrolment);
    let mut member = group.boot(program(), 0, &quick(appliance));
    let made: reinstate_api::Created =
        member.machine.client().post("/v1/backups", &serde_json::json!({})).unwrap();
    member.file = made.file;
    group.members[0] = member;
    assert_eq!(group.members[0].restored(&[]).outcome, Outcome::Succeeded);
    let owed = group.members[0].status().checkin.expect("the manager is owed a check-in");
    assert_eq!(owed.accepted, None);
    group.settled();
    assert_eq!(group.members[1].restored(&[]).outcome, Outcome::Succeeded);
    assert!(group.members[0].status().checkin.is_some_and(|checkin| checkin.accepted.is_none()));
}

#[test]
fn a_lock_service_takes_the_place_of_lock_files_and_is_told_when_the_restore_is_over() {
    for kind in [Kind::Airlock, Kind::Poseidon] {
        let roster = Roster::new("edge", &PAIR);
        let mut group = Group::start(program(), roster);
        let service = group.net.member(0).run(|| Fleetlock::plain(kind).unwrap());
        group.members[0].machine.stop();
        let text = format!("URL={}\nGROUP=edge\n", service.url());
        let appliance = group.roster.appliance(0).file("etc/appliance/ha/lock-service.conf", text, 0o644);
        let mut member = group.boot(program(), 0, &appliance);
        let made: reinstate_api::Created =
            member.machine.client().post("/v1/backups", &serde_json::json!({})).unwrap();
        member.file = made.file;
        group.members[0] = member;
        let a = &group.members[0];
        assert_eq!(a.restored(&[]).outcome, Outcome::Succeeded);
        assert!(group.members[1].history().is_empty());
        a.wait("the release", |status| status.releases.is_empty());
        assert_eq!(service.holder("edge"), None);
        service.hold("edge", Some("another-device"));
        let failures = a.refused(&a.file, &[]);
        assert_eq!(codes(&failures), [Code::LockHeld], "{failures:?}");
        assert_eq!(service.holder("edge").as_deref(), Some("another-device"));
    }
}
