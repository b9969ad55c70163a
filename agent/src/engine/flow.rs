//! The way of one job, from its request to the reboot.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use reinstate_api::{Code, Failure, HistoryEntry, Override, Phase};

use super::candidate::acceptable;
use super::configure::{configure, delete_manager};
use super::context::Context;
use super::group::Company;
use super::restore::restore;
use super::{Work, finish, guest};
use crate::diff;
use crate::job::{MAX_REBOOTS, Stage};
use crate::peers::GroupHeld;
use crate::store::Generation;

/// A restart that takes longer does not come.
pub(super) const RESTART: Duration = Duration::from_secs(5 * 60);

/// Between the announcement of the reboot and the reboot: whoever watches hears of it.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// What a job has made before its commit: thrown away when it fails.
#[derive(Default)]
pub(super) struct Made {
    pub(super) held: Option<GroupHeld>,
    generations: Vec<u64>,
}

/// What comes after the preparation.
pub(super) enum Next {
    Reboot,
    /// The pending generation is activated without a reboot.
    ActivateNow,
    /// A check that found nothing wrong.
    Checked,
}

pub(super) async fn run(context: Context, work: Work) {
    let mut made = Made::default();
    let prepared = match work {
        Work::Restore(request) => restore(&context, &request, &mut made).await,
        Work::Return { number } => go_to(&context, number, &mut made).await,
        Work::DeleteManager => delete_manager(&context, &mut made).await.map_err(|f| vec![f]),
        Work::Configure(request) => configure(&context, request, &mut made).await.map_err(|f| vec![f]),
    };
    match prepared {
        Ok(Next::Reboot) => reboot(&context).await,
        Ok(Next::ActivateNow) => activate_now(&context).await,
        Ok(Next::Checked) => end(&context, made, None).await,
        Err(failures) => end(&context, made, Some(failures)).await,
    }
}

/// The end of a job that has changed nothing. The record is asked first: after an unclear error it
/// may hold a commit, and then nothing of the job may be thrown away.
async fn end(context: &Context, made: Made, failures: Option<Vec<Failure>>) {
    let engine = context.engine.clone();
    match engine.parts().state.read().map(|state| state.job.map(|job| job.stage)) {
        Ok(Some(Stage::Preparing { .. })) => {}
        Ok(Some(Stage::Pending(_))) => return reboot(context).await,
        _ => {
            let unclear = Failure::new(Code::StateUnreadable, "the record of the job is gone");
            return conclude(context, Err(unclear));
        }
    }
    // Before the record: a full disk has room for it again.
    let cleaned = tokio::task::spawn_blocking(move || {
        let store = &engine.parts().store;
        engine.log("drafts cannot be thrown away", store.discard_drafts());
        for number in made.generations {
            engine.log("a generation cannot be removed", store.remove(number));
        }
    });
    if cleaned.await.is_err() {
        tracing::error!("the cleaning thread ended early");
    }
    let ended = context.engine.record(|state| {
        let (job, now, active) = (state.running()?, Timestamp::now(), state.active);
        let entry = match failures {
            Some(failures) => job.fail(failures, now, active)?,
            None => job.checked(now, active)?,
        };
        state.end(entry.clone());
        Ok(entry)
    });
    context.engine.release(Some(context.job.id));
    context.engine.part_from_members().await;
    conclude(context, ended);
}

/// A fault of the agent itself in the middle of a job.
pub(super) async fn give_up(context: &Context) {
    let failure = Failure::new(Code::Internal, "the agent made a mistake; its log tells more");
    end(context, Made::default(), Some(vec![failure])).await;
}

/// Shows the end of a job; one that cannot be put on record is said to be running still.
pub(super) fn conclude(context: &Context, ended: Result<HistoryEntry, Failure>) {
    match ended {
        Ok(entry) => context.ended(&entry),
        Err(failure) => {
            tracing::error!(code = %failure.code, "the end of the job cannot be put on record: {failure}");
            context.note(failure.message);
        }
    }
}

