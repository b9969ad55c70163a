//! The other members, beside the jobs: they are answered and met, locks of what is over are released,
//! and what happened while members did not see each other is told on both sides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use reinstate_api::{Failure, GroupView, HaState, MemberView, Release, Role};
use tokio::sync::Notify;
use uuid::Uuid;

use super::Engine;
use crate::facts::Facts;
use crate::files::Folder;
use crate::lock::LockFile;
use crate::peers::{
    Answer, Backend, Door, Group, Identity, Journal, Journals, Membership, RecordedOverride, Running,
    Serving, Session, serve,
};

/// Between two looks at the members while all is well.
const IDLE: Duration = Duration::from_secs(60);

/// The first one after something was in vain; doubled up to the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(600);

/// How long the end of a job waits for the members.
const PARTING: Duration = Duration::from_secs(10);

/// How many overrides a member is told of.
const OVERRIDES: usize = 20;

/// What is known of the group, and what is kept up for it.
pub(super) struct Peers {
    /// Of this start of the agent.
    pub instance: Uuid,
    pub lock: LockFile,
    pub journals: Journals,
    known: Mutex<Known>,
    wake: Notify,
    /// Releases take turns.
    releasing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    own: Option<Own>,
    /// What a replacement is to the others for the time of its restore.
    guest: Option<Own>,
    serving: Option<Serving>,
    state: HaState,
    members: Vec<MemberView>,
    /// Attempts in vain, by restore and member.
    attempts: BTreeMap<(Uuid, String), (u64, String)>,
}

/// What this appliance is to the other members.
#[derive(Clone)]
pub(super) struct Own {
    pub device: String,
    pub hostname: String,
    pub role: Role,
    pub membership: Arc<Membership>,
}

