//! What each command does.

use reinstate_api::{Created, Extracted, Failure, JobKind, Started, Status};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::grammar::{self, Command};
use crate::parse::{self, SyntaxError};
use crate::terminal::split_filters;
use crate::text::{bytes, time, wrap};
use crate::watch::{self, noun, watch};
use crate::{Exit, Flow, Shell, configure, details, lock, show, system};

/// Runs one line of a session; an empty one does nothing.
pub fn execute(shell: &mut Shell, line: &str) -> Flow {
    run(shell, line, |_| Ok(()))
}

/// Runs the one line of a session that has no other. The agent hears of the session only where the line
/// is a command.
pub fn alone(shell: &mut Shell, line: &str) -> Flow {
    run(shell, line, |shell| {
        let session = shell.enter()?;
        match session.setup {
            true => Err(vec![
                crate::setup_needed()
                    .hint("log in with a terminal: the first login asks what it has to know"),
            ]),
            false => Ok(()),
        }
    })
}

fn run(shell: &mut Shell, line: &str, enter: fn(&mut Shell) -> Result<(), Vec<Failure>>) -> Flow {
    let help = line.trim_end().strip_suffix('?');
    let understood = match help.filter(|begun| begun.is_empty() || begun.ends_with(char::is_whitespace)) {
        Some(begun) => return question_mark(shell, begun),
        None => split_filters(line).and_then(|(command, filters)| Ok((parse::parse(command)?, filters))),
    };
    let (command, access, filters) = match (understood, help) {
        (Ok((Some((command, access)), filters)), _) => (command, access, filters),
        (Ok((None, _)), _) => return Flow::Next(Exit::Ok),
        // Behind a word it asks for help where the word is no argument with it.
        (Err(_), Some(begun)) => return question_mark(shell, begun),
        (Err(error), None) => return misunderstood(shell, line, &error),
    };
    let pages = matches!(command, Command::Show(..) | Command::Help | Command::History);
    shell.console.begin(filters, pages);
    let entered = enter(shell).and_then(|()| shell.permits(access));
    let flow = match entered.and_then(|()| perform(shell, command)) {
        Ok(flow) => flow,
        Err(failures) => shell.refused(&failures),
    };
    shell.console.end();
    flow
}

fn perform(shell: &mut Shell, command: Command) -> Result<Flow, Vec<Failure>> {
    match command {
        Command::Restore(request) => start(shell, "/v1/restore", &request),
        Command::RestoreRollback => start(shell, "/v1/rollback", &json!({})),
        Command::RestoreFactory => start(shell, "/v1/factory", &json!({})),
        Command::ConfigurationActivate(name) => {
            start(shell, &format!("/v1/configurations/{name}/activate"), &json!({}))
        }
        Command::ManagerDelete => {
            let started: Started = shell.client.delete("/v1/manager")?;
            Ok(watch(shell, started.id))
        }
        Command::RestoreAbort => {
            let said = "The job was told to end. `show restore` shows how it ended.";
            tell_job(shell, "/v1/abort", said)
        }
        Command::RestoreConfirm => tell_job(shell, "/v1/confirm", "Confirmed. What is active stays."),
        Command::TasksAcknowledge => {
            let said = "Acknowledged. `show restore` tells by whom.";
            tell(shell, "/v1/tasks/acknowledge", &json!({}), said)
        }
        Command::HighAvailabilityResume => {
            let said = "Resumed. `show restore lock` tells the state of each member.";
            tell(shell, "/v1/ha/resume", &json!({}), said)
        }
        Command::ExpertAllow(allowed) => {
            let said = match allowed {
                true => "Admins may use `expert`, in sessions that begin from now on.",
                false => "Nobody may use `expert`.",
            };
            tell(shell, "/v1/expert/allow", &json!({ "allowed": allowed }), said)
        }
        Command::ConfigurationRename(name, request) => {
            let said = format!("Configuration {name} is called {} now.", request.to);
            tell(shell, &format!("/v1/configurations/{name}/rename"), &request, &said)
        }
        Command::ConfigurationDelete(name) => {
            shell.client.delete::<IgnoredAny>(&format!("/v1/configurations/{name}"))?;
            shell.console.line(format!("Configuration {name} was deleted."));
            Ok(Flow::Next(Exit::Ok))
        }
        Command::ClearRestoreLock => lock::clear(shell),
        Command::BackupCreate => backup(shell),
        Command::BackupDelete(file) => {
            shell.client.delete::<IgnoredAny>(&format!("/v1/files/{}", escaped(&file)))?;
            shell.console.line(format!("Backup {file} was deleted."));
            Ok(Flow::Next(Exit::Ok))
        }
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
        Command::Show(view, json) => show::show(shell, view, json),
        Command::Configure(change) => configure::change(shell, change),
        Command::ConfigurePassword(user) => configure::password(shell, user),
        Command::ConfigureUserAdd(name, access) => configure::user_add(shell, name, access),
        Command::Ping(host, count) => system::ping(shell, &host, count),
        Command::Reboot => system::reboot(shell),
        Command::Shutdown => system::shutdown(shell),
        Command::Expert => system::expert(shell),
        Command::Help => Ok(help(shell)),
        Command::History => {
            let lines = shell.history.lines().to_vec();
            for (i, line) in lines.iter().enumerate() {
                shell.console.line(format!("{:>5}  {line}", i + 1));
            }
            Ok(Flow::Next(Exit::Ok))
        }
        Command::Exit => Ok(Flow::Leave(Exit::Ok)),
    }
}

