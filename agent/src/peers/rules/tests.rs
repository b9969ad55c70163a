use jiff::Timestamp;
use reinstate_api::Phase;

use super::super::Running;
use super::*;

const A: &str = "aaaa";
const B: &str = "bbbb";

fn us(role: Role) -> Us {
    Us {
        instance: Uuid::from_u128(1),
        restore: Uuid::from_u128(2),
        is: ("factory".into(), "firewall".into(), Role::Standalone),
        becomes: (A.into(), "fw-a".into(), role),
        locked: None,
        member: None,
    }
}

fn group(ours: Role, theirs: Role) -> Group {
    let door = Door {
        device: B.into(),
        hostname: "fw-b".into(),
        role: theirs,
        addresses: vec!["192.0.2.2".parse().unwrap()],
        host_keys: Vec::new(),
    };
    Group {
        name: "edge".into(),
        own: A.into(),
        port: 8306,
        keys: Vec::new(),
        others: vec![door],
        predecessor: None,
        roles: [(A.to_owned(), ours), (B.to_owned(), theirs)].into(),
    }
}

fn identity(device: &str, role: Role, ours: Role) -> Identity {
    Identity {
        format: Identity::FORMAT,
        instance: Uuid::from_u128(9),
        device: device.into(),
        hostname: "fw-b".into(),
        role,
        state: HaState::Active,
        group: "edge".into(),
        over: Vec::new(),
        running: None,
        roles: [(A.to_owned(), ours), (B.to_owned(), role)].into(),
        overrides: Vec::new(),
    }
}

fn met(group: &Group, identity: Identity, lock: Option<Lock>) -> Vec<(Door, Answer)> {
    vec![(group.others[0].clone(), Answer::Met { identity: Box::new(identity), lock })]
}

fn silent(group: &Group) -> Vec<(Door, Answer)> {
    let failure = Failure::new(Code::PeerUnreachable, "fw-b at 192.0.2.2: no answer in 3 s");
    vec![(group.others[0].clone(), Answer::Silent(failure))]
}

fn lock(device: &str) -> Lock {
    Lock {
        id: Uuid::from_u128(7),
        device: device.into(),
        hostname: "fw-b".into(),
        by: "admin".into(),
        since: Timestamp::UNIX_EPOCH,
        phase: Phase::Validating,
        without: Vec::new(),
    }
}

fn codes(judgement: &Judgement) -> Vec<Code> {
    judgement.refusals.iter().map(|failure| failure.code).collect()
}

fn pair() -> (Us, Group) {
    (us(Role::Primary), group(Role::Primary, Role::Secondary))
}

#[test]
fn a_member_whose_peer_is_active_and_agrees_may_be_restored() {
    let (us, group) = pair();
    let judgement = judge(&us, &group, &met(&group, identity(B, Role::Secondary, Role::Primary), None), None);
    let expected =
        Judgement { remarks: vec!["fw-b (secondary) answers: active".into()], ..Judgement::default() };
    assert_eq!(judgement, expected);
}

#[test]
fn the_backup_of_a_member_that_is_alive_is_refused_whatever_it_does() {
    let (us, group) = pair();
    let alone = Group { others: Vec::new(), predecessor: Some(group.others[0].clone()), ..group.clone() };
    let mut alive = identity(A, Role::Primary, Role::Primary);
    for running in [
        None,
        Some(Running {
            id: Uuid::nil(),
            phase: Phase::Locking,
            since: Timestamp::UNIX_EPOCH,
            by: "x".into(),
        }),
    ] {
        alive.running = running;
        let answer = met(&group, alive.clone(), None).remove(0);
        assert_eq!(codes(&judge(&us, &alone, &[], Some(&answer))), [Code::DeviceAlive]);
        assert_eq!(codes(&judge(&us, &group, &[answer], None)), [Code::DeviceAlive]);
    }
    let ourselves = Identity { instance: us.instance, ..alive };
    let answer = met(&group, ourselves, None).remove(0);
    assert_eq!(codes(&judge(&us, &alone, &[], Some(&answer))), [], "our own endpoint");
}

#[test]
fn a_lock_on_a_member_refuses_unless_it_is_this_restores() {
    let (us, group) = pair();
    let with = |lock| {
        judge(&us, &group, &met(&group, identity(B, Role::Secondary, Role::Primary), Some(lock)), None)
    };
    let judgement = with(lock(B));
    assert_eq!(codes(&judgement), [Code::LockHeld]);
    let message = &judgement.refusals[0].message;
    assert!(message.contains("on fw-b") && message.contains("phase validating"), "{message}");
    assert_eq!(codes(&with(Lock { id: us.restore, ..lock(A) })), []);
}