impl Peers {
    pub fn new(folder: Folder) -> Self {
        Self {
            instance: Uuid::new_v4(),
            lock: LockFile::new(folder.clone()),
            journals: Journals::new(folder),
            known: Mutex::default(),
            wake: Notify::new(),
            releasing: tokio::sync::Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As this appliance is configured.
    pub fn own(&self) -> Option<Own> {
        self.known().own.clone()
    }

    pub fn state(&self) -> HaState {
        self.known().state
    }

    /// Has the members looked at soon.
    pub fn look(&self) {
        self.wake.notify_one();
    }

    pub fn view(&self) -> Option<GroupView> {
        let known = self.known();
        let Own { role, membership, .. } = known.own.as_ref()?;
        let (name, members) = (membership.group.name.clone(), known.members.clone());
        Some(GroupView { name, role: *role, state: known.state, members })
    }

    pub fn releases(&self) -> Result<Vec<Release>, Failure> {
        let known = self.known();
        let release = |journal: &Journal, door: &Door| {
            let key = (journal.restore(), door.device.clone());
            let (attempts, why) = known.attempts.get(&key).cloned().unwrap_or_default();
            Release { restore: journal.restore(), hostname: door.hostname.clone(), attempts, why }
        };
        let journals = self.journals.all()?;
        let all =
            journals.iter().flat_map(|journal| journal.members().iter().map(move |d| release(journal, d)));
        Ok(all.collect())
    }
}

impl Engine {
    /// Reads who this appliance is in which group, and answers the other members accordingly.
    pub(super) async fn learn_group(&self) {
        if self.parts().profile.ha.is_none() {
            return;
        }
        let learned = async {
            let platform = &self.parts().platform;
            let (facts, membership) = tokio::join!(platform.facts(), platform.membership());
            Ok::<_, Failure>((facts?, membership?))
        };
        let learned: Result<_, Failure> = learned.await.and_then(|(facts, membership)| {
            let own = membership.map(|membership| Own {
                device: facts.device.uuid.clone(),
                hostname: facts.device.hostname.clone(),
                role: facts.device.role,
                membership: Arc::new(membership),
            });
            let serving = own.as_ref().map(|own| self.answer_members(own, &facts)).transpose();
            let peers = self.peers();
            let mut known = peers.known();
            (known.own, known.guest) = (own, None);
            known.serving = None;
            known.serving = serving?;
            Ok(())
        });
        self.log("the other members of the HA group cannot be asked or answered", learned);
        self.peers().look();
    }

    /// For the time of a restore the others are answered as the backup's device.
    pub(super) fn be_guest(&self, own: Own, facts: &Facts) -> Result<(), Failure> {
        let serving = self.answer_members(&own, facts)?;
        let peers = self.peers();
        let mut known = peers.known();
        known.guest = Some(own);
        known.serving = Some(serving);
        Ok(())
    }

    pub(super) fn is_guest(&self) -> bool {
        self.peers().known().guest.is_some()
    }

    /// At the end of a job: what it has locked is released, and a replacement that has become nobody is
    /// no guest any more. A member that does not answer is told later.
    pub(super) async fn part_from_members(&self) {
        let _ = tokio::time::timeout(PARTING, self.release_members()).await;
        if self.is_guest() {
            let mut known = self.peers().known();
            (known.guest, known.serving) = (None, None);
        }
        self.peers().look();
    }

    fn answer_members(&self, own: &Own, facts: &Facts) -> Result<Serving, Failure> {
        let ha = self.parts().profile.ha.as_ref().ok_or_else(super::group::no_ha)?;
        // One whose driver is not loaded yet is waited for, under the name that it gets.
        let kernel = |name: &String| {
            let found = facts.hardware.interfaces.iter().find(|interface| interface.name == *name);
            found.map_or(name, |interface| &interface.kernel).clone()
        };
        let kernels = ha.interfaces.iter().map(kernel).collect();
        let (engine, other) = (self.clone(), self.clone());
        let members = own.membership.group.members.iter().map(|member| member.uuid.clone());
        let backend = Backend {
            lock: self.peers().lock.clone(),
            identity: Arc::new(move || engine.identity()?.to_bytes()),
            changed: Arc::new(move || {
                other.refresh();
                other.peers().look();
            }),
            members: Arc::new(members.filter(|uuid| *uuid != own.device).collect()),
        };
        serve(&own.membership, kernels, ha.port, backend)
    }

    fn identity(&self) -> Result<Identity, Failure> {
        let state = self.parts().state.read()?;
        let known = self.peers().known();
        let own = known.guest.as_ref().or(known.own.as_ref()).ok_or_else(super::group::no_ha)?;
        let told = state.history.iter().flat_map(|entry| {
            entry.overrides.iter().map(|overridden| RecordedOverride {
                restore: entry.id,
                at: entry.ended,
                by: entry.by.clone(),
                overridden: overridden.clone(),
            })
        });
        let group = &own.membership.group;
        Ok(Identity {
            format: Identity::FORMAT,
            instance: self.peers().instance,
            device: own.device.clone(),
            hostname: own.hostname.clone(),
            role: own.role,
            state: known.state,
            group: group.name.clone(),
            over: state.history.iter().map(|entry| entry.id).collect(),
            running: state.job.as_ref().map(|job| Running {
                id: job.id,
                phase: job.phase(),
                since: job.started,
                by: job.by.clone(),
            }),
            roles: group.members.iter().map(|member| (member.uuid.clone(), member.role)).collect(),
            overrides: told.take(OVERRIDES).collect(),
        })
    }

    /// Meets the others for as long as the agent runs.
    pub(super) async fn keep_peers(self) {
        let mut pause = FIRST;
        loop {
            self.learn_state().await;
            let released = self.release_members().await;
            let met = self.meet_members().await;
            self.refresh();
            let settled = released && met;
            let wait = if settled { IDLE } else { pause };
            pause = if settled { FIRST } else { pause.saturating_mul(2).min(LONGEST) };
            if tokio::time::timeout(wait, self.peers().wake.notified()).await.is_ok() {
                pause = FIRST;
            }
        }
    }

    /// Asks the HA engine.
    pub(super) async fn learn_state(&self) {
        if self.peers().own().is_some() {
            let state = self.parts().platform.ha_state().await.unwrap_or_else(|failure| {
                tracing::warn!("the HA engine's state cannot be told: {failure}");
                HaState::Unknown
            });
            self.peers().known().state = state;
        }
    }

    /// Releases what restores that are over have locked elsewhere; false where some is left.
    pub(super) async fn release_members(&self) -> bool {
        let peers = self.peers();
        let _turn = peers.releasing.lock().await;
        let running = match self.parts().state.read() {
            Ok(state) => state.job.map(|job| job.id),
            // Nothing is known to be over.
            Err(_) => return true,
        };
        let journals = match peers.journals.all() {
            Ok(journals) => journals,
            Err(failure) => {
                tracing::error!("{failure}");
                return false;
            }
        };
        let mut left = false;
        for mut journal in journals.into_iter().filter(|journal| Some(journal.restore()) != running) {
            let doors = journal.members().to_vec();
            let tried = doors.iter().map(|door| release(&journal, door));
            let done = join_all(tried).await;
            for (door, released) in doors.iter().zip(done) {
                let key = (journal.restore(), door.device.clone());
                let confirmed = released.and_then(|()| journal.confirm(&peers.journals, &door.device));
                let mut known = peers.known();
                match confirmed {
                    Ok(()) => drop(known.attempts.remove(&key)),
                    Err(failure) => {
                        let (attempts, why) = known.attempts.entry(key).or_default();
                        if *why != failure.message {
                            tracing::warn!(restore = %journal.restore(), "the lock on {} is not released yet: {failure}", door.hostname);
                        }
                        (*attempts, *why) = (*attempts + 1, failure.message);
                        left = true;
                    }
                }
            }
        }
        !left
    }

    /// Asks every member; false where somebody has to be asked again soon.
    async fn meet_members(&self) -> bool {
        let peers = self.peers();
        let (Some(own), Some(ha)) = (peers.own(), &self.parts().profile.ha) else { return true };
        let Some(group) = Group::new(ha.port, Some((&own.membership, &own.device)), None) else {
            return true;
        };
        let answers = meet(&group).await;
        let at = Timestamp::now();
        let view = |(door, answer): &(Door, Answer)| MemberView {
            device: door.device.clone(),
            hostname: door.hostname.clone(),
            role: door.role,
            addresses: door.addresses.iter().map(ToString::to_string).collect(),
            state: match answer {
                Answer::Met { identity, .. } => Some(identity.state),
                Answer::Silent(_) => None,
            },
            silence: match answer {
                Answer::Met { .. } => String::new(),
                Answer::Silent(failure) => failure.message.clone(),
            },
            lock: match answer {
                Answer::Met { lock, .. } => lock.clone(),
                Answer::Silent(_) => None,
            },
            at,
        };
        peers.known().members = answers.iter().map(view).collect();
        let met: Vec<&Identity> = answers
            .iter()
            .filter_map(|(_, answer)| match answer {
                Answer::Met { identity, .. } => Some(&**identity),
                Answer::Silent(_) => None,
            })
            .collect();
        self.log("what members did without each other cannot be kept", self.compare_notes(&own, &met));
        let freed = self.free_of_what_is_over(&met);
        self.log("a restore lock that is over cannot be released", freed);
        !matches!(peers.lock.read(), Ok(Some(_)))
    }

    /// A lock is stale only when its holder says that its restore is over.
    fn free_of_what_is_over(&self, met: &[&Identity]) -> Result<(), Failure> {
        let Some(lock) = self.peers().lock.read()? else { return Ok(()) };
        let holder = met.iter().find(|identity| identity.device == lock.device);
        let over = |identity: &&&Identity| {
            identity.over.contains(&lock.id) && identity.running.as_ref().is_none_or(|r| r.id != lock.id)
        };
        if let Some(holder) = holder.filter(over) {
            tracing::warn!(restore = %lock.id, "{} says that its restore is over: its lock here is released", holder.hostname);
            self.peers().lock.release(lock.id)?;
        }
        Ok(())
    }

    /// What an admin went on against, here or there, without the other: kept until it is acknowledged.
    fn compare_notes(&self, own: &Own, met: &[&Identity]) -> Result<(), Failure> {
        let ours = self.identity()?.overrides;
        let mut notes = Vec::new();
        for identity in met {
            let theirs = identity.overrides.iter().filter(|o| o.overridden.member == own.device);
            notes.extend(theirs.map(|told| (told.clone(), identity.hostname.clone())));
            let here = ours.iter().filter(|o| o.overridden.member == identity.device);
            notes.extend(here.map(|told| (told.clone(), own.hostname.clone())));
        }
        let state = self.parts().state.read()?;
        if notes.iter().all(|(told, who)| state.has_met(told, who)) {
            return Ok(());
        }
        self.record(|state| {
            notes.into_iter().for_each(|(told, who)| state.meet(told, who));
            Ok(())
        })
    }
}

async fn release(journal: &Journal, door: &Door) -> Result<(), Failure> {
    let session = Session::open(door, journal.port(), journal.keys()).await?;
    session.release(journal.restore()).await?;
    session.close().await;
    Ok(())
}

/// Asks every other member at once.
pub(super) async fn meet(group: &Group) -> Vec<(Door, Answer)> {
    join_all(group.others.iter().map(|door| ask(group, door))).await
}

/// Who it is, and who holds its lock.
pub(super) async fn ask(group: &Group, door: &Door) -> (Door, Answer) {
    let asked = async {
        let session = Session::open(door, group.port, &group.keys).await?;
        let answer =
            Answer::Met { identity: Box::new(session.identity().await?), lock: session.lock().await? };
        session.close().await;
        Ok::<_, Failure>(answer)
    };
    (door.clone(), asked.await.unwrap_or_else(Answer::Silent))
}