/// Back to a generation that the store has.
async fn go_to(context: &Context, number: u64, made: &mut Made) -> Result<Next, Vec<Failure>> {
    let one = |failure: Failure| vec![failure];
    let parts = context.engine.parts();
    let target = parts.store.generation(number).map_err(one)?;
    let index = target.index().map_err(one)?;
    let facts = parts.platform.facts().await.map_err(one)?;
    let live = parts.platform.scan().await.map_err(one)?;
    let present = target.record.domains.iter().cloned().collect();
    let changes = diff::exact(&parts.domains, &present, &live, &index);
    context.show(|view| view.changes = changes);
    context.note(format!(
        "this appliance becomes {} ({}) again: {}",
        target.record.device.hostname,
        target.record.device.management.join(", "),
        target.record.origin
    ));
    if number == 0 {
        warn_of_backups(context).map_err(one)?;
    }
    let unknown = context.engine.learn_group().await.err();
    let mut company = Company::present(context, &facts, unknown);
    tokio::select! {
        examined = company.examine(context) => examined?,
        failure = context.aborted() => return Err(vec![failure]),
    }
    // The way back has no words in its line: what has to be said is asked for.
    let words = BTreeSet::from([Override::WithoutControl]);
    let decided = async {
        context.advance(Phase::AwaitingAnswer)?;
        context.confirm().await?;
        company.agree(context, &words).await?;
        guest::keep_way_back(&context.engine, &facts)?;
        made.held = Some(company.lock(context, &words).await?);
        let snapshot = snapshot(context, made).await?;
        context.advance(Phase::Validating)?;
        acceptable(context, &target, &snapshot).await?;
        // What was live once is validated no more: the way back must not depend on a checker.
        commit(context, made, number, snapshot.number(), Vec::new()).await
    };
    decided.await.map_err(one)?;
    Ok(Next::Reboot)
}

fn warn_of_backups(context: &Context) -> Result<(), Failure> {
    let backups = context.engine.backup_files()?;
    if !backups.is_empty() {
        let names = backups.join(", ");
        context.note(format!(
            "backups that may exist only on this appliance; copy them away if it is to be given away: {names}"
        ));
    }
    Ok(())
}

/// What a rollback goes back to. From here on the live configuration is not edited.
pub(super) async fn snapshot(context: &Context, made: &mut Made) -> Result<Generation, Failure> {
    context.advance(Phase::Snapshotting)?;
    let parts = context.engine.parts();
    let number = take_number(context, made)?;
    let origin = format!("snapshot before {} {}", context.job.kind, context.job.id);
    parts.platform.snapshot(number, origin).await?;
    parts.store.generation(number)
}

pub(super) fn take_number(context: &Context, made: &mut Made) -> Result<u64, Failure> {
    let number = context.engine.record(|state| Ok(state.take_number()))?;
    made.generations.push(number);
    Ok(number)
}

/// The point of no return: one fsynced rename, after every member was told and has our lock still.
pub(super) async fn commit(
    context: &Context,
    made: &mut Made,
    target: u64,
    from: u64,
    notes: Vec<String>,
) -> Result<(), Failure> {
    let held =
        made.held.as_mut().ok_or_else(|| Failure::new(Code::Internal, "a commit needs the restore lock"))?;
    context.advance(Phase::Committing)?;
    let announced = held.committing().await?;
    context.still_wanted()?;
    context.record(|job| job.commit(target, from, notes, &announced))
}

/// Asks for the reboot that activates what is pending; the agent is ended by it.
pub(super) async fn reboot(context: &Context) {
    let asked = async {
        let reboots = context.engine.record(|state| {
            let job = state.running()?;
            state.job = Some(job.rebooting()?);
            Ok(state.reboots())
        })?;
        context.show(|view| view.phase = Phase::Rebooting);
        if reboots > MAX_REBOOTS {
            return Err(Failure::new(
                Code::RebootFailed,
                format!("{MAX_REBOOTS} reboots were asked for and none came"),
            ));
        }
        tokio::time::sleep(FAREWELL).await;
        context.engine.parts().platform.reboot().await?;
        // systemd may still refuse what logind has taken, and tells nobody.
        tokio::time::sleep(RESTART).await;
        let minutes = RESTART.as_secs() / 60;
        let why = format!("the restart that was asked for has not come in {minutes} minutes");
        Err(Failure::new(Code::RebootFailed, why))
    };
    let asked: Result<(), Failure> = asked.await;
    if let Err(failure) = asked {
        crate::log::error(&failure);
        context.note(format!("{failure}; restart the appliance by hand, the restore goes on at its boot"));
    }
}

/// Without a reboot, whichever way the job goes.
pub(super) async fn activate_now(context: &Context) {
    let parts = context.engine.parts();
    if let Err(failure) = parts.platform.activate_now().await {
        crate::log::error(&failure);
        context.note(failure.message);
    }
    // However it ended, the record tells how far it came; a boot goes on where it broke off.
    match parts.state.read().map(|state| state.job.map(|job| job.stage)) {
        Ok(Some(Stage::Pending(_))) => reboot(context).await,
        // Deciding may lead here again: once, on the way back.
        _ => Box::pin(finish::decide(context)).await,
    }
}

pub(super) fn ended_early() -> Failure {
    Failure::new(Code::Internal, "a thread of the job ended early")
}
