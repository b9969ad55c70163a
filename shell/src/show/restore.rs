//! Restores: the running one, the last one, all of them, and what the agent has logged.

use reinstate_api::{HistoryEntry, JobView, Lock, Log, Outcome, Status};

use super::{DONE, Shown, field, lines, sentence};
use crate::text::{minute, time};
use crate::watch::{ended, noun, unconfirmed, watch};
use crate::{Shell, details};

/// Goes to the running job, or shows the last one.
pub fn restore(shell: &mut Shell) -> Shown {
    let status: Status = shell.client.get("/v1/status")?;
    if let Some(job) = status.job.as_ref().filter(|job| job.outcome.is_none()) {
        running(shell, job, &status);
        if let Some(until) = job.confirm_until {
            // It takes minutes, and asks for nothing here.
            shell.console.text(unconfirmed(job.kind, until));
            return DONE;
        }
        shell.console.release();
        return Ok(watch(shell, job.id));
    }
    last(shell, &status);
    DONE
}

/// The running or the last job with every path, without following it.
pub fn restore_detail(shell: &mut Shell) -> Shown {
    let status: Status = shell.client.get("/v1/status")?;
    match status.job.as_ref().filter(|job| job.outcome.is_none()) {
        Some(job) => {
            running(shell, job, &status);
            details::notes(&mut shell.console, &job.notes);
        }
        None => last(shell, &status),
    }
    if let Some(job) = &status.job {
        details::diff(&mut shell.console, &job.changes);
    }
    DONE
}

fn running(shell: &mut Shell, job: &JobView, status: &Status) {
    field(shell, "Job", noun(job.kind));
    field(shell, "Source", &job.source);
    field(shell, "Asked for by", &job.by);
    field(shell, "Started", time(job.started));
    field(shell, "Phase", job.phase.as_str());
    if let Some(until) = job.confirm_until {
        field(shell, "Confirm until", time(until));
    }
    standing(shell, status);
}

fn standing(shell: &mut Shell, status: &Status) {
    let previous = status.previous.map_or_else(
        || "there is none to roll back to".to_owned(),
        |previous| format!("`restore rollback` goes back to {previous}"),
    );
    field(shell, "Generation", format!("{} ({previous})", status.active));
    for (key, value) in status.checkin.iter().flat_map(details::checkin) {
        sentence(shell, key, value);
    }
    let lock = status.lock.as_ref().map_or_else(|| "not taken".to_owned(), describe);
    sentence(shell, "Restore lock", lock);
    for warning in &status.warnings {
        shell.console.text(format!("Warning: {warning}"));
    }
}

pub fn describe(lock: &Lock) -> String {
    let Lock { hostname, by, since, phase, .. } = lock;
    format!("held by {hostname}, asked for by {by}, since {}, {phase}", time(*since))
}

/// The last job: the one on record, or a later one that is not on record.
fn last(shell: &mut Shell, status: &Status) {
    // It has not ended, and is not followed: only a boot can do more.
    if let Some((job, outcome)) = broken(status) {
        running(shell, job, status);
        details::notes(&mut shell.console, &job.notes);
        ended(shell, job.kind, outcome);
        return;
    }
    let job = status.job.as_ref().filter(|job| {
        let on_record = status.last.as_ref().is_some_and(|last| Some(last.ended) >= job.ended);
        !on_record
    });
    let (kind, source, by, phase, started, stopped, notes, outcome) = match (job, &status.last) {
        (
            Some(JobView {
                kind,
                source,
                by,
                phase,
                started,
                ended: Some(ended),
                notes,
                outcome: Some(outcome),
                ..
            }),
            _,
        ) => (kind, source, by, phase, started, ended, notes, outcome),
        (_, Some(HistoryEntry { kind, source, by, phase, started, ended, notes, outcome, .. })) => {
            (kind, source, by, phase, started, ended, notes, outcome)
        }
        (_, None) => {
            shell.console.line("There was no restore on this appliance.");
            standing(shell, status);
            return;
        }
    };
    field(shell, "Job", noun(*kind));
    field(shell, "Source", source);
    field(shell, "Asked for by", by);
    field(shell, "Started", time(*started));
    field(shell, "Ended", time(*stopped));
    field(shell, "Last phase", phase.as_str());
    field(shell, "Result", outcome.as_str());
    standing(shell, status);
    details::notes(&mut shell.console, notes);
    ended(shell, *kind, outcome);
    // Also after a later job that has left the restore's configuration live.
    if let Some(tasks) = &status.tasks {
        details::tasks(&mut shell.console, tasks);
    }
}

/// The job that has left neither configuration whole.
pub fn broken(status: &Status) -> Option<(&JobView, &Outcome)> {
    let job = status.job.as_ref()?;
    job.outcome.as_ref().filter(|outcome| matches!(outcome, Outcome::Broken { .. })).map(|o| (job, o))
}

pub fn restore_history(shell: &mut Shell) -> Shown {
    let history: Vec<HistoryEntry> = shell.client.get("/v1/history")?;
    if history.is_empty() {
        shell.console.line("There was no restore on this appliance.");
        return DONE;
    }
    let mut rows =
        vec![["Ended (UTC)", "Job", "Result", "Generation", "By", "Source"].map(str::to_owned).to_vec()];
    for entry in &history {
        let codes: Vec<&str> = entry.outcome.failures().iter().map(|failure| failure.code.as_str()).collect();
        let result = match codes.is_empty() {
            true => entry.outcome.as_str().to_owned(),
            false => format!("{} ({})", entry.outcome.as_str(), codes.join(", ")),
        };
        let generation = match entry.from == entry.to {
            true => entry.from.to_string(),
            false => format!("{} to {}", entry.from, entry.to),
        };
        let (kind, by, source) = (noun(entry.kind).to_owned(), entry.by.clone(), entry.source.clone());
        rows.push(vec![minute(entry.ended), kind, result, generation, by, source]);
    }
    lines(shell, &rows, &[])
}

pub fn log(shell: &mut Shell, route: &str) -> Shown {
    let log: Log = shell.client.get(route)?;
    if log.lines.is_empty() {
        shell.console.line("Nothing was logged.");
    }
    log.lines.iter().for_each(|line| shell.console.line(line));
    DONE
}
