//! The restore lock: who holds it, here and in the HA group, and the way on where it is in the way.

use reinstate_api::{ClearLock, Failure, HaState, Lock, MemberView, Phase, Status};
use serde::de::IgnoredAny;
use uuid::Uuid;

use crate::question::{agreed, heard};
use crate::show::{describe, sentence};
use crate::text::time;
use crate::{Exit, Flow, Shell};

pub fn show(shell: &mut Shell) -> Result<Flow, Vec<Failure>> {
    let status: Status = shell.client.get("/v1/status")?;
    holder(shell, "This appliance", status.lock.as_ref());
    if let Some(group) = &status.group {
        sentence(
            shell,
            "HA group",
            format!("{}, this appliance is its {}, {}", group.name, group.role, group.state),
        );
        for member in &group.members {
            shell.console.line("");
            show_member(shell, member);
        }
    }
    for release in &status.releases {
        shell.console.line("");
        let state = match release.why.as_str() {
            "" => "not asked for yet".to_owned(),
            why => format!("asked for {} times in vain: {why}", release.attempts),
        };
        sentence(
            shell,
            "Release",
            format!("of restore {} on {}, {state}", release.restore, release.hostname),
        );
    }
    for warning in &status.warnings {
        shell.console.text(format!("Warning: {warning}"));
    }
    Ok(Flow::Next(Exit::Ok))
}

fn show_member(shell: &mut Shell, member: &MemberView) {
    let MemberView { hostname, role, addresses, state, silence, lock, at, .. } = member;
    sentence(shell, "Member", format!("{hostname} ({role}), {}", addresses.join(", ")));
    match state {
        Some(state) => {
            sentence(shell, "Answered", format!("{}, HA state {}", time(*at), HaState::as_str(*state)));
            holder(shell, "Its restore lock", lock.as_ref());
        }
        None => sentence(shell, "Answered", format!("not, {}: {silence}", time(*at))),
    }
}

fn holder(shell: &mut Shell, key: &str, lock: Option<&Lock>) {
    sentence(shell, key, lock.map_or_else(|| "not locked".to_owned(), describe));
    if let Some(lock) = lock {
        sentence(shell, "Restore", lock.id.to_string());
        if !lock.without.is_empty() {
            sentence(shell, "Without", lock.without.join(", "));
        }
    }
}

/// Asks, wants a reason, and asks twice where the restore has said that it commits.
pub fn clear(shell: &mut Shell) -> Result<Flow, Vec<Failure>> {
    let status: Status = shell.client.get("/v1/status")?;
    let Some(restore) = what_is_held(shell, &status) else {
        shell.console.line("No restore lock is held here, and no release is owed.");
        return Ok(Flow::Next(Exit::Ok));
    };
    let committing = status.lock.as_ref().is_some_and(|lock| lock.phase >= Phase::Committing);
    shell
        .console
        .line("Its restore does not notice until it is about to commit; another one can begin at once.");
    if !agreed(shell, "Are you sure you want to clear it (Y/N): ") {
        return Ok(kept(shell));
    }
    if committing {
        shell
            .console
            .line("That restore has said that it commits. If its appliance is alive, two members of the");
        shell
            .console
            .line("group may become restored at once. Clear its lock only where it is known to be off.");
        // A second yes that was typed before this was read is none.
        shell.console.forget_ahead();
        if !agreed(shell, "Is that appliance known to be off (Y/N): ") {
            return Ok(kept(shell));
        }
    }
    let Some(reason) = heard(shell, "Reason, kept on record: ").filter(|reason| !reason.is_empty()) else {
        return Ok(kept(shell));
    };
    shell.client.post::<IgnoredAny>("/v1/lock/clear", &ClearLock { restore, reason, committing })?;
    shell.console.line("Cleared. `show restore history` tells by whom.");
    Ok(Flow::Next(Exit::Ok))
}

/// The lock of this appliance, or the first release that is owed.
fn what_is_held(shell: &mut Shell, status: &Status) -> Option<Uuid> {
    if let Some(lock) = &status.lock {
        holder(shell, "Restore lock", Some(lock));
        return Some(lock.id);
    }
    let release = status.releases.first()?;
    sentence(
        shell,
        "Release",
        format!("of restore {} on {}, not confirmed", release.restore, release.hostname),
    );
    Some(release.restore)
}

fn kept(shell: &mut Shell) -> Flow {
    shell.console.line("Nothing was cleared.");
    Flow::Next(Exit::Failed)
}
