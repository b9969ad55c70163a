//! The restore that nobody types: at the first boot of an appliance on which nothing is configured,
//! what a medium or a credential offers is restored, by the admin's own shell and with every check.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reinstate_api::{Code, Failure, HistoryEntry, JobKind, Outcome, Secret, one_line};
use serde::Deserialize;

use crate::accounts::SHELL;
use crate::activate::ACTIVATED;
use crate::diff;
use crate::domain::{Domains, Policy};
use crate::facts;
use crate::files::{Folder, found};
use crate::live;
use crate::medium;
use crate::profile::Profile;
use crate::state::State;
use crate::store::Store;

/// On the medium, beside the archive.
const ANSWERS: &str = "answers.toml";

/// The credential that names a backup on a server.
const CREDENTIAL: &str = "reinstate.restore";

/// On the kernel's command line, the stand-in for a reset button: a configured appliance takes the
/// offer too.
const RESET: &str = "reinstate.reset";

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

/// Whether this appliance takes what is offered: by itself only where nobody has configured it, and when the reset button's
/// stand-in asks for it at any other boot than the one that completes a restore.
///
/// # Errors
/// Where what is configured cannot be told.
pub fn takes(
    root: &Folder,
    profile: &Profile,
    domains: &Domains,
    store: &Store,
    state: &State,
) -> Result<bool, Failure> {
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let asked = line.split_whitespace().any(|word| word == RESET);
    let completes = found(root.stat(ACTIVATED))?.is_some();
    let takes = if state.job.is_some() || completes {
        false
    } else {
        asked || is_new(state) && is_as_delivered(root, profile, domains, store)?
    };
    if !takes {
        tracing::info!("this appliance is configured, or completes a restore: nothing is taken");
    }
    Ok(takes)
}

/// No job has ever changed anything.
fn is_new(state: &State) -> bool {
    let changed = |entry: &HistoryEntry| {
        matches!(entry.kind, JobKind::Restore | JobKind::Rollback | JobKind::Factory)
            && !matches!(entry.outcome, Outcome::Failed { .. })
    };
    state.active == 0 && !state.history.iter().any(changed)
}

/// Registered with no manager, and all that a restore replaces or removes as the factory generation has it.
fn is_as_delivered(
    root: &Folder,
    profile: &Profile,
    domains: &Domains,
    store: &Store,
) -> Result<bool, Failure> {
    if facts::registration(root, profile)?.is_some() {
        return Ok(false);
    }
    let (live, factory) = (live::scan(root, domains)?, store.generation(0)?.index()?);
    let present = domains.stored().map(|domain| domain.name.clone()).collect();
    let mut changed = diff::exact(domains, &present, &live, &factory)
        .into_iter()
        .filter(|change| {
            let policy = domains.get(&change.domain).map(|domain| domain.restore);
            matches!(policy, Some(Policy::Replace | Policy::Remove))
        })
        .flat_map(|change| change.added.into_iter().chain(change.changed).chain(change.removed));
    if let Some(path) = changed.next() {
        tracing::info!("{path} is not as it was at the first start");
        return Ok(false);
    }
    Ok(true)
}

/// Restores what is offered.
///
/// # Errors
/// What is wrong with the offer. How the restore itself ends is on record like every other.
pub fn run(root: &Folder, limit: u64) -> Result<(), Failure> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    let Some(line) = offered(root, limit, credentials.as_deref())? else {
        tracing::info!("neither a medium nor a credential offers a backup");
        return Ok(());
    };
    type_it(&line)
}

fn offered(root: &Folder, limit: u64, credentials: Option<&OsStr>) -> Result<Option<Line>, Failure> {
    if let Some(medium) = found(root.folder(medium::FOLDER))?
        && !medium::archives(&medium)?.is_empty()
    {
        let answers = found(medium.read(ANSWERS, MAX_BYTES))?.unwrap_or_default();
        let Answers { device } = parse(ANSWERS, &answers)?;
        let file = medium::import(root, None, limit)?.file;
        return Ok(Some(Line {
            command: format!("backup {}{}", quoted(&file), insisting(device)),
            answers: Vec::new(),
        }));
    }
    let Some(folder) = credentials else { return Ok(None) };
    let Ok(text) = fs::read(Path::new(folder).join(CREDENTIAL)) else { return Ok(None) };
    let Place { host, user, path, fingerprint, password, device } = parse(CREDENTIAL, &on_lines(&text))?;
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

/// Where it came as a deployment property it is one line: the same keys, with commas between them.
fn on_lines(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let line = text.trim();
    let keys = format!("offer = {{ {line} }}").parse::<toml::Table>().ok();
    let keys = keys.and_then(|table| table.get("offer").and_then(|offer| toml::to_string(offer).ok()));
    keys.filter(|_| !line.contains('\n')).map_or_else(|| text.as_bytes().to_vec(), String::into_bytes)
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, text: &[u8]) -> Result<T, Failure> {
    toml::from_str(&String::from_utf8_lossy(text)).map_err(|error| {
        // It may quote a value, and that one may be the password.
        let message = match error.message() {
            message if message.starts_with("invalid") => "a value is of the wrong type",
            message => message,
        };
        Failure::new(Code::BadRequest, format!("{what} is not understood: {message}"))
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
    println!("Unattended: {}", one_line(&command));
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
    use super::*;

    #[test]
    fn a_job_that_changed_nothing_leaves_an_appliance_new() {
        let ended = |outcome| HistoryEntry {
            id: uuid::Uuid::nil(),
            kind: JobKind::Restore,
            source: String::new(),
            by: String::new(),
            started: jiff::Timestamp::UNIX_EPOCH,
            ended: jiff::Timestamp::UNIX_EPOCH,
            phase: reinstate_api::Phase::Receiving,
            from: 0,
            to: 0,
            notes: Vec::new(),
            overrides: Vec::new(),
            outcome,
        };
        let after = |outcome| State { history: vec![ended(outcome)], ..State::default() };
        assert!(is_new(&State::default()));
        assert!(is_new(&after(Outcome::Failed { failures: Vec::new() })));
        assert!(!is_new(&after(Outcome::RolledBack { failures: Vec::new() })));
        assert!(!is_new(&State { active: 3, ..State::default() }));
    }

    #[test]
    fn a_credential_must_name_the_host_key_and_nothing_unknown() {
        let place = "host = 'a'\nuser = 'b'\npath = '/c'\n";
        let key = "fingerprint = 'SHA256:x'\n";
        assert!(parse::<Place>(CREDENTIAL, place.as_bytes()).unwrap_err().message.contains("fingerprint"));
        assert!(parse::<Place>(CREDENTIAL, format!("{place}{key}").as_bytes()).is_ok());
        let line = b"host = 'a', user = 'b', path = '/c', fingerprint = 'SHA256:x', password = 'p, q'";
        let Place { password, .. } = parse(CREDENTIAL, &on_lines(line)).unwrap();
        assert_eq!(password.unwrap().expose(), "p, q");
        let more = format!("{place}{key}colour = 1\n");
        assert!(parse::<Place>(CREDENTIAL, more.as_bytes()).unwrap_err().message.contains("colour"));
        let bare = format!("{place}{key}password = 12345\n");
        assert!(!parse::<Place>(CREDENTIAL, bare.as_bytes()).unwrap_err().message.contains("12345"));
    }
}
