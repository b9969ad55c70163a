//! After a start: what a crash or a reboot has left is brought to its end.

use std::time::Duration;

use jiff::Timestamp;
use reinstate_api::{Code, Failure, JobKind, Phase, Role};
use tokio::sync::watch;
use uuid::Uuid;

use super::context::Context;
use super::group::rejoined;
use super::{Engine, Running, address, confirm, flow, view};
use crate::job::{Job, Stage, Switch};
use crate::lock::Held;
use crate::state::State;

/// Between two looks at the appliance's health.
const PAUSE: Duration = Duration::from_millis(500);

/// Before what could not be decided is decided again.
const AGAIN: Duration = Duration::from_secs(5);

impl Engine {
    /// Brings the record, the store and the lock to where the last run's end left them, and goes on
    /// with the job that a reboot was part of.
    pub async fn recover(&self) -> Result<(), Failure> {
        let parts = self.parts();
        // A process that the last run has started may still be at work.
        let store = parts.store.clone();
        let alone = tokio::task::spawn_blocking(move || store.alone().map(drop));
        alone.await.map_err(|_| Failure::new(Code::Internal, "the waiting thread ended early"))??;
        let state = self.state()?;
        let fresh = state.active == 0 && state.next == 1 && state.job.is_none();
        match state.job {
            None => self.release(None),
            Some(job) => match &job.stage {
                Stage::Preparing { phase } => {
                    let failure =
                        Failure::new(Code::Interrupted, format!("the agent ended in phase {phase}"))
                            .hint("nothing was changed; start again");
                    self.record(|state| {
                        let entry = state.running()?.fail(vec![failure], Timestamp::now(), state.active)?;
                        state.end(entry);
                        Ok(())
                    })?;
                    self.release(Some(job.id));
                }
                Stage::Pending(_) => {
                    let context = self.adopt(job);
                    tokio::spawn(async move { flow::reboot(&context).await });
                }
                Stage::Activated(_) => {
                    let context = self.adopt(job);
                    tokio::spawn(async move { decide(&context).await });
                }
                Stage::Broken(_) => {
                    self.adopt(job);
                }
            },
        }
        // What is left over is in nobody's way; that it could not be removed is no reason to stop.
        self.log("drafts cannot be thrown away", parts.store.discard_drafts());
        self.log("old generations cannot be removed", self.prune());
        self.log("what has broken off cannot be removed from /var/sf/backup", self.sweep_files());
        if fresh && !parts.store.numbers()?.contains(&0) {
            let factory = parts.platform.snapshot(0, "factory".into()).await;
            self.log("the factory's configuration cannot be kept", factory);
        }
        self.log("the lock journals cannot be tidied", self.peers().journals.tidy());
        self.look_at_group().await;
        self.refresh();
        tokio::spawn(self.clone().keep_telling());
        tokio::spawn(self.clone().keep_peers());
        Ok(())
    }

    /// Does this generation come with a manager that is told of its restore?
    fn is_managed(&self, number: u64) -> bool {
        let parts = self.parts();
        let told = parts.profile.manager.as_ref().is_some_and(|manager| manager.check_in.is_some());
        told && match parts.store.generation(number) {
            Ok(generation) => generation.record.archive.is_some_and(|archive| archive.manager.is_some()),
            // It is asked again before the manager is told.
            Err(_) => true,
        }
    }

    /// The record, which must not be missing where there are generations that it told of.
    pub(super) fn state(&self) -> Result<State, Failure> {
        let parts = self.parts();
        let state = parts.state.read()?;
        let last = parts.store.numbers()?.last().copied().unwrap_or_default();
        if state.revision == 0 && last > 0 {
            return Err(Failure::new(
                Code::StateUnreadable,
                format!("/var/lib/reinstate/state.toml is missing, and generations up to {last} are there"),
            )
            .hint("nothing was touched; put the file back from a copy"));
        }
        Ok(state)
    }

    /// Says what went wrong where the work goes on all the same.
    pub(super) fn log(&self, what: &str, result: Result<(), Failure>) {
        if let Err(failure) = result {
            tracing::error!(code = %failure.code, "{what}: {failure}");
            self.trouble(format!("{what}: {failure}"));
        }
    }

    /// The job that the record holds runs again.
    fn adopt(&self, job: Job) -> Context {
        let (abort, aborted) = watch::channel(false);
        *self.running() = Some(Running { abort, question: None, questions: 0 });
        self.inner.view.send_modify(|status| status.job = Some(view(&job)));
        Context::new(self.clone(), job, aborted)
    }

    /// A lock goes with its restore: with the one that is ending, or with one that is in the history.
    pub(super) fn release(&self, ending: Option<Uuid>) {
        let release = || {
            let file = &self.peers().lock;
            let Some(lock) = file.read()? else { return Ok(()) };
            let over = self.parts().state.read()?.history.iter().any(|entry| entry.id == lock.id);
            match over || ending == Some(lock.id) {
                true => file.release(lock.id),
                false => Ok(()),
            }
        };
        self.log("the restore lock cannot be released", release());
    }
}

