//! What each command does.

use reinstate_api::{Created, Extracted, Failure, JobKind, Started, Status};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::grammar::{Command, TABLE};
use crate::parse::{self, SyntaxError};
use crate::text::{bytes, time};
use crate::watch::{self, noun, watch};
use crate::{Exit, Flow, Shell, details, lock, show};

/// Runs one line; an empty one does nothing.
pub fn execute(shell: &mut Shell, line: &str) -> Flow {
    if let Some(begun) = line.trim_end().strip_suffix('?') {
        return question_mark(shell, begun);
    }
    match parse::parse(line) {
        Ok(None) => Flow::Next(Exit::Ok),
        Ok(Some(command)) => match perform(shell, command) {
            Ok(flow) => flow,
            Err(failures) => shell.refused(&failures),
        },
        Err(error) => misunderstood(shell, line, &error),
    }
}

fn perform(shell: &mut Shell, command: Command) -> Result<Flow, Vec<Failure>> {
    match command {
        Command::Restore(request) => {
            let started: Started = shell.client.post("/v1/restore", &request)?;
            Ok(watch(shell, started.id))
        }
        Command::RestoreRollback => start(shell, "/v1/rollback"),
        Command::RestoreFactory => start(shell, "/v1/factory"),
        Command::ManagerDelete => {
            let started: Started = shell.client.delete("/v1/manager")?;
            Ok(watch(shell, started.id))
        }
        Command::RestoreAbort => {
            shell.client.post::<IgnoredAny>("/v1/abort", &json!({}))?;
            shell.console.line("The job was told to end. `show restore` shows how it ended.");
            Ok(Flow::Next(Exit::Ok))
        }
        Command::RestoreConfirm => {
            shell.client.post::<IgnoredAny>("/v1/confirm", &json!({}))?;
            shell.console.line("Confirmed. What was restored stays.");
            Ok(Flow::Next(Exit::Ok))
        }
        Command::TasksAcknowledge => {
            shell.client.post::<IgnoredAny>("/v1/tasks/acknowledge", &json!({}))?;
            shell.console.line("Acknowledged. `show restore` tells by whom.");
            Ok(Flow::Next(Exit::Ok))
        }
        Command::HighAvailabilityResume => {
            shell.client.post::<IgnoredAny>("/v1/ha/resume", &json!({}))?;
            shell.console.line("Resumed. `show restore lock` tells the state of each member.");
            Ok(Flow::Next(Exit::Ok))
        }
        Command::BackupCreate => backup(shell),
        Command::BackupImport(request) => {
            let Created { file, bytes: size } = shell.client.post("/v1/backups/import", &request)?;
            shell.console.line(format!("Backup {file} is here now ({}).", bytes(size)));
            Ok(Flow::Next(Exit::Ok))
        }
        Command::BackupExtract(request) => {
            let Extracted { files, there } = shell.client.post("/v1/backups/extract", &request)?;
            for (found, when) in [(files, "now"), (there, "already")] {
                for Created { file, bytes: size } in found {
                    shell.console.line(format!("Backup {file} is here {when} ({}).", bytes(size)));
                }
            }
            Ok(Flow::Next(Exit::Ok))
        }
        Command::ShowRestore => show::restore(shell),
        Command::ShowRestoreDetail => show::restore_detail(shell),
        Command::ShowRestoreHistory => show::restore_history(shell),
        Command::ShowRestoreLock => lock::show(shell),
        Command::ClearRestoreLock => lock::clear(shell),
        Command::ShowBackups => show::backups(shell),
        Command::ShowVersion => show::version(shell),
        Command::ShowManagers => show::managers(shell),
        Command::ShowPublicKey => show::public_key(shell),
        Command::Help => Ok(help(shell)),
        Command::History => {
            for (i, line) in shell.typed.iter().enumerate() {
                shell.console.line(format!("{:>5}  {line}", i + 1));
            }
            Ok(Flow::Next(Exit::Ok))
        }
        Command::Exit => Ok(Flow::Leave(Exit::Ok)),
    }
}

