//! The restore that nobody types: at the first boot of an appliance on which nothing is configured,
//! what a medium or a credential offers is restored, by the admin's own shell and with every check.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reinstate_api::{Code, Failure, JobKind, Secret};
use serde::Deserialize;

use crate::files::{Folder, found};
use crate::medium;
use crate::state::State;

/// On the medium, beside the archive.
const ANSWERS: &str = "answers.toml";

/// The credential that names a backup on a server.
const CREDENTIAL: &str = "reinstate.restore";

/// On the kernel's command line, the stand-in for a reset button: a configured appliance takes the
/// offer too.
const RESET: &str = "reinstate.reset";

/// The admin's shell.
const SHELL: &str = "/usr/bin/reinstate-shell";

const MAX_BYTES: u64 = 64 << 10;

/// What may stand beside the archive on a medium.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers {
    /// The UUID of the one device whose backup will do.
    device: Option<String>,
}

/// What a credential says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// `HOST` or `HOST:PORT`, `[IPV6]:PORT`.
    host: String,
    user: String,
    /// Of the archive on the server.
    path: String,
    /// Of the server's host key; nobody is there to be asked about it.
    fingerprint: String,
    password: Option<Secret>,
    device: Option<String>,
}

/// A line for the shell, and what it answers when it is asked.
struct Line {
    command: String,
    answers: Vec<Secret>,
}

/// Restores what is offered, if this appliance is to take it.
///
/// # Errors
/// What is wrong with the offer. How the restore itself ends is on record like every other.
pub fn run(root: &Folder, state: &State) -> Result<(), Failure> {
    let asked =
        fs::read_to_string("/proc/cmdline").unwrap_or_default().split_whitespace().any(|word| word == RESET);
    if !takes(state, asked, booted()) {
        tracing::info!(
            "this appliance is configured, or a restore was tried since it started: nothing to do"
        );
        return Ok(());
    }
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    let Some(line) = offered(root, credentials.as_deref())? else {
        tracing::info!("neither a medium nor a credential offers a backup");
        return Ok(());
    };
    type_it(&line)
}

/// Once only: what was tried since the boot is not tried again, whatever became of it.
fn takes(state: &State, asked: bool, booted: jiff::Timestamp) -> bool {
    let restore = |kind: JobKind| matches!(kind, JobKind::Restore | JobKind::Rollback | JobKind::Factory);
    let last = state.history.iter().find(|entry| restore(entry.kind));
    let untouched = state.active == 0 && last.is_none();
    let tried = last.is_some_and(|entry| entry.ended >= booted);
    state.job.is_none() && (untouched || asked && !tried)
}