#[test]
fn static_roles_that_are_swapped_are_refused_by_each_that_knows_better() {
    let (mut us, group) = pair();
    us.becomes.2 = Role::Secondary;
    let judgement = judge(&us, &group, &met(&group, identity(B, Role::Secondary, Role::Primary), None), None);
    assert_eq!(codes(&judgement), [Code::RoleMismatch, Code::RoleMismatch], "{judgement:?}");
    let swapped = Group { roles: Default::default(), ..group.clone() };
    assert_eq!(codes(&judge(&us, &swapped, &silent(&group), None)), [], "nobody to know better");
    us.is = (B.into(), "fw-b".into(), Role::Primary);
    us.member = Some(HaState::Standby);
    assert_eq!(codes(&judge(&us, &swapped, &silent(&group), None)), [Code::RoleMismatch]);
}

#[test]
fn dynamic_roles_may_change_places() {
    let (us, group) = (us(Role::Control), group(Role::Data, Role::Control));
    let judgement = judge(&us, &group, &met(&group, identity(B, Role::Control, Role::Data), None), None);
    assert_eq!(codes(&judgement), []);
}

#[test]
fn a_data_node_needs_a_control_node_and_waits_for_one_that_restores_itself() {
    let (us, group) = (us(Role::Data), group(Role::Data, Role::Control));
    let alive = |lock| judge(&us, &group, &met(&group, identity(B, Role::Control, Role::Data), lock), None);
    assert_eq!(alive(None).control_missing, None);
    let waiting = alive(Some(lock(B)));
    assert_eq!((waiting.restoring.len(), waiting.control_missing, waiting.refusals.len()), (1, None, 0));
    assert_eq!(codes(&alive(Some(lock("cccc")))), [Code::LockHeld], "another one's restore");
    let restarting = Us { locked: Some(lock(B)), ..us.clone() };
    let waiting = judge(&restarting, &group, &silent(&group), None);
    assert_eq!((waiting.restoring.len(), waiting.control_missing, waiting.refusals.len()), (1, None, 0));
    let other = Us { locked: Some(lock("cccc")), ..us.clone() };
    assert_eq!(codes(&judge(&other, &group, &silent(&group), None)), [Code::LockHeld]);
    let alone = judge(&us, &group, &silent(&group), None);
    assert_eq!(alone.control_missing.map(|failure| failure.code), Some(Code::ControlMissing));
    let data = judge(&us, &group, &met(&group, identity(B, Role::Data, Role::Data), None), None);
    assert!(data.control_missing.is_some(), "a data node is none");
}

#[test]
fn a_member_that_does_not_answer_is_named_with_what_was_tried_and_the_group_is_not_stable() {
    let (us, group) = pair();
    let judgement = judge(&us, &group, &silent(&group), None);
    assert_eq!(codes(&judgement), []);
    assert_eq!(
        judgement.silent,
        [Silent { device: B.into(), why: "fw-b at 192.0.2.2: no answer in 3 s".into() }]
    );
    assert!(judgement.remarks[1].contains("not stable: 1 of 1 members do not answer"), "{judgement:?}");
}

#[test]
fn a_member_of_another_group_or_another_device_is_no_member() {
    let (us, group) = pair();
    let other = Identity { group: "core".into(), ..identity(B, Role::Secondary, Role::Primary) };
    assert_eq!(codes(&judge(&us, &group, &met(&group, other, None), None)), [Code::PeerMismatch]);
    let other = identity("cccc", Role::Secondary, Role::Primary);
    assert_eq!(codes(&judge(&us, &group, &met(&group, other, None), None)), [Code::PeerMismatch]);
}

#[test]
fn a_group_with_two_active_members_or_none_is_named_in_the_caution() {
    let (mut us, group) = pair();
    let says = |us: &Us, state| {
        let identity = Identity { state, ..identity(B, Role::Secondary, Role::Primary) };
        judge(us, &group, &met(&group, identity, None), None).remarks.join("; ")
    };
    assert!(says(&us, HaState::Standby).contains("0 members that answer are active, of 1"));
    assert!(says(&us, HaState::Fault).contains("fw-b is in state fault"));
    us.member = Some(HaState::Active);
    assert!(!says(&us, HaState::Standby).contains("not stable"));
    assert!(says(&us, HaState::Active).contains("2 members that answer are active"));
}
