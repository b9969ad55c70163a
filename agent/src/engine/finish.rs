//! After a start: what a crash or a reboot has left is brought to its end.

use std::time::Duration;

use jiff::Timestamp;
use reinstate_api::{Code, Failure, Phase};
use tokio::sync::watch;
use uuid::Uuid;

use super::context::Context;
use super::{Engine, Running, flow, view};
use crate::job::{Job, Stage, Switch};
use crate::lock::{self, Held};

/// Between two looks at the appliance's health.
const PAUSE: Duration = Duration::from_millis(500);

impl Engine {
    /// Brings the record, the store and the lock to where the last run's end left them, and goes on
    /// with the job that a reboot was part of.
    pub async fn recover(&self) -> Result<(), Failure> {
        let parts = self.parts();
        // A process that the last run has started may still be at work.
        let store = parts.store.clone();
        let alone = tokio::task::spawn_blocking(move || store.alone().map(drop));
        alone.await.map_err(|_| Failure::new(Code::Internal, "the waiting thread ended early"))??;
        let state = parts.state.read()?;
        parts.store.discard_drafts()?;
        if !parts.store.numbers()?.contains(&0) && state.job.is_none() {
            parts.platform.snapshot(0, "factory".into()).await?;
        }
        match state.job {
            None => self.release(None)?,
            Some(job) => match &job.stage {
                Stage::Preparing { phase } => {
                    let failure =
                        Failure::new(Code::Interrupted, format!("the agent ended in phase {phase}"))
                            .hint("nothing was changed; start again");
                    self.release(Some(job.id))?;
                    self.record(|state| {
                        let entry = state.running()?.fail(vec![failure], Timestamp::now(), state.active)?;
                        state.end(entry);
                        Ok(())
                    })?;
                }
                Stage::Pending(_) => {
                    let context = self.adopt(job);
                    tokio::spawn(async move { flow::reboot(&context).await });
                }
                Stage::Activated(_) => {
                    let context = self.adopt(job);
                    tokio::spawn(async move { decide(&context).await });
                }
                Stage::Broken { .. } => {
                    self.adopt(job);
                }
            },
        }
        self.prune()?;
        self.refresh();
        Ok(())
    }

    /// The job that the record holds runs again.
    fn adopt(&self, job: Job) -> Context {
        let (abort, aborted) = watch::channel(false);
        *self.running() = Some(Running { abort, question: None, questions: 0 });
        self.inner.view.send_modify(|status| status.job = Some(view(&job)));
        Context::new(self.clone(), job, aborted)
    }

    /// A lock goes with its restore: with the one that is ending, or with one that is in the history.
    fn release(&self, ending: Option<Uuid>) -> Result<(), Failure> {
        let folder = self.parts().store.folder();
        let Some(lock) = lock::read(folder)? else { return Ok(()) };
        let over = self.parts().state.read()?.history.iter().any(|entry| entry.id == lock.id);
        if over || ending == Some(lock.id) {
            Held::resume(folder, lock.id)?.release()?;
        }
        Ok(())
    }

    /// Only what the record needs stays in the store.
    fn prune(&self) -> Result<(), Failure> {
        let parts = self.parts();
        let needed = parts.state.read()?.needed();
        let numbers = parts.store.numbers()?;
        numbers
            .iter()
            .filter(|number| !needed.contains(number))
            .try_for_each(|number| parts.store.remove(*number))
    }
}

/// Decides on the generation that was activated: it stays, or the job goes back.
pub(super) async fn decide(context: &Context) {
    let engine = &context.engine;
    let decided = async {
        let switch = match engine.parts().state.read()?.running()?.stage {
            Stage::Activated(switch) => switch,
            // Activation has found neither whole.
            _ => {
                engine.refresh();
                return Ok(());
            }
        };
        context.show(|view| view.phase = Phase::Finishing);
        if let Ok(held) = Held::resume(engine.parts().store.folder(), context.job.id) {
            held.set_phase(Phase::Finishing)?;
        }
        let failures = health(context, &switch).await?;
        if !failures.is_empty() && switch.back.is_empty() {
            failures.iter().for_each(|failure| context.note(failure.message.clone()));
            context.record(|job| job.go_back(failures))?;
            flow::reboot(context).await;
            return Ok(());
        }
        for failure in failures {
            tracing::warn!(code = %failure.code, "after going back: {failure}");
        }
        engine.release(Some(context.job.id))?;
        let ended = engine.record(|state| state.finish(Timestamp::now()));
        engine.prune()?;
        flow::conclude(context, ended);
        Ok::<_, Failure>(())
    };
    if let Err(failure) = decided.await {
        tracing::error!(code = %failure.code, "{failure}");
        context.note(failure.message);
    }
}

/// Looks until the appliance is healthy or the profile's time is over; answers with what is not.
async fn health(context: &Context, switch: &Switch) -> Result<Vec<Failure>, Failure> {
    let parts = context.engine.parts();
    let health = &parts.profile.health;
    let expected = parts.store.generation(switch.target)?.record.device.management;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(health.deadline);
    loop {
        let mut failures = Vec::new();
        // What cannot be looked at is not healthy either.
        match parts.platform.inactive_units(&health.units).await {
            Ok(inactive) if inactive.is_empty() => {}
            Ok(inactive) => failures.push(unhealthy(format!(
                "critical units: {} expected active, not active are {}",
                health.units.join(", "),
                inactive.join(", ")
            ))),
            Err(failure) => failures.push(unhealthy(format!("critical units: {failure}"))),
        }
        match parts.platform.management_addresses().await {
            Ok(addresses) => {
                let missing = expected.iter().find(|address| !addresses.contains(address));
                failures.extend(missing.map(|missing| {
                    let configured = addresses.join(", ");
                    unhealthy(format!("management address: {missing} expected, configured are {configured}"))
                }));
            }
            Err(failure) => failures.push(unhealthy(format!("management address: {failure}"))),
        }
        if failures.is_empty() || tokio::time::Instant::now() + PAUSE > deadline {
            return Ok(failures);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn unhealthy(why: String) -> Failure {
    Failure::new(Code::Unhealthy, why).hint("the old configuration comes back")
}
