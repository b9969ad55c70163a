//! The restore locks of a whole group: taken in one order, kept until the commit, proof that it may be.

use std::time::Duration;

use futures_util::future::join_all;
use reinstate_api::{Code, Failure, Lock, Phase};
use tokio::time::Instant;

use super::client::{Session, Taken, take};
use super::door::{Door, Group};
use super::fleet::Service;
use super::journal::{Journal, Journals, Owed};
use crate::lock::{self, Held, LockFile};

/// How long a member that was gone without may take to say whether it gives way.
const GIVING_WAY: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(300);

/// How often a member is tried that does not answer at once.
const TRIES: u32 = 3;

/// How long a lock service is asked again that does not grant.
const SERVICE: Duration = Duration::from_secs(30);

/// What is needed to take the locks.
pub struct Taking<'a> {
    pub file: &'a LockFile,
    pub journals: &'a Journals,
    /// None where the appliance is in no group: its own lock is all there is.
    pub group: Option<&'a Group>,
    /// In place of the other members' lock files.
    pub service: Option<&'a Service>,
    pub note: &'a (dyn Fn(String) + Sync),
    /// Members that need not answer.
    pub without: Without<'a>,
    pub lock: Lock,
}

/// Members that need not answer.
#[derive(Clone, Copy)]
pub enum Without<'a> {
    /// By their device UUIDs.
    These(&'a [String]),
    /// Whoever it is.
    Any,
}

impl Without<'_> {
    fn covers(&self, device: &String) -> bool {
        match self {
            Self::These(devices) => devices.contains(device),
            Self::Any => true,
        }
    }
}

/// The locks of a restore, on every member that answers.
#[derive(Debug)]
pub struct GroupHeld {
    own: Held,
    lock: Lock,
    others: Others,
}

#[derive(Debug)]
enum Others {
    /// This appliance's own lock is all there is.
    None,
    Members(Box<Members>),
    Service(Service),
}

#[derive(Debug)]
struct Members {
    group: Group,
    locked: Vec<Door>,
    /// Gone without: they have not answered so far, and why.
    skipped: Vec<(Door, Failure)>,
    /// None where there is nobody else.
    journal: Option<(Journals, Journal)>,
}

/// Proof that every lock was there when the commit was announced.
#[derive(Debug)]
pub struct Committing(());

#[cfg(test)]
impl Committing {
    pub(crate) fn for_tests() -> Self {
        Self(())
    }
}

impl Taking<'_> {
    /// Takes every lock, in the order that all members have; of two restores that start in the same
    /// instant exactly one gets the first lock that both want. What was taken before a failure is in
    /// the journal, and for the caller to release.
    ///
    /// # Errors
    /// `lock-held`, naming the holder; `peer-unreachable` and `peer-mismatch` where a member does not
    /// answer that has to.
    pub async fn take(self) -> Result<GroupHeld, Failure> {
        let Self { file, journals, group, service, note, without, lock } = self;
        if let Some(service) = service {
            let own = Held::take(file, &lock)?;
            let owed = Owed { service: service.clone(), device: lock.device.clone() };
            journals.begin_service(lock.id, owed)?;
            service.acquire(&lock.device, SERVICE, note).await?;
            return Ok(GroupHeld { own, lock, others: Others::Service(service.clone()) });
        }
        let Some(group) = group else { return GroupHeld::alone(file, lock) };
        let journal = match group.others.is_empty() {
            true => None,
            false => Some(journals.begin(lock.id, group, group.others.clone())?),
        };
        let mut progress = Progress::default();
        match progress.go(file, group, without, &lock).await {
            Ok(own) => {
                let Progress { locked, skipped, .. } = progress;
                let journal = journal.map(|journal| (journals.clone(), journal));
                let others = Members { group: group.clone(), locked, skipped, journal };
                Ok(GroupHeld { own, lock, others: Others::Members(Box::new(others)) })
            }
            Err(failure) => {
                // Members that were not asked, or that another restore holds, are owed nothing.
                if let Some(mut journal) = journal {
                    let owed = [progress.locked, progress.unclear].concat();
                    if let Err(unkept) = journal.keep_only(journals, &owed) {
                        tracing::error!("{unkept}");
                    }
                }
                Err(failure)
            }
        }
    }
}

/// How far the taking is.
#[derive(Default)]
struct Progress {
    locked: Vec<Door>,
    skipped: Vec<(Door, Failure)>,
    /// Asked, without a clear answer.
    unclear: Vec<Door>,
}

impl Progress {
    async fn go(
        &mut self,
        file: &LockFile,
        group: &Group,
        without: Without<'_>,
        lock: &Lock,
    ) -> Result<Held, Failure> {
        let mut own = None;
        for door in &group.others {
            if own.is_none() && group.is_before(&door.device) {
                own = Some(Held::take(file, lock)?);
            }
            match take(door, group.port, &group.keys, lock).await {
                Ok(Taken::Ours) => self.locked.push(door.clone()),
                Ok(Taken::Held(other)) => return Err(on(door, lock::held(&other))),
                Ok(Taken::Unasked(why)) if without.covers(&door.device) => {
                    self.skipped.push((door.clone(), why))
                }
                Ok(Taken::Unasked(failure)) => return Err(failure),
                Err(failure) => {
                    self.unclear.push(door.clone());
                    return Err(failure);
                }
            }
        }
        own.map_or_else(|| Held::take(file, lock), Ok)
    }
}