/// When the kernel started, by the present clock.
fn booted() -> jiff::Timestamp {
    let up = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = up.split('.').next().and_then(|seconds| seconds.parse::<i64>().ok()).unwrap_or_default();
    jiff::Timestamp::now()
        .checked_sub(jiff::Span::new().seconds(seconds))
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

fn offered(root: &Folder, credentials: Option<&OsStr>) -> Result<Option<Line>, Failure> {
    if let Some(medium) = found(root.folder(medium::FOLDER))?
        && !medium::archives(&medium)?.is_empty()
    {
        let answers = found(medium.read(ANSWERS, MAX_BYTES))?.unwrap_or_default();
        let Answers { device } = parse(ANSWERS, &answers)?;
        let file = medium::import(root, None)?.file;
        return Ok(Some(Line {
            command: format!("backup {}{}", quoted(&file), insisting(device)),
            answers: Vec::new(),
        }));
    }
    let Some(folder) = credentials else { return Ok(None) };
    let Ok(text) = fs::read(Path::new(folder).join(CREDENTIAL)) else { return Ok(None) };
    let Place { host, user, path, fingerprint, password, device } = parse(CREDENTIAL, &text)?;
    wait_for(&host);
    let words = [&host, &user, &path].map(|word| quoted(word)).join(" ");
    let command = format!("location {words} fingerprint {}{}", quoted(&fingerprint), insisting(device));
    Ok(Some(Line { command, answers: password.into_iter().collect() }))
}

/// Until the server can be reached, or for a minute: at a first boot the network is still coming up.
/// Whether it could is the restore's to tell.
fn wait_for(host: &str) {
    let with_port = if host.contains("]:") || host.matches(':').count() == 1 {
        host.into()
    } else {
        format!("{host}:22")
    };
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        let addresses = with_port.to_socket_addrs().into_iter().flatten();
        if addresses.into_iter().any(|at| TcpStream::connect_timeout(&at, Duration::from_secs(5)).is_ok()) {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn insisting(device: Option<String>) -> String {
    device.map(|device| format!(" device {}", quoted(&device))).unwrap_or_default()
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, text: &[u8]) -> Result<T, Failure> {
    toml::from_str(&String::from_utf8_lossy(text)).map_err(|error| {
        Failure::new(Code::BadRequest, format!("{what} is not understood: {}", error.message()))
            .hint("nothing was changed; correct it and restart the appliance")
    })
}

/// As the shell takes a word that may hold anything.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace(['"', '\\', '\n', '\r'], ""))
}

/// The shell shows its progress on the console, as standard output is it.
fn type_it(line: &Line) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::io(format_args!("cannot run {SHELL}"), &e);
    let command = format!("restore remote-manager-backup {}", line.command);
    println!("Unattended: {command}");
    let mut shell =
        Command::new(SHELL).args(["-c", &command]).stdin(Stdio::piped()).spawn().map_err(cannot)?;
    if let Some(mut answers) = shell.stdin.take() {
        let told = line.answers.iter().try_for_each(|answer| writeln!(answers, "{}", answer.expose()));
        told.and_then(|()| answers.write_all(b"Y\n")).map_err(cannot)?;
    }
    let status = shell.wait().map_err(cannot)?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::new(Code::Internal, format!("the unattended restore ended with {status}"))
            .hint("`show restore` tells why; log in on the console")),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use reinstate_api::{HistoryEntry, JobKind, Outcome, Phase};
    use uuid::Uuid;

    use super::*;
    use crate::job::Job;

    const BOOT: Timestamp = Timestamp::constant(1000, 0);

    fn after(kind: JobKind, ended: i64) -> State {
        let ended = Timestamp::from_second(ended).unwrap();
        let entry = HistoryEntry {
            id: Uuid::nil(),
            kind,
            source: String::new(),
            by: String::new(),
            started: ended,
            ended,
            phase: Phase::Receiving,
            from: 0,
            to: 0,
            notes: Vec::new(),
            outcome: Outcome::Failed { failures: Vec::new() },
        };
        State { history: vec![entry], ..State::default() }
    }

    #[test]
    fn only_an_appliance_on_which_nothing_is_configured_takes_an_offer() {
        assert!(takes(&State::default(), false, BOOT));
        assert!(takes(&after(JobKind::Check, 900), false, BOOT));
        assert!(!takes(&after(JobKind::Restore, 900), false, BOOT));
        assert!(!takes(&State { active: 3, ..State::default() }, false, BOOT));
    }

    #[test]
    fn one_that_is_configured_takes_it_when_asked_to_and_once_a_boot() {
        assert!(takes(&State { active: 3, ..State::default() }, true, BOOT));
        assert!(takes(&after(JobKind::Restore, 900), true, BOOT));
        assert!(!takes(&after(JobKind::Restore, 1001), true, BOOT));
    }

    #[test]
    fn nothing_is_taken_while_a_job_runs() {
        let job = Job::new(Uuid::nil(), JobKind::Restore, String::new(), String::new(), BOOT);
        assert!(!takes(&State { job: Some(job), ..State::default() }, true, BOOT));
    }

    #[test]
    fn a_credential_must_name_the_host_key_and_nothing_unknown() {
        let place = "host = 'a'\nuser = 'b'\npath = '/c'\n";
        let key = "fingerprint = 'SHA256:x'\n";
        assert!(parse::<Place>(CREDENTIAL, place.as_bytes()).unwrap_err().message.contains("fingerprint"));
        assert!(parse::<Place>(CREDENTIAL, format!("{place}{key}").as_bytes()).is_ok());
        let more = format!("{place}{key}colour = 1\n");
        assert!(parse::<Place>(CREDENTIAL, more.as_bytes()).unwrap_err().message.contains("colour"));
    }
}
