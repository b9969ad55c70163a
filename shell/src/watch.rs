//! Watching a job: its phases, its progress, its questions, its end. The job is the agent's; to
//! stop watching never stops it.

use jiff::Timestamp;
use reinstate_api::{HistoryEntry, JobKind, JobView, Outcome, Phase, QuestionKind, Status, Texts};
use uuid::Uuid;

use crate::client::{Event, Events};
use crate::details;
use crate::progress::Shown;
use crate::question::{self, Answered};
use crate::text::time;
use crate::{Exit, Flow, Shell};

/// What was shown of a job.
#[derive(Default)]
struct Seen {
    phase: Option<Phase>,
    /// What was committed becomes active with a restart.
    restarts: bool,
    notes: usize,
    /// Until when it has to be confirmed.
    confirm_until: Option<Timestamp>,
    progress: Shown,
    /// The question that was answered from here.
    answered: Option<u64>,
}

/// Follows a job to its end, to the restart, or until the admin stops watching.
pub fn watch(shell: &mut Shell, id: Uuid) -> Flow {
    let mut events = match shell.client.events() {
        Ok(events) => events,
        Err(failures) => return shell.refused(&failures),
    };
    let mut seen = Seen::default();
    loop {
        let flow = match events.next() {
            Event::Status(status) => follow(shell, &mut events, &mut seen, id, &status),
            Event::Interrupt => Some(left(shell)),
            Event::Hangup => Some(Flow::Leave(Exit::Failed)),
            Event::Failed(failures) => Some(shell.refused(&failures)),
            Event::End if seen.restarts => Some(going_down(shell)),
            Event::End => Some(agent_ended(shell)),
        };
        if let Some(flow) = flow {
            return flow;
        }
        if shell.console.is_gone() {
            return Flow::Leave(Exit::Failed);
        }
    }
}

/// How a job that nobody has to watch came out.
pub enum Settled {
    Done,
    /// It goes back by itself unless somebody confirms it by then.
    Waits(Timestamp),
    /// Why was said.
    Failed(Exit),
    /// Nothing more was heard of it, which was said.
    Unknown(Flow),
}

/// Waits for the end of a job that asks nothing, and shows only why it failed.
pub fn settle(shell: &mut Shell, id: Uuid) -> Settled {
    let mut events = match shell.client.events() {
        Ok(events) => events,
        Err(failures) => return Settled::Unknown(shell.refused(&failures)),
    };
    loop {
        let status = match events.next() {
            Event::Status(status) => status,
            Event::Interrupt => return Settled::Unknown(left(shell)),
            Event::Hangup => return Settled::Unknown(Flow::Leave(Exit::Failed)),
            Event::Failed(failures) => return Settled::Unknown(shell.refused(&failures)),
            Event::End => return Settled::Unknown(agent_ended(shell)),
        };
        let Some(job) = status.job.as_ref().filter(|job| job.id == id) else {
            return Settled::Unknown(from_history(shell, id));
        };
        match (&job.outcome, job.confirm_until) {
            (Some(outcome), _) if outcome.is_success() => return Settled::Done,
            (Some(outcome), _) => return Settled::Failed(ended(shell, job.kind, outcome)),
            (None, Some(until)) => return Settled::Waits(until),
            (None, None) if job.phase == Phase::Rebooting => return Settled::Unknown(going_down(shell)),
            (None, None) => {}
        }
    }
}

/// Waits until a job is over, or nothing more is to be heard of it.
pub fn wait_for_end(shell: &mut Shell, id: Uuid) {
    let Ok(mut events) = shell.client.events() else { return };
    while let Event::Status(status) = events.next() {
        if status.job.is_none_or(|job| job.id != id || job.outcome.is_some()) {
            return;
        }
    }
}

/// Shows what is new; Some when there is nothing more to watch.
fn follow(
    shell: &mut Shell,
    events: &mut Events,
    seen: &mut Seen,
    id: Uuid,
    status: &Status,
) -> Option<Flow> {
    let Some(job) = status.job.as_ref().filter(|job| job.id == id) else {
        return Some(from_history(shell, id));
    };
    if seen.phase != Some(job.phase) && job.outcome.is_none() {
        seen.phase = Some(job.phase);
        seen.restarts =
            matches!(job.phase, Phase::Committed | Phase::Rebooting) && job.kind != JobKind::Configure;
        if let Some(line) = phase_line(job) {
            shell.console.line(line);
        }
    }
    if let Some(until) = job.confirm_until.filter(|_| seen.confirm_until.is_none()) {
        seen.confirm_until = Some(until);
        shell.console.text(unconfirmed(job.kind, until));
    }
    let question = job.question.as_ref().filter(|question| seen.answered != Some(question.number));
    // Before that question every note is shown, these with it.
    let confirms = question.is_some_and(|question| question.kind == QuestionKind::Confirm);
    if !confirms {
        let new = job.notes.get(seen.notes..).unwrap_or_default();
        details::notes(&mut shell.console, new);
    }
    seen.notes = job.notes.len();
    if let Some(outcome) = &job.outcome {
        if job.kind == JobKind::Check {
            details::diff(&mut shell.console, &job.changes);
        }
        return Some(Flow::Next(watched(shell, job.kind, outcome)));
    }
    if job.phase == Phase::Rebooting {
        return Some(going_down(shell));
    }
    // What is checked has been received: to say so then would seem to be out of order.
    let receives = question.is_none() && job.phase < Phase::Validating;
    if let Some(progress) = job.progress.as_ref().filter(|_| receives) {
        seen.progress.show(&mut shell.console, progress);
    }
    let question = question?;
    match question::ask(shell, events, job, question) {
        Answered::Yes => {
            seen.answered = Some(question.number);
            None
        }
        Answered::Elsewhere(status) => follow(shell, events, seen, id, &status),
        Answered::Stop(flow) => Some(flow),
        Answered::Interrupt => Some(left(shell)),
    }
}

