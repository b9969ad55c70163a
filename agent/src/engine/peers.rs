//! What this appliance is to the other members of its group, and how they are answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reinstate_api::{Failure, GroupView, HaState, MemberView, Release, Role};
use tokio::sync::Notify;
use uuid::Uuid;

use super::Engine;
use crate::facts::Facts;
use crate::files::Folder;
use crate::lock::LockFile;
use crate::peers::fleet::Service;
use crate::peers::{
    Backend, Door, Identity, Journal, Journals, Membership, RecordedOverride, Running, Serving, serve,
};

/// How long the end of a job waits for the members.
const PARTING: Duration = Duration::from_secs(10);

/// How a lock service is called among those who hold a lock.
pub(super) const SERVICE: &str = "the lock service";

/// What is known of the group, and what is kept up for it.
pub(super) struct Peers {
    /// Of this start of the agent.
    pub instance: Uuid,
    pub lock: LockFile,
    pub journals: Journals,
    known: Mutex<Known>,
    pub(super) wake: Notify,
    /// Releases take turns, and a lock service is asked for nothing meanwhile.
    pub releasing: tokio::sync::Mutex<()>,
    /// A restore that has ended well waits for this member to rejoin.
    rejoining: AtomicBool,
}

#[derive(Default)]
pub(super) struct Known {
    own: Option<Own>,
    /// What a replacement is to the others for the time of its restore.
    guest: Option<Own>,
    serving: Option<Serving>,
    /// In place of lock files.
    service: Option<Service>,
    pub(super) state: HaState,
    pub(super) members: Vec<MemberView>,
    /// Attempts in vain, by restore and member.
    attempts: BTreeMap<(Uuid, String), (u64, String)>,
}

/// What this appliance is to the other members.
#[derive(Clone, PartialEq)]
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
            rejoining: AtomicBool::new(false),
        }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As this appliance is configured.
    pub fn own(&self) -> Option<Own> {
        self.known().own.clone()
    }

    pub fn service(&self) -> Option<Service> {
        self.known().service.clone()
    }

    pub fn state(&self) -> HaState {
        self.known().state
    }

    pub fn rejoining(&self) -> bool {
        self.rejoining.load(Ordering::Relaxed)
    }

    pub fn set_rejoining(&self, is: bool) {
        self.rejoining.store(is, Ordering::Relaxed);
    }

    /// Has the members looked at soon.
    pub fn look(&self) {
        self.wake.notify_one();
    }

    /// Keeps what came of an attempt to release a lock; true where it is released.
    pub(super) fn tried(
        &self,
        restore: Uuid,
        device: &str,
        name: &str,
        confirmed: Result<(), Failure>,
    ) -> bool {
        let (mut known, key) = (self.known(), (restore, device.to_owned()));
        match confirmed {
            Ok(()) => {
                known.attempts.remove(&key);
                true
            }
            Err(failure) => {
                let (attempts, why) = known.attempts.entry(key).or_default();
                if *why != failure.message {
                    tracing::warn!(%restore, "the lock on {name} is not released yet: {failure}");
                }
                (*attempts, *why) = (*attempts + 1, failure.message);
                false
            }
        }
    }

    pub fn view(&self) -> Option<GroupView> {
        let known = self.known();
        let Own { role, membership, .. } = known.own.as_ref()?;
        let (name, members) = (membership.group.name.clone(), known.members.clone());
        Some(GroupView { name, role: *role, state: known.state, members })
    }

    pub fn releases(&self) -> Result<Vec<Release>, Failure> {
        let known = self.known();
        let release = |journal: &Journal, (device, hostname): (String, String)| {
            let key = (journal.restore(), device);
            let (attempts, why) = known.attempts.get(&key).cloned().unwrap_or_default();
            Release { restore: journal.restore(), hostname, attempts, why }
        };
        let journals = self.journals.all()?;
        let owed = |journal: &Journal| {
            let name = |door: &Door| (door.device.clone(), door.hostname.clone());
            let mut owed: Vec<_> = journal.members().iter().map(name).collect();
            owed.extend(journal.service().map(|_| (SERVICE.to_owned(), SERVICE.to_owned())));
            owed
        };
        let all =
            journals.iter().flat_map(|journal| owed(journal).into_iter().map(move |who| (journal, who)));
        Ok(all.map(|(journal, who)| release(journal, who)).collect())
    }
}

impl Engine {
    /// Reads who this appliance is in which group, and answers the other members accordingly.
    ///
    /// # Errors
    /// Why it cannot be told: what was known before stays.
    pub(super) async fn learn_group(&self) -> Result<(), Failure> {
        if self.parts().profile.ha.is_none() {
            return Ok(());
        }
        let learned = async {
            let platform = &self.parts().platform;
            let (facts, membership, service) =
                tokio::join!(platform.facts(), platform.membership(), platform.lock_service());
            Ok::<_, Failure>((facts?, membership?, service?))
        };
        let (facts, membership, service): (Facts, Option<Membership>, Option<Service>) = learned.await?;
        let own = membership.map(|membership| Own {
            device: facts.device.uuid.clone(),
            hostname: facts.device.hostname.clone(),
            role: facts.device.role,
            membership: Arc::new(membership),
        });
        let peers = self.peers();
        // One that is in no group may be a guest.
        let same = {
            let known = peers.known();
            known.own == own && (own.is_none() || known.guest.is_none() && known.serving.is_some())
        };
        // An endpoint that goes on does not miss anybody.
        let serving = match same {
            true => None,
            false => Some(own.as_ref().map(|own| self.answer_members(own, &facts)).transpose()),
        };
        let mut known = peers.known();
        (known.own, known.service) = (own, service);
        if let Some(serving) = serving {
            (known.guest, known.serving) = (None, None);
            known.serving = serving?;
        }
        Ok(())
    }

    /// The same where the work goes on whatever comes of it.
    pub(super) async fn look_at_group(&self) {
        let learned = self.learn_group().await;
        self.log("the other members of the HA group cannot be asked or answered", learned);
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

    /// At the end of a job: what it has locked is released, and a replacement that has become nobody is
    /// no guest any more. A member that does not answer is told later.
    pub(super) async fn part_from_members(&self) {
        let _ = tokio::time::timeout(PARTING, self.release_members()).await;
        self.be_no_guest().await;
        self.peers().look();
    }

    /// Not while another member's restore has locked this appliance: it has yet to find its lock here.
    pub(super) async fn be_no_guest(&self) {
        let peers = self.peers();
        let busy = self.parts().state.read().is_ok_and(|state| state.job.is_some());
        if busy || matches!(peers.lock.read(), Ok(Some(_))) {
            return;
        }
        if peers.known().guest.is_some() {
            let mut known = peers.known();
            (known.guest, known.serving) = (None, None);
        }
        self.tend_guest().await;
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

    pub(super) fn identity(&self) -> Result<Identity, Failure> {
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
            overrides: told.take(Identity::OVERRIDES).collect(),
        })
    }
}