fn start(shell: &mut Shell, path: &str) -> Result<Flow, Vec<Failure>> {
    let started: Started = shell.client.post(path, &json!({}))?;
    Ok(watch(shell, started.id))
}

fn backup(shell: &mut Shell) -> Result<Flow, Vec<Failure>> {
    shell.console.line("Backing up this appliance; this may take some minutes.");
    let Created { file, bytes: size } = shell.client.post("/v1/backups", &json!({}))?;
    shell.console.line(format!("Backup {file} was created ({}).", bytes(size)));
    shell.console.line("It holds private keys in the clear: copy it to a safe place, and only there.");
    Ok(Flow::Next(Exit::Ok))
}

fn help(shell: &mut Shell) -> Flow {
    const COLUMN: usize = 28;
    for row in TABLE {
        let syntax = row.syntax();
        if syntax.len() < COLUMN {
            shell.console.line(format!("  {syntax:<COLUMN$}{}", row.help));
        } else {
            shell.console.line(format!("  {syntax}"));
            shell.console.line(format!("  {:COLUMN$}{}", "", row.help));
        }
    }
    shell.console.line("A word may be cut short as long as it stays the only one; ? lists what may follow.");
    Flow::Next(Exit::Ok)
}

/// Lists what may stand where the question mark was typed.
fn question_mark(shell: &mut Shell, begun: &str) -> Flow {
    let (choices, complete) = match parse::choices(begun) {
        Ok(choices) => choices,
        Err(error) => return misunderstood(shell, begun, &error),
    };
    let end = complete.then_some(("<cr>", "Run the command"));
    for (name, help) in choices.into_iter().chain(end) {
        shell.console.line(format!("  {name:<22}  {help}"));
    }
    Flow::Next(Exit::Ok)
}

fn misunderstood(shell: &mut Shell, line: &str, error: &SyntaxError) -> Flow {
    let before: String = line.chars().take(error.at).collect();
    let indent = reinstate_api::one_line(&before).chars().count();
    shell.console.line(error.kind.to_string());
    shell.console.line(format!("  {line}"));
    shell.console.line(format!("  {:indent$}^", ""));
    Flow::Next(Exit::Syntax)
}

/// What an admin who logs in has to know.
pub fn greet(shell: &mut Shell) {
    let status: Status = match shell.client.get("/v1/status") {
        Ok(status) => status,
        Err(failures) => {
            shell.refused(&failures);
            return;
        }
    };
    for warning in &status.warnings {
        shell.console.line(format!("Warning: {warning}"));
    }
    let running = status.job.as_ref().filter(|job| job.outcome.is_none());
    if let Some(job) = running {
        shell.console.line(format!(
            "A {} is running, asked for by {}: {}.",
            noun(job.kind),
            job.by,
            job.phase
        ));
        shell.console.line(match (&job.question, job.confirm_until) {
            (Some(_), _) => "It waits for an answer: `show restore` shows its question.".to_owned(),
            (None, Some(until)) => watch::unconfirmed(until),
            (None, None) => "`show restore` goes to it.".to_owned(),
        });
    } else if let Some(job) = show::broken(&status).map(|(job, _)| job) {
        shell.console.line(format!("Last {}: broken. `show restore` has the details.", noun(job.kind)));
    } else if let Some(last) = status.last.as_ref().filter(|last| last.kind != JobKind::Check) {
        let (noun, how) = (noun(last.kind), last.outcome.as_str());
        shell
            .console
            .line(format!("Last {noun}: {how}, {}. `show restore` has the details.", time(last.ended)));
        for failure in last.outcome.failures() {
            shell.console.failure(failure);
        }
    }
    if let Some(failure) = status.checkin.as_ref().and_then(|checkin| checkin.failure.as_ref()) {
        shell.console.line(format!(
            "The manager is not told of the restore yet [{}]. `show managers` has the details.",
            failure.code
        ));
    }
    if let Some(tasks) = status.tasks.as_ref().filter(|tasks| tasks.acknowledged.is_none()) {
        details::tasks(&mut shell.console, tasks);
    }
}