fn phase_line(job: &JobView) -> Option<String> {
    Some(match job.phase {
        Phase::Receiving if job.source.is_empty() => return None,
        Phase::Receiving => format!("Receiving {}", job.source),
        Phase::AwaitingAnswer | Phase::Rebooting => return None,
        Phase::Locking => "Taking the restore lock".into(),
        Phase::Snapshotting => "Taking a snapshot of the present configuration".into(),
        Phase::Validating => "Checking the new configuration".into(),
        Phase::Committing => "Committing".into(),
        Phase::Committed if job.kind == JobKind::Configure => {
            "Committed: the new configuration becomes active".into()
        }
        Phase::Committed => "Committed: the new configuration becomes active with the restart".into(),
        Phase::Activating => "Activating the new configuration".into(),
        Phase::Finishing => "Finishing: checking that the appliance is healthy".into(),
    })
}

/// What has to be done, and until when.
pub fn unconfirmed(kind: JobKind, until: Timestamp) -> String {
    let command = kind.confirmation();
    format!("It has to be confirmed: `{command}`, until {}; else the old comes back.", time(until))
}

fn going_down(shell: &mut Shell) -> Flow {
    shell.console.line("System will now reboot.");
    shell.console.line("The system is going down for reboot NOW!");
    Flow::Leave(Exit::Ok)
}

/// The agent ended in the middle of a job that changes nothing yet.
pub fn agent_ended(shell: &mut Shell) -> Flow {
    shell.console.line("Error: the agent has ended [agent-unreachable]");
    shell.console.line("       `show restore` tells where things stand once it runs again");
    Flow::Next(Exit::Unreachable)
}

fn left(shell: &mut Shell) -> Flow {
    shell.console.line("Watching stopped; the job goes on.");
    shell.console.line("`show restore` returns to it, `restore abort` ends it.");
    Flow::Next(Exit::Failed)
}

/// A job that is neither running nor the last one any more.
fn from_history(shell: &mut Shell, id: Uuid) -> Flow {
    let history: Vec<HistoryEntry> = match shell.client.get("/v1/history") {
        Ok(history) => history,
        Err(failures) => return shell.refused(&failures),
    };
    match history.iter().find(|entry| entry.id == id) {
        Some(entry) => {
            details::notes(&mut shell.console, &entry.notes);
            Flow::Next(watched(shell, entry.kind, &entry.outcome))
        }
        None => {
            shell.console.line(format!("Error: the agent has no record of job {id} [not-found]"));
            Flow::Next(Exit::Failed)
        }
    }
}

/// How a job is called.
pub fn noun(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Restore => "restore",
        JobKind::Check => "check",
        JobKind::Rollback => "rollback",
        JobKind::Factory => "factory restore",
        JobKind::Configure => "configuration change",
        JobKind::ClearLock => "clearing of a restore lock",
    }
}

/// Shows how a job ended: every failure, and what it means for the appliance.
pub fn ended(shell: &mut Shell, kind: JobKind, outcome: &Outcome) -> Exit {
    for failure in outcome.failures() {
        shell.console.failure(failure);
    }
    let noun = noun(kind);
    shell.console.line(match outcome {
        Outcome::Succeeded if kind == JobKind::Check => {
            "The check found nothing against this restore. Nothing was changed.".into()
        }
        Outcome::Succeeded => format!("The {noun} succeeded."),
        Outcome::Failed { .. } => format!("The {noun} failed. Nothing was changed."),
        Outcome::RolledBack { .. } => {
            format!("The {noun} was rolled back: the configuration from before it is active again.")
        }
        Outcome::Broken { .. } => {
            format!("The {noun} left neither configuration whole: network and SSH stay down until one is.")
        }
    });
    match outcome.is_success() {
        true => Exit::Ok,
        false => Exit::Failed,
    }
}

/// Shows how a job that was watched ended, and what is left to do then.
fn watched(shell: &mut Shell, kind: JobKind, outcome: &Outcome) -> Exit {
    let exit = ended(shell, kind, outcome);
    if outcome.is_success() && kind == JobKind::Restore {
        // Without these words the success is still one.
        let texts = shell.client.get("/v1/texts").unwrap_or_else(|_| Texts::default());
        details::paragraphs(&mut shell.console, &texts.post_restore);
    }
    exit
}
