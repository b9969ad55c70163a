//! After a restore that succeeded: the manager is told, for ever, and people acknowledge their tasks.
//! It runs beside the jobs, and holds nothing that one of them could need.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reinstate_api::{Accepted, CheckIn, Code, Failure, Manager, Tasks};
use tokio::sync::Notify;
use uuid::Uuid;

use super::Engine;
use crate::backoff::Backoff;
use crate::checkin::{Report, Telling};
use crate::state::State;

/// What is known of the attempts since the agent's start, and how the next one is brought forward.
#[derive(Default)]
pub(super) struct Attempts {
    wake: Notify,
    seen: std::sync::Mutex<Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    restore: Option<Uuid>,
    backoff: Backoff,
    last: Option<Timestamp>,
    failure: Option<Failure>,
    next: Option<Timestamp>,
}

/// What an attempt came to.
enum Came {
    Accepted(String),
    /// There is no manager any more.
    Gone,
    InVain {
        why: Failure,
        /// Soon would bring the same.
        slowly: bool,
    },
}

impl Attempts {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Engine {
    /// Tells the manager what it is owed, whenever something is, and never ends.
    pub(super) async fn keep_telling(self) {
        let attempts = &self.inner.attempts;
        loop {
            let owed = match self.parts().state.read() {
                Ok(state) => state.owed().map(|owed| owed.restore),
                // Said to everybody who asks for the status.
                Err(_) => None,
            };
            let Some(restore) = owed else {
                attempts.wake.notified().await;
                continue;
            };
            let wait = match self.attempt(restore).await {
                Came::Accepted(answer) => {
                    tracing::info!(%restore, "the manager accepted the check-in: {answer}");
                    let at = Timestamp::now();
                    self.settled(restore, Some(Accepted { at, answer }))
                }
                Came::Gone => self.settled(restore, None),
                Came::InVain { why, slowly } => self.in_vain(restore, why, slowly),
            };
            self.refresh();
            if let Some(wait) = wait {
                // Whatever wakes it may have taken the manager away, or brought another one.
                let _ = tokio::time::timeout(wait, attempts.wake.notified()).await;
            }
        }
    }

    /// A job has ended: what is owed may be another thing.
    pub(super) fn look_at_what_is_owed(&self) {
        self.inner.attempts.wake.notify_one();
    }

    async fn attempt(&self, restore: Uuid) -> Came {
        let parts = self.parts();
        let told = async {
            let Some(credentials) = parts.platform.manager_credentials().await? else {
                return Ok(Came::Gone);
            };
            let facts = parts.platform.facts().await?;
            let host = credentials.host.clone();
            let report = Report::new(facts, restore);
            let answer = parts.platform.tell_manager(Telling { credentials, report }).await?;
            if answer.is_accepted() {
                return Ok(Came::Accepted(answer.text));
            }
            let why = format!("the manager {host} answered {answer}");
            let hint = "look at the manager whether it knows this device; it is tried again";
            let why = Failure::new(Code::ManagerRefused, why).hint(hint);
            Ok(Came::InVain { why, slowly: answer.is_final() })
        };
        told.await.unwrap_or_else(|why: Failure| Came::InVain { why, slowly: false })
    }

    /// How long to wait where the record could not be written.
    fn settled(&self, restore: Uuid, accepted: Option<Accepted>) -> Option<Duration> {
        let gone = accepted.is_none();
        let settled = self.record(|state| {
            state.settle(restore, accepted);
            Ok(())
        });
        match settled {
            Ok(()) => {
                *self.inner.attempts.seen() = Seen::default();
                if gone {
                    tracing::info!(%restore, "there is no manager to tell of the restore any more");
                }
                None
            }
            // It is told once more: to the manager that is the same.
            Err(why) => self.in_vain(restore, why, true),
        }
    }

    fn in_vain(&self, restore: Uuid, why: Failure, slowly: bool) -> Option<Duration> {
        let mut seen = self.inner.attempts.seen();
        if seen.restore != Some(restore) {
            *seen = Seen { restore: Some(restore), ..Seen::default() };
        }
        let wait = if slowly { seen.backoff.long_pause() } else { seen.backoff.pause() };
        // A failure is logged when it is a new one, not for ever.
        if seen.failure.as_ref().is_none_or(|last| last.code != why.code) {
            tracing::warn!(%restore, code = %why.code, "the manager was not told: {why}");
        }
        let now = Timestamp::now();
        seen.last = Some(now);
        seen.next = SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
        seen.failure = Some(why);
        Some(wait)
    }

    /// For the status: what is on record, with the attempts in vain.
    pub(super) fn checkin(&self, state: &State) -> Option<CheckIn> {
        let on_record = state.checkin.clone()?;
        let seen = self.inner.attempts.seen().clone();
        let seen = if seen.restore == Some(on_record.restore) { seen } else { Seen::default() };
        Some(CheckIn {
            restore: on_record.restore,
            since: on_record.since,
            accepted: on_record.accepted,
            attempts: seen.backoff.attempts(),
            last: seen.last,
            failure: seen.failure,
            next: seen.next,
        })
    }

    /// For the status: what is on record, with the product's own list.
    pub(super) fn tasks(&self, state: &State) -> Option<Tasks> {
        let tasks = state.tasks.clone()?;
        Some(Tasks {
            restore: tasks.restore,
            since: tasks.since,
            texts: self.parts().profile.texts.post_restore.clone(),
            enrol: tasks.enrol,
            acknowledged: tasks.acknowledged,
        })
    }

    /// Ends the reminder at each login.
    pub fn acknowledge_tasks(&self, by: String) -> Result<(), Failure> {
        self.state()?;
        self.record(|state| state.acknowledge(by, Timestamp::now()))?;
        self.refresh();
        Ok(())
    }

    /// The manager, and how far it has been told.
    pub async fn managers(&self) -> Result<Vec<Manager>, Failure> {
        let registration = self.parts().platform.facts().await?.registration;
        let checkin = self.status().checkin;
        Ok(registration.map(|manager| Manager::new(manager, checkin)).into_iter().collect())
    }
}
