//! The way on where a restore lock is in the way and its restore will not release it: an admin decides.

use jiff::Timestamp;
use reinstate_api::{ClearLock, Code, Failure, HistoryEntry, JobKind, Lock, Outcome, Phase, one_line};
use uuid::Uuid;

use super::Engine;
use crate::job::Stage;

/// The longest reason, in characters.
const MAX_REASON: usize = 200;

impl Engine {
    /// Takes this appliance's restore lock away from its restore, and forgets what other members have
    /// not confirmed of it. On record with its reason.
    ///
    /// # Errors
    /// `not-found` where that restore holds nothing here; `busy` where it runs here; `lock-held` where it
    /// has said that it commits, and that was not said; `bad-request` without a reason.
    pub async fn clear_lock(&self, request: ClearLock, by: String) -> Result<(), Failure> {
        let reason = one_line(request.reason.trim());
        if reason.is_empty() || reason.chars().count() > MAX_REASON {
            return Err(Failure::new(
                Code::BadRequest,
                format!("the reason has {} characters, of 1 to {MAX_REASON}", reason.chars().count()),
            )
            .hint("say why the lock is in the way: it is kept on record"));
        }
        let id = request.restore;
        self.not_running(id)?;
        let lock = self.peers().lock.read()?.filter(|lock| lock.id == id);
        let journals = self.peers().journals.all()?;
        let journal = journals.iter().find(|journal| journal.restore() == id);
        let members: Vec<_> =
            journal.iter().flat_map(|j| j.members()).map(|door| door.hostname.clone()).collect();
        if lock.is_none() && journal.is_none() {
            return Err(Failure::new(
                Code::NotFound,
                format!("restore {id} holds no lock here, and is owed no release"),
            )
            .hint("`show restore lock` shows who holds what"));
        }
        if let Some(lock) =
            lock.as_ref().filter(|lock| lock.phase >= Phase::Committing && !request.committing)
        {
            return Err(Failure::new(
                Code::LockHeld,
                format!("restore {id} of {} has said that it commits (phase {})", one_line(&lock.hostname), lock.phase),
            )
            .hint("it may be past its point of no return: clear its lock only where that appliance is known to be off"));
        }
        // On record first: a lock never goes without a trace.
        let entry = cleared(lock.as_ref(), id, &members, reason, by);
        self.record(|state| {
            let (active, job) = (state.active, state.job.take());
            state.end(HistoryEntry { from: active, to: active, ..entry });
            state.job = job;
            Ok(())
        })?;
        tracing::warn!(restore = %id, "a restore lock was cleared by an admin");
        self.peers().lock.release(id)?;
        self.peers().journals.forget(id)?;
        self.peers().look();
        self.refresh();
        Ok(())
    }

    /// One that runs here ends by itself; only one that merely waits for its rejoin may lose its lock.
    fn not_running(&self, id: Uuid) -> Result<(), Failure> {
        match self.state()?.job.filter(|job| job.id == id) {
            Some(job) if !matches!(job.stage, Stage::Activated(_)) => {
                Err(super::busy_with(job.kind.as_str(), job.id, job.phase()))
            }
            _ => Ok(()),
        }
    }
}

fn cleared(lock: Option<&Lock>, id: Uuid, members: &[String], reason: String, by: String) -> HistoryEntry {
    let now = Timestamp::now();
    let (what, phase) = match lock {
        Some(lock) => (format!("lock of restore {id} of {}", one_line(&lock.hostname)), lock.phase),
        None => (format!("releases of restore {id}"), Phase::Finishing),
    };
    let mut notes = vec![format!("reason: {reason}")];
    if let Some(lock) = lock {
        notes.push(format!(
            "it was held since {}, phase {}, asked for by {}",
            lock.since,
            lock.phase,
            one_line(&lock.by)
        ));
    }
    if !members.is_empty() {
        notes.push(format!("not confirmed by {}", members.join(", ")));
    }
    HistoryEntry {
        id: Uuid::new_v4(),
        kind: JobKind::ClearLock,
        source: what,
        by,
        started: now,
        ended: now,
        phase,
        from: 0,
        to: 0,
        notes,
        overrides: Vec::new(),
        outcome: Outcome::Succeeded,
    }
}