/// Decides on the generation that was activated: it stays, or the job goes back. What stands in the way of that, for
/// instance a full disk, may pass: nobody else would decide.
pub(super) async fn decide(context: &Context) {
    let mut told = String::new();
    while let Err(failure) = decide_now(context).await {
        if failure.message != told {
            crate::log::error(&failure);
            context.note(failure.message.clone());
            told = failure.message;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn decide_now(context: &Context) -> Result<(), Failure> {
    let engine = &context.engine;
    let Some(job) = engine.parts().state.read()?.job else { return Ok(()) };
    let switch = match job.stage {
        Stage::Activated(switch) => switch,
        // An error came after the record was written, or before it could be read.
        Stage::Pending(_) => {
            go_back(context).await;
            return Ok(());
        }
        // Activation has found neither whole.
        Stage::Preparing { .. } | Stage::Broken(_) => {
            engine.refresh();
            return Ok(());
        }
    };
    context.show(|view| view.phase = Phase::Finishing);
    let held = Held::resume(&engine.peers().lock, context.job.id);
    engine.log("the restore lock", held.and_then(|held| held.set_phase(Phase::Finishing)));
    let mut failures = health(context, &switch).await;
    // Whose a lost address is matters no more on the way back.
    if failures.is_empty() && switch.back.is_empty() && context.job.kind == JobKind::Restore {
        failures = address::conflicts(context, switch.target).await;
    }
    if !failures.is_empty() && switch.back.is_empty() {
        for failure in &failures {
            crate::log::error(failure);
            context.note(failure.message.clone());
        }
        context.record(|job| job.go_back(failures))?;
        go_back(context).await;
        return Ok(());
    }
    for failure in failures {
        tracing::warn!(code = %failure.code, "after going back: {failure}");
    }
    if !confirm::stays(context).await? {
        go_back(context).await;
        return Ok(());
    }
    let role = present_role(engine).await;
    if role == Role::Control {
        rejoined(context, role).await;
    }
    if switch.back.is_empty() {
        let trust = engine.trust();
        for (host, port) in &job.forget {
            engine.log("a host's key cannot be forgotten", trust.forget(host, *port));
        }
    }
    engine.release(Some(context.job.id));
    let managed = engine.is_managed(switch.target);
    let entry = engine.record(|state| {
        let entry = state.finish(Timestamp::now())?;
        state.follow(&entry, managed);
        Ok(entry)
    })?;
    engine.part_from_members().await;
    // Before the next job can begin, whose generations nothing needs yet.
    engine.prune_beside().await;
    context.ended(&entry);
    if role != Role::Control {
        rejoined(context, role).await;
    }
    Ok(())
}

/// To what is pending, as the job came: what was activated without a reboot goes without one.
async fn go_back(context: &Context) {
    match context.job.kind {
        JobKind::Configure => flow::activate_now(context).await,
        _ => flow::reboot(context).await,
    }
}

/// The role that the live configuration gives this appliance.
async fn present_role(engine: &Engine) -> Role {
    let facts = engine.parts().platform.facts().await;
    facts.map(|facts| facts.device.role).unwrap_or_default()
}

/// Looks until the appliance is healthy or the profile's time is over; answers with what is not.
async fn health(context: &Context, switch: &Switch) -> Vec<Failure> {
    let seconds = context.engine.parts().profile.health.deadline;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
    loop {
        let failures = look(context, switch).await.unwrap_or_else(|failure| {
            let why = format!("the appliance's health cannot be told: {failure}");
            vec![Failure::new(Code::Unhealthy, why).hint(&failure.hint)]
        });
        if failures.is_empty() || tokio::time::Instant::now() + PAUSE > deadline {
            return failures;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(context: &Context, switch: &Switch) -> Result<Vec<Failure>, Failure> {
    let parts = context.engine.parts();
    let units = &parts.profile.health.units;
    let unhealthy = |why: String| Failure::new(Code::Unhealthy, why).hint("the old configuration comes back");
    let mut failures = Vec::new();
    let inactive = parts.platform.inactive_units(units).await?;
    if !inactive.is_empty() {
        failures.push(unhealthy(format!(
            "critical units: {} expected active, not active are {}",
            units.join(", "),
            inactive.join(", ")
        )));
    }
    let expected = parts.store.generation(switch.target)?.record.device.management;
    let addresses = parts.platform.management_addresses().await?;
    // An address that a server gives is a warning at most.
    let fixed = |address: &&String| address.contains('/');
    if let Some(missing) = expected.iter().filter(fixed).find(|wanted| !has(&addresses, wanted)) {
        let configured = addresses.join(", ");
        failures
            .push(unhealthy(format!("management address: {missing} expected, configured are {configured}")));
    }
    Ok(failures)
}

/// An IPv6 address can be written in several ways.
fn has(addresses: &[String], wanted: &str) -> bool {
    let parsed = |text: &str| {
        let (ip, prefix) = text.split_once('/')?;
        Some((ip.parse::<std::net::IpAddr>().ok()?, prefix.parse::<u8>().ok()?))
    };
    addresses
        .iter()
        .any(|address| address == wanted || parsed(address).is_some_and(|a| Some(a) == parsed(wanted)))
}
