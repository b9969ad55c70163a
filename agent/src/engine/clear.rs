//! The way on where a restore lock is in the way and its restore will not release it: an admin decides.

use jiff::Timestamp;
use reinstate_api::{ClearLock, Code, Failure, HistoryEntry, JobKind, Lock, Outcome, Phase, one_line};
use uuid::Uuid;

use super::Engine;

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
        let journals = self.peers().journals.all()?;
        let journal = journals.iter().find(|journal| journal.restore() == id);
        let owed: Vec<_> =
            journal.iter().flat_map(|j| j.members()).map(|door| door.hostname.clone()).collect();
        let nothing = || {
            Failure::new(Code::NotFound, format!("restore {id} holds no lock here, and is owed no release"))
                .hint("`show restore lock` shows who holds what")
        };
        // On record first: a lock never goes without a trace.
        self.peers().lock.clear(id, request.committing, |lock| {
            if lock.is_none() && journal.is_none() {
                return Err(nothing());
            }
            let entry = cleared(lock, id, &owed, reason, by);
            self.record(|state| {
                let (active, job) = (state.active, state.job.take());
                state.end(HistoryEntry { from: active, to: active, ..entry });
                state.job = job;
                Ok(())
            })
        })?;
        tracing::warn!(restore = %id, "a restore lock was cleared by an admin");
        self.peers().journals.forget(id)?;
        self.peers().look();
        self.refresh();
        Ok(())
    }

    /// One that runs here ends by itself; only one that merely waits for its rejoin may lose its lock.
    fn not_running(&self, id: Uuid) -> Result<(), Failure> {
        match self.state()?.job.filter(|job| job.id == id) {
            Some(job) if !self.peers().rejoining() => Err(super::busy_with(job.kind, job.id, job.phase())),
            _ => Ok(()),
        }
    }
}

fn cleared(lock: Option<&Lock>, id: Uuid, members: &[String], reason: String, by: String) -> HistoryEntry {
    let now = Timestamp::now();
    let (what, phase) = match lock {
        Some(lock) => (format!("lock of restore {id} of {}", lock.hostname), lock.phase),
        None => (format!("releases of restore {id}"), Phase::Finishing),
    };
    let mut notes = vec![format!("reason: {reason}")];
    if let Some(lock) = lock {
        notes.push(format!(
            "it was held since {}, phase {}, asked for by {}",
            lock.since, lock.phase, lock.by
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
