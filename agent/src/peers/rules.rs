//! Which restore may go on in a group, from what its members answer: pure, without I/O.

use reinstate_api::{Code, Failure, HaState, Lock, Role};
use uuid::Uuid;

use super::door::{Door, Group};
use super::identity::Identity;
use crate::lock;

/// The appliance that restores.
#[derive(Clone, Debug)]
pub struct Us {
    /// Of this start of its agent.
    pub instance: Uuid,
    pub restore: Uuid,
    /// Device UUID, host name and role that it has.
    pub is: (String, String, Role),
    /// Device UUID, host name and role that the restore gives it.
    pub becomes: (String, String, Role),
    /// The lock that another restore holds on this appliance.
    pub locked: Option<Lock>,
    /// What the HA engine says, where it is a member of the group as it is.
    pub member: Option<HaState>,
}

/// What came of asking a member.
#[derive(Clone, Debug)]
pub enum Answer {
    Met { identity: Box<Identity>, lock: Option<Lock> },
    Silent(Failure),
}

/// A member that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    pub device: String,
    /// One sentence, with what was tried.
    pub why: String,
}

/// What follows from the answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    pub refusals: Vec<Failure>,
    /// What an admin should see before the question.
    pub remarks: Vec<String>,
    pub silent: Vec<Silent>,
    /// Control nodes that restore themselves: they are waited for.
    pub restoring: Vec<String>,
    /// A data node needs one, and none answers.
    pub control_missing: Option<Failure>,
}

/// What the answers mean for the restore.
pub fn judge(
    us: &Us,
    group: &Group,
    others: &[(Door, Answer)],
    predecessor: Option<&(Door, Answer)>,
) -> Judgement {
    let mut judgement = Judgement::default();
    let ours =
        |answer: &Answer| matches!(answer, Answer::Met { identity, .. } if identity.instance == us.instance);
    if let Some((door, Answer::Met { identity, .. })) = predecessor.filter(|(_, answer)| !ours(answer)) {
        judgement.refusals.push(alive(us, door, identity));
    }
    if let Some((door, Answer::Silent(silence))) = predecessor
        && matches!(silence.code, Code::AuthenticationFailed | Code::PeerProtocol)
    {
        judgement.refusals.push(
            Failure::new(
                Code::DeviceAlive,
                format!(
                    "the backup is of {}, and that device shows its key: {}",
                    door.hostname, silence.message
                ),
            )
            .hint("disconnect the old device; it is alive, and has another configuration by now"),
        );
    }
    roles(us, group, others, &mut judgement.refusals);
    let waits_for = |identity: &Identity| us.becomes.2 == Role::Data && identity.role == Role::Control;
    let mut control = false;
    if let Some(lock) = &us.locked {
        // Also while it restarts, and does not answer.
        match us.becomes.2 == Role::Data && group.roles.get(&lock.device) == Some(&Role::Control) {
            true => judgement.restoring.push(format!("{}, phase {}", lock.hostname, lock.phase)),
            false => judgement.refusals.push(lock::held(lock)),
        }
    }
    for (door, answer) in others.iter().filter(|(_, answer)| !ours(answer)) {
        let (identity, held) = match answer {
            Answer::Silent(failure) => {
                judgement.remarks.push(format!("{} does not answer", door.name()));
                let why = failure.message.clone();
                judgement.silent.push(Silent { device: door.device.clone(), why });
                continue;
            }
            Answer::Met { identity, lock } => (identity, lock.as_ref().filter(|lock| lock.id != us.restore)),
        };
        if identity.device == us.becomes.0 {
            judgement.refusals.push(alive(us, door, identity));
            continue;
        }
        if let Some(failure) = stranger(group, door, identity) {
            judgement.refusals.push(failure);
            continue;
        }
        let (name, role, state) = (&identity.hostname, identity.role, identity.state);
        judgement.remarks.push(format!("{name} ({role}) answers: {state}"));
        match held {
            Some(lock) if waits_for(identity) && lock.device == identity.device => {
                judgement.restoring.push(format!("{name}, phase {}", lock.phase));
            }
            Some(lock) => {
                let Failure { code, message, hint, .. } = lock::held(lock);
                judgement.refusals.push(Failure::new(code, format!("on {name}: {message}")).hint(hint));
            }
            None => control |= identity.role == Role::Control,
        }
    }
    if us.becomes.2 == Role::Data && !control && judgement.restoring.is_empty() {
        judgement.control_missing = Some(
            Failure::new(
                Code::ControlMissing,
                format!("a data node joins a control node, and no control node of {} answers", group.name),
            )
            .hint("restore a control node first; `without-control` goes on without one"),
        );
    }
    judgement.remarks.extend(unrest(us, group, others));
    judgement
}