/// A file's name as a part of a URL's path.
fn escaped(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    name.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Asks the agent for something that is done when it answers.
fn tell(shell: &mut Shell, path: &str, body: &impl Serialize, said: &str) -> Result<Flow, Vec<Failure>> {
    shell.client.post::<IgnoredAny>(path, body)?;
    shell.console.line(said);
    Ok(Flow::Next(Exit::Ok))
}

/// Tells the running job what ends it, and waits for that: whoever types on finds it out of the way.
fn tell_job(shell: &mut Shell, path: &str, said: &str) -> Result<Flow, Vec<Failure>> {
    let status: Status = shell.client.get("/v1/status")?;
    shell.client.post::<IgnoredAny>(path, &json!({}))?;
    if let Some(job) = status.job.filter(|job| job.outcome.is_none()) {
        watch::wait_for_end(shell, job.id);
    }
    shell.console.line(said);
    Ok(Flow::Next(Exit::Ok))
}

/// Starts a job and follows it.
fn start(shell: &mut Shell, path: &str, body: &impl Serialize) -> Result<Flow, Vec<Failure>> {
    let started: Started = shell.client.post(path, body)?;
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
    // What is of two lines has its second one here, and what fits beside its help has that there.
    const COLUMN: usize = 30;
    let access = shell.access;
    for row in grammar::rows().filter(|row| row.access <= access) {
        let (syntax, room) = (row.syntax(), details::WIDTH - 2 - COLUMN);
        if syntax.len() + 2 <= COLUMN && row.help.len() <= room {
            shell.console.line(format!("  {syntax:<COLUMN$}{}", row.help));
            continue;
        }
        for (i, part) in wrap(&syntax, 72).into_iter().enumerate() {
            shell.console.line(format!("  {:indent$}{part}", "", indent = if i > 0 { 4 } else { 0 }));
        }
        for part in wrap(row.help, details::WIDTH - 8) {
            shell.console.line(format!("{:8}{part}", ""));
        }
    }
    shell.console.text("A word may be cut short as long as it stays the only one; ? lists what may follow.");
    Flow::Next(Exit::Ok)
}

/// Lists what may stand where the question mark was typed.
pub fn question_mark(shell: &mut Shell, begun: &str) -> Flow {
    let (choices, complete) = match parse::choices(begun, shell.access) {
        Ok(choices) => choices,
        Err(error) => return misunderstood(shell, begun, &error),
    };
    let end = complete.then_some(("<cr>", "Run the command"));
    shell.console.begin(Vec::new(), true);
    for (name, help) in choices.into_iter().chain(end) {
        for (i, part) in wrap(help, details::WIDTH - 26).into_iter().enumerate() {
            let name = if i == 0 { name } else { "" };
            shell.console.line(format!("  {name:<22}  {part}"));
        }
    }
    shell.console.end();
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
        shell.console.text(format!("Warning: {warning}"));
    }
    let running = status.job.as_ref().filter(|job| job.outcome.is_none());
    if let Some(job) = running {
        shell.console.line(format!(
            "A {} is running, asked for by {}: {}.",
            noun(job.kind),
            job.by,
            job.phase
        ));
        shell.console.text(match (&job.question, job.confirm_until) {
            (Some(_), _) => "It waits for an answer: `show restore` shows its question.".to_owned(),
            (None, Some(until)) => watch::unconfirmed(job.kind, until),
            (None, None) => "`show restore` goes to it.".to_owned(),
        });
    } else if let Some(job) = show::broken(&status).map(|(job, _)| job) {
        shell.console.line(format!("Last {}: broken. `show restore` has the details.", noun(job.kind)));
    } else if let Some(last) = status.last.as_ref().filter(|last| last.kind != JobKind::Check) {
        let (noun, how) = (noun(last.kind), last.outcome.as_str());
        shell
            .console
            .text(format!("Last {noun}: {how}, {}. `show restore` has the details.", time(last.ended)));
        for failure in last.outcome.failures() {
            shell.console.failure(failure);
        }
    }
    if let Some(failure) = status.checkin.as_ref().and_then(|checkin| checkin.failure.as_ref()) {
        shell.console.text(format!(
            "The manager is not told of the restore yet [{}]. `show managers` has the details.",
            failure.code
        ));
    }
    if let Some(tasks) = status.tasks.as_ref().filter(|tasks| tasks.acknowledged.is_none()) {
        details::tasks(&mut shell.console, tasks);
    }
}
