//! A restore among members goes on only where they reach this appliance: its firewall lets them in, as it
//! is and as the backup brings it.

use reinstate_api::{Code, Failure};

use super::context::Context;
use crate::archive::Manifest;
use crate::firewall::{Caller, Firewall, Trial, callers, judge};
use crate::stage::Seen;
use crate::validate::Tree;

/// How many connections are asked for in one request: more would not fit into the longest one.
const AT_ONCE: usize = 64;

/// The firewall of the present configuration. Where this appliance is no member yet the others are only
/// its callers for the time of the restore, so that nothing is refused, and everything told.
///
/// # Errors
/// `peer-port-closed` for each member that is not let in; that it cannot be tried.
pub(super) async fn present(context: &Context, seen: &Seen) -> Result<(), Vec<Failure>> {
    let Some(ha) = &context.engine.parts().profile.ha else { return Ok(()) };
    let (own, becomes) = (context.engine.peers().own(), seen.device.uuid.as_str());
    let callers = match (&own, &seen.group) {
        (Some(own), _) => callers(ha, &own.membership.group, [&own.device, becomes]),
        (None, Some(group)) => callers(ha, group, [becomes; 2]),
        (None, None) => return Ok(()),
    };
    let judged = tried(context, Tree::Live, Firewall::Present, &callers).await;
    let refusals = match judged.map_err(|failure| vec![failure])? {
        Ok(refusals) => refusals,
        Err(why) => {
            context.note(format!("{} cannot be tried: {why}", Firewall::Present.name()));
            return Ok(());
        }
    };
    if own.is_none() {
        refusals.into_iter().for_each(|refusal| context.note(refusal.message));
        return Ok(());
    }
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

/// The firewall of the backup, staged as this generation; its refusals come after those of the validators.
pub(super) async fn backup(
    context: &Context,
    number: u64,
    manifest: &Manifest,
    mut refused: Vec<Failure>,
) -> Result<Vec<Failure>, Failure> {
    let Some((ha, group)) = context.engine.parts().profile.ha.as_ref().zip(manifest.ha.as_ref()) else {
        return Ok(refused);
    };
    let own = context.engine.peers().own().map(|own| own.device);
    let becomes = manifest.device.uuid.as_str();
    let callers = callers(ha, group, [becomes, own.as_deref().unwrap_or(becomes)]);
    match tried(context, Tree::Generation(number), Firewall::Backup, &callers).await? {
        Ok(refusals) => refused.extend(refusals),
        // A validator has said so already, and better.
        Err(_) if !refused.is_empty() => {}
        Err(why) => refused.push(
            Failure::new(
                Code::ValidationFailed,
                format!("{} cannot be tried: {why}", Firewall::Backup.name()),
            )
            .hint(
                "the configuration in the backup is not one that this software accepts; nothing was changed",
            ),
        ),
    }
    Ok(refused)
}

/// What is refused, or why nothing was tried.
async fn tried(
    context: &Context,
    tree: Tree,
    firewall: Firewall,
    callers: &[Caller],
) -> Result<Result<Vec<Failure>, String>, Failure> {
    let parts = context.engine.parts();
    let Some(ha) = parts.profile.ha.as_ref().filter(|ha| ha.ruleset.is_some()) else {
        return Ok(Ok(Vec::new()));
    };
    let connections: Vec<_> = callers.iter().flat_map(|caller| caller.connections.clone()).collect();
    let mut closed = Vec::new();
    for some in connections.chunks(AT_ONCE) {
        match parts.platform.admits(tree, some).await? {
            Trial::Closed(more) => closed.extend(more),
            Trial::NotLoaded(why) => return Ok(Err(why)),
        }
    }
    let (refusals, notes) = judge(firewall, ha.port, callers, &closed);
    notes.into_iter().for_each(|note| context.note(note));
    Ok(Ok(refusals))
}