impl GroupHeld {
    /// This appliance's lock, and nobody else's.
    ///
    /// # Errors
    /// `lock-held`, naming the holder.
    pub fn alone(file: &LockFile, lock: Lock) -> Result<Self, Failure> {
        Ok(Self { own: Held::take(file, &lock)?, lock, others: Others::None })
    }

    /// Members that were gone without, and why.
    pub fn skipped(&self) -> &[(Door, Failure)] {
        match &self.others {
            Others::Members(members) => &members.skipped,
            Others::None | Others::Service(_) => &[],
        }
    }

    /// Announces the commit on every member that is locked. A member that was gone without and answers
    /// by now is locked too.
    ///
    /// # Errors
    /// `lock-lost` where a lock was taken away, `peer-unreachable` where that cannot be told, `lock-held`
    /// where a member that was gone without restores itself: the holder must not commit.
    pub async fn committing(&mut self) -> Result<Committing, Failure> {
        self.own.set_phase(Phase::Committing)?;
        self.lock.phase = Phase::Committing;
        match &mut self.others {
            Others::None => {}
            // It grants once more what it has granted.
            Others::Service(service) => {
                let granted = service.acquire(&self.lock.device, Duration::ZERO, &|_| {}).await;
                granted.map_err(|why| {
                    Failure::new(Code::LockLost, format!("the lock is not confirmed: {}", why.message))
                        .hint(why.hint)
                })?;
            }
            Others::Members(members) => {
                let Members { group, locked, skipped, journal } = &mut **members;
                self.lock.without = skipped.iter().map(|(door, _)| door.hostname.clone()).collect();
                let announced = locked.iter().map(|door| announce(group, door, &self.lock));
                join_all(announced).await.into_iter().collect::<Result<(), _>>()?;
                let met = skipped.iter().map(|(door, _)| meet_again(group, door, &self.lock));
                let met = join_all(met).await.into_iter().collect::<Result<Vec<_>, _>>()?;
                // Those that were never reached are owed nothing.
                let met = skipped.iter().zip(met).filter(|(_, met)| *met).map(|((door, _), _)| door.clone());
                let owed: Vec<_> = locked.iter().cloned().chain(met).collect();
                if let Some((journals, journal)) = journal {
                    journal.keep_only(journals, &owed)?;
                }
            }
        }
        Ok(Committing(()))
    }
}

/// One attempt in vain may be a busy moment.
async fn reach(group: &Group, door: &Door) -> Result<Session, Failure> {
    for _ in 1..TRIES {
        if let Ok(session) = Session::open(door, group.port, &group.keys).await {
            return Ok(session);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Session::open(door, group.port, &group.keys).await
}

async fn announce(group: &Group, door: &Door, lock: &Lock) -> Result<(), Failure> {
    let mut tries = 0;
    loop {
        tries += 1;
        let session = reach(group, door).await?;
        match session.update(lock).await {
            Ok(()) => {
                session.close().await;
                return Ok(());
            }
            Err(failure) if failure.code == Code::LockLost || tries == TRIES => return Err(failure),
            Err(_) => {}
        }
    }
}

/// One that has not answered before. Where it has a restore of its own that has gone without us, the
/// first in the order of members goes on, and the other one ends. True where it is locked now.
async fn meet_again(group: &Group, door: &Door, lock: &Lock) -> Result<bool, Failure> {
    let deadline = Instant::now() + GIVING_WAY;
    let mut answered = false;
    loop {
        let session = match reach(group, door).await {
            Ok(session) => session,
            Err(failure) if answered => {
                let why = format!("{} has answered, and does no more: {}", door.hostname, failure.message);
                return Err(Failure::new(failure.code, why)
                    .hint("start again, once it is known what that member does"));
            }
            Err(_) => return Ok(false),
        };
        answered = true;
        let other = match session.create(lock).await? {
            None => {
                session.update(lock).await?;
                session.close().await;
                return Ok(true);
            }
            Some(other) => other,
        };
        let running = session.identity().await?.running.filter(|running| running.id == other.id);
        session.close().await;
        let committed = running.is_some_and(|running| running.phase >= Phase::Committed);
        let gives_way = other.device == door.device && group.is_before(&door.device) && !committed;
        if !gives_way || Instant::now() > deadline {
            return Err(on(door, lock::held(&other)));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn on(door: &Door, failure: Failure) -> Failure {
    let Failure { code, message, hint, .. } = failure;
    debug_assert_eq!(code, Code::LockHeld);
    Failure::new(code, format!("on {}: {message}", door.hostname)).hint(hint)
}