fn alive(us: &Us, door: &Door, identity: &Identity) -> Failure {
    let (uuid, name, _) = &us.becomes;
    let doing = match &identity.running {
        Some(running) => format!("restores ({}, phase {})", running.id, running.phase),
        None => format!("is alive ({})", identity.state),
    };
    Failure::new(
        Code::DeviceAlive,
        format!("the backup is of {name}, device {uuid}; that device answers at {} and {doing}", door.name()),
    )
    .hint("take the backup of the device that is to be replaced; or disconnect the old one, if this takes its place")
}

/// It has the right key, and is not who it should be.
fn stranger(group: &Group, door: &Door, identity: &Identity) -> Option<Failure> {
    let differs = |what: &str, expected: &str, found: &str| {
        Failure::new(
            Code::PeerMismatch,
            format!("{what} of the member at {}: {expected} is expected, it says {found}", door.name()),
        )
        .hint("bring the HA configuration of both members to the same state")
    };
    if identity.group != group.name {
        return Some(differs("group", &group.name, &identity.group));
    }
    (identity.device != door.device).then(|| differs("device", &door.device, &identity.device))
}

/// Primary and secondary stay what they are; control and data, active and standby change places.
fn roles(us: &Us, group: &Group, others: &[(Door, Answer)], refusals: &mut Vec<Failure>) {
    let is_static = |role: Role| matches!(role, Role::Primary | Role::Secondary);
    let (uuid, name, role) = &us.becomes;
    let mut differs = |who: &str, expected: Role| {
        if expected != *role && (is_static(expected) || is_static(*role)) {
            refusals.push(
                Failure::new(
                    Code::RoleMismatch,
                    format!("role of {name}: the backup's is {role}, {who} expects {expected}"),
                )
                .hint("take the backup of this member of the pair"),
            );
        }
    };
    if let Some(expected) = group.roles.get(uuid) {
        differs("its own HA group", *expected);
    }
    for (_, answer) in others {
        if let Answer::Met { identity, .. } = answer
            && let Some(expected) = identity.roles.get(uuid)
        {
            differs(&identity.hostname, *expected);
        }
    }
    let (present, present_name, present_role) = &us.is;
    if us.member.is_some() && present != uuid && is_static(*present_role) && present_role != role {
        refusals.push(
            Failure::new(
                Code::RoleMismatch,
                format!(
                    "role: the backup is of {name}, the {role} of {}; this appliance is {present_name}, its {present_role}",
                    group.name
                ),
            )
            .hint("take the backup of this member; `restore factory` takes this appliance out of its group first"),
        );
    }
}

/// Why the group is not stable, for the caution.
fn unrest(us: &Us, group: &Group, others: &[(Door, Answer)]) -> Option<String> {
    let states: Vec<(&str, HaState)> = others
        .iter()
        .filter_map(|(_, answer)| match answer {
            Answer::Met { identity, .. } => Some((identity.hostname.as_str(), identity.state)),
            Answer::Silent(_) => None,
        })
        .collect();
    let mut why: Vec<String> = states
        .iter()
        .filter(|(_, state)| matches!(state, HaState::Fault | HaState::Unknown))
        .map(|(name, state)| format!("{name} is in state {state}"))
        .collect();
    let all = states.iter().map(|(_, state)| *state).chain(us.member);
    let active = all.filter(|state| *state == HaState::Active).count();
    if !states.is_empty() && active != 1 {
        why.push(format!("{active} members that answer are active, of 1"));
    }
    let silent = others.len() - states.len();
    if silent > 0 {
        why.push(format!("{silent} of {} members do not answer", others.len()));
    }
    (!why.is_empty()).then(|| format!("Caution: the group {} is not stable: {}", group.name, why.join("; ")))
}

#[cfg(test)]
#[path = "rules/tests.rs"]
mod tests;
