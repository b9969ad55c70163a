//! What was restored waits for an admin's confirmation, where that was asked for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reinstate_api::{
    CONFIGURE_WITHIN, CONFIRM_WITHIN, Change, Code, ConfigureRequest, Failure, JobKind, RestoreRequest,
};

use super::Engine;
use super::context::Context;
use crate::clock::uptime;
use crate::configure::is_risky;

/// Before the end every session is warned at these numbers of seconds.
const WARNINGS: [u64; 4] = [600, 300, 120, 60];

/// # Errors
/// `bad-request` where the time for it is out of range.
pub(super) fn check(request: &RestoreRequest) -> Result<(), Failure> {
    let Some(minutes) = request.confirm_within.filter(|minutes| !CONFIRM_WITHIN.contains(minutes)) else {
        return Ok(());
    };
    let (least, most) = CONFIRM_WITHIN.into_inner();
    Err(Failure::new(Code::BadRequest, format!("confirm-within is {minutes} minutes, of {least} to {most}")))
}

/// Minutes within which a change of the configuration has to be confirmed.
pub(super) fn wanted(request: &ConfigureRequest) -> Option<u32> {
    let risky = request.changes.iter().any(is_risky);
    // A password keeps nobody out who has just typed it; to wait for that would only keep everything else away.
    let passwords = request.changes.iter().all(|change| matches!(change, Change::Password { .. }));
    match request.setup || passwords {
        true => None,
        false => request.confirm_within.or(risky.then_some(CONFIGURE_WITHIN)),
    }
}

/// What is waited for, and what to do where it was in vain.
fn late(kind: JobKind, minutes: u32) -> Failure {
    let (what, again) = match kind {
        JobKind::Configure => ("the change of the configuration", "make the change again"),
        _ => ("the restored configuration", "restore again"),
    };
    Failure::new(Code::Unconfirmed, format!("{what} was not confirmed within {minutes} min"))
        .hint(format!("{again}, and type `{}` in time", kind.confirmation()))
}

impl Engine {
    /// What was restored, or configured, stays.
    ///
    /// # Errors
    /// `not-found` where nothing waits for that.
    pub fn confirm(&self, by: &str) -> Result<(), Failure> {
        self.record(|state| {
            let job = state
                .job
                .take()
                .ok_or_else(|| Failure::new(Code::NotFound, "nothing waits for a confirmation"))?;
            state.job = Some(job.confirmed(by)?);
            Ok(())
        })?;
        self.inner.confirmed.notify_waiters();
        Ok(())
    }
}

/// Waits as long as the record says. False: nobody has confirmed it, and the job goes back by now.
pub(super) async fn stays(context: &Context) -> Result<bool, Failure> {
    let engine = &context.engine;
    if context.job.confirmation.is_none() {
        return Ok(true);
    }
    loop {
        // Whoever confirms from here on is heard below.
        let confirmed = engine.inner.confirmed.notified();
        tokio::pin!(confirmed);
        confirmed.as_mut().enable();
        let now = uptime()?;
        let asked = engine.record(|state| {
            let job = state.running()?;
            let Some(minutes) = job.confirmation.as_ref().map(|confirmation| confirmation.minutes) else {
                return Ok(None);
            };
            let job = job.awaiting(now)?;
            let left = job.confirmation.as_ref().and_then(|confirmation| confirmation.deadline);
            let left = left.map_or(0, |deadline| deadline.saturating_sub(now));
            let late = late(job.kind, minutes);
            state.job = Some(if left == 0 { job.go_back(vec![late.clone()])? } else { job });
            Ok(Some((left, late)))
        })?;
        let (left, late) = match asked {
            None => {
                context.show(|view| view.confirm_until = None);
                return Ok(true);
            }
            Some((0, late)) => {
                crate::log::error(&late);
                context.note(late.message);
                return Ok(false);
            }
            Some(some) => some,
        };
        let until = Timestamp::now() + SignedDuration::from_secs(left as i64);
        context.show(|view| view.confirm_until = Some(until));
        engine.refresh();
        // The time runs, however long that takes.
        let (warning, kind) = (engine.clone(), context.job.kind);
        tokio::spawn(async move {
            let warned = warning.parts().platform.warn(left, kind).await;
            warning.log("the sessions cannot be warned", warned);
        });
        tracing::warn!(code = %late.code, "{left} s are left to confirm what was changed");
        let next = WARNINGS.into_iter().find(|warning| *warning < left).unwrap_or(0);
        tokio::select! {
            () = &mut confirmed => {}
            () = tokio::time::sleep(Duration::from_secs(left - next)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use reinstate_api::Secret;

    use super::*;

    #[test]
    fn nothing_waits_for_a_password_to_be_confirmed() {
        let password = || Change::Password { user: None, password: Secret::new("x".into()) };
        let host = || Change::Hostname("fw".into());
        let within = |changes| wanted(&ConfigureRequest { changes, confirm_within: Some(9), setup: false });
        assert_eq!(within(vec![password(), password()]), None);
        assert_eq!(within(vec![password(), host()]), Some(9));
    }
}
