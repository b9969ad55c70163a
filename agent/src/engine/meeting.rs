//! The other members are met for as long as the agent runs: locks of what is over are released, and what was
//! done without each other is told on both sides.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use reinstate_api::{Code, Failure, HaState, MemberView, Override};

use super::Engine;
use super::peers::{Own, SERVICE};
use crate::peers::{Answer, Door, Group, Identity, Journal, Session};

/// Between two looks at the members while all is well.
const IDLE: Duration = Duration::from_secs(60);

/// The first one after something was in vain; doubled up to the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The longest talk with one member.
const TALK: Duration = Duration::from_secs(30);

impl Engine {
    /// Meets the others for as long as the agent runs.
    pub(super) async fn keep_peers(self) {
        let mut pause = FIRST;
        loop {
            // A group may be made, or changed, at any time.
            if self.running().is_none() {
                self.look_at_group().await;
            }
            self.learn_state().await;
            let released = self.release_members().await;
            self.be_no_guest().await;
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
            if let Some(owed) = journal.service().cloned() {
                let released = owed.service.release(&owed.device).await;
                let confirmed = released.and_then(|()| journal.confirm_service(&peers.journals));
                left |= !peers.tried(journal.restore(), SERVICE, SERVICE, confirmed);
            }
            let doors = journal.members().to_vec();
            let tried = doors.iter().map(|door| bounded(door, release(&journal, door)));
            let done = join_all(tried).await;
            for (door, released) in doors.iter().zip(done) {
                let confirmed = released.and_then(|()| journal.confirm(&peers.journals, &door.device));
                left |= !peers.tried(journal.restore(), &door.device, &door.hostname, confirmed);
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
        let freed = self.free_of_what_is_over(&answers);
        self.log("a restore lock that is over cannot be released", freed);
        !matches!(peers.lock.read(), Ok(Some(_)))
    }

    /// A lock is stale only when its holder says that its restore is over.
    pub(super) fn free_of_what_is_over(&self, answers: &[(Door, Answer)]) -> Result<(), Failure> {
        let Some(lock) = self.peers().lock.read()? else { return Ok(()) };
        // By the key that it has shown, not by what it says.
        let mut met = answers.iter().filter_map(|(door, answer)| match answer {
            Answer::Met { identity, .. } => Some((door, &**identity)),
            Answer::Silent(_) => None,
        });
        let holder =
            met.find(|(door, identity)| door.device == lock.device && identity.device == lock.device);
        let holder = holder.map(|(_, identity)| identity);
        let over = |identity: &&Identity| {
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
            // Of whoever was gone without: each member that answers keeps it.
            let theirs = identity.overrides.iter().filter(|o| o.overridden.what == Override::WithoutPeer);
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

/// However a member answers, it does not take for ever.
async fn bounded<T>(door: &Door, talk: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(TALK, talk).await.unwrap_or_else(|_| {
        let why = format!("{} did not end within {} s", door.name(), TALK.as_secs());
        Err(Failure::new(Code::PeerProtocol, why))
    })
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
    (door.clone(), bounded(door, asked).await.unwrap_or_else(Answer::Silent))
}
