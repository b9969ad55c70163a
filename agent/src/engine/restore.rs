//! The way of a restore up to its commit: received, agreed to, prepared.

use reinstate_api::{Failure, Phase, RestoreRequest, Source};
use tokio::sync::{oneshot, watch};

use super::candidate::{acceptable, identity, keep};
use super::context::Context;
use super::flow::{Made, Next, commit, ended_early, snapshot, take_number};
use super::group::{Company, free_group, without_peers};
use super::receive::{Receiving, receive};
use super::{address, firewall};
use crate::diff;
use crate::facts::Facts;
use crate::resolve::resolve;
use crate::stage::Staged;
use crate::tree::Index;

pub(super) async fn restore(
    context: &Context,
    request: &RestoreRequest,
    made: &mut Made,
) -> Result<Next, Vec<Failure>> {
    let one = |failure: Failure| vec![failure];
    let parts = context.engine.parts();
    let (facts, live) = tokio::join!(parts.platform.facts(), parts.platform.scan());
    let (facts, live) = (facts.map_err(one)?, live.map_err(one)?);
    let unknown = context.engine.learn_group().await.err();
    free_group(context, &facts).await?;
    let staged = receive_and_ask(context, request, (&facts, unknown), &live, made).await?;
    prepare(context, request, &facts, &live, staged, made).await
}

/// Receives while the question is open: whichever fails first ends both.
async fn receive_and_ask(
    context: &Context,
    request: &RestoreRequest,
    (facts, unknown): (&Facts, Option<Failure>),
    live: &Index,
    made: &mut Made,
) -> Result<Staged, Vec<Failure>> {
    let draft = context.engine.parts().store.draft("restore").map_err(|f| vec![f])?;
    let (seen, being_seen) = oneshot::channel();
    let (stop, stopping) = watch::channel(false);
    let receiving = Receiving { facts: facts.clone(), live: live.clone(), draft, seen, stop: stopping };
    let check = request.check;
    let receiving = receive(context, request, receiving);
    let asking = async {
        let one = |failure: Failure| vec![failure];
        let Ok(mut seen) = being_seen.await else {
            // Receiving has ended, and says why.
            return std::future::pending().await;
        };
        let mut company = Company::with_backup(context, facts, &seen, unknown).map_err(one)?;
        if let Some(membership) = seen.membership.take() {
            company.introduce(context, facts, membership).await.map_err(one)?;
        }
        let (examined, admitted) = tokio::join!(company.examine(context), firewall::present(context, &seen));
        let found = [examined.err(), admitted.err()].into_iter().flatten().flatten().collect();
        let refused = without_peers(context, &request.overrides, found).map_err(one)?;
        if !refused.is_empty() {
            return Err(refused);
        }
        if check {
            return company.check(&request.overrides);
        }
        address::foretell(context, facts).await;
        if let Some(minutes) = request.confirm_within {
            context.note(format!(
                "after the restart `restore confirm` has to be typed within {minutes} min, or the present \
                 configuration comes back"
            ));
        }
        context.advance(Phase::AwaitingAnswer).map_err(one)?;
        context.confirm().await.map_err(one)?;
        company.agree(context, &request.overrides).await.map_err(one)?;
        made.held = Some(company.lock(context, &request.overrides).await.map_err(one)?);
        Ok(())
    };
    tokio::pin!(receiving, asking);
    let (mut staged, mut agreed) = (None, false);
    loop {
        let ended = tokio::select! {
            received = &mut receiving, if staged.is_none() => {
                staged = Some(received?);
                None
            }
            answer = &mut asking, if !agreed => match answer {
                Ok(()) => {
                    agreed = true;
                    if staged.is_none() && !check {
                        context.note("agreed; waiting for the rest of the backup");
                    }
                    None
                }
                Err(failures) => Some(failures),
            },
            failure = context.aborted() => Some(vec![failure]),
        };
        if let Some(failures) = ended {
            // The thread that stages must have ended before its draft is thrown away.
            stop.send_replace(true);
            if staged.is_none() {
                let _ = receiving.await;
            }
            return Err(failures);
        }
        if let (true, Some(staged)) = (agreed, staged.take_if(|_| agreed)) {
            return Ok(staged);
        }
    }
}

async fn prepare(
    context: &Context,
    request: &RestoreRequest,
    facts: &Facts,
    live: &Index,
    staged: Staged,
    made: &mut Made,
) -> Result<Next, Vec<Failure>> {
    let one = |failure: Failure| vec![failure];
    let parts = context.engine.parts();
    let snapshot = snapshot(context, made).await.map_err(one)?;
    let Staged { mut draft, manifest, present } = staged;
    let engine = context.engine.clone();
    let (from, domains) = (snapshot.clone(), present.clone());
    let resolved = tokio::task::spawn_blocking(move || {
        let notes = resolve(&mut draft, &engine.parts().domains, &domains, &from)?;
        Ok::<_, Failure>((draft, notes))
    });
    let (draft, mut notes) = resolved.await.map_err(|_| one(ended_early()))?.map_err(one)?;
    notes.iter().for_each(|note| context.note(note.clone()));
    let changes = diff::exact(&parts.domains, &present, live, draft.index());
    context.show(|view| view.changes = changes);

    context.advance(Phase::Validating).map_err(one)?;
    let number = take_number(context, made).map_err(one)?;
    let file = match &request.source {
        Source::Backup(file) => file.clone(),
        Source::Location(location) => location.path.clone(),
    };
    let archive = manifest.details(file.rsplit('/').next().unwrap_or_default());
    let target =
        keep(context, draft, number, format!("backup {file}"), manifest.device.clone(), Some(archive));
    let target = target.await.map_err(one)?;
    identity(&manifest, &target.tree().map_err(one)?, parts).map_err(one)?;
    acceptable(context, &target, &snapshot).await.map_err(one)?;
    let management = &manifest.device.management;
    let (refused, looked) =
        tokio::join!(parts.platform.validate(number), address::look(context, facts, management));
    let refused = refused.map_err(one)?;
    let mut refused = firewall::backup(context, number, &manifest, refused).await.map_err(one)?;
    match address::heed(context, request, facts, management, looked) {
        Ok(told) => notes.extend(told),
        Err(failures) => refused.extend(failures),
    }
    let refused = without_peers(context, &request.overrides, refused).map_err(one)?;
    if !refused.is_empty() {
        return Err(refused);
    }
    if request.check {
        return Ok(Next::Checked);
    }
    commit(context, made, number, snapshot.number(), notes).await.map_err(one)?;
    Ok(Next::Reboot)
}
