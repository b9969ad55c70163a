//! The first login: what the appliance has to know before it can be reached, asked once.

mod ask;
mod network;

use reinstate_api::{
    Change, Code, ConfigureRequest, Failure, Location, Network, RestoreRequest, Secret, Setup, Source,
    Started,
};

use crate::configure::{Untyped, new_password};
use crate::question::agreed;
use crate::watch::{self, Settled, watch};
use crate::{Exit, Flow, Shell, details, values};
use ask::{Asked, Left, TRIES, answer, is_yes};

/// Asks, configures, offers a restore. Some where the session ends with it.
pub fn run(shell: &mut Shell) -> Option<Exit> {
    let known = shell.client.get::<Setup>("/v1/setup").and_then(|setup| {
        let network: Network = shell.client.get("/v1/network")?;
        Ok((setup, network))
    });
    let (setup, network) = match known {
        Ok(known) => known,
        Err(failures) => {
            shell.refused(&failures);
            return Some(Exit::Failed);
        }
    };
    match ask(shell, &setup, network) {
        Ok(flow) => flow,
        // Another login may have answered meanwhile.
        Err(Left) if is_set_up(shell) => None,
        Err(Left) => {
            shell.console.line("This appliance is not set up. The next login begins anew.");
            Some(Exit::Failed)
        }
    }
}

fn is_set_up(shell: &Shell) -> bool {
    shell.client.get::<Setup>("/v1/setup").is_ok_and(|setup| !setup.needed)
}

fn ask(shell: &mut Shell, setup: &Setup, mut network: Network) -> Asked<Option<Exit>> {
    licence(shell, &setup.licence)?;
    shell.console.line("");
    shell.console.line("Please answer the questions below. Default values are shown in brackets.");
    shell.console.line("If this appliance replaces a failed one, do not give it that one's address now:");
    shell.console.line("the restore brings it, and two units with one address disturb each other.");
    shell.console.line("");
    details::paragraphs(&mut shell.console, &setup.password_rules);
    let mut secret = password(shell)?;
    let mut others = network::questions(shell, &mut network)?;
    loop {
        let mut changes = vec![Change::Password { user: None, password: secret.clone() }];
        changes.extend(others.iter().cloned());
        let failures = match configure(shell, changes) {
            Ok(Settled::Done | Settled::Waits(_)) => break,
            Ok(Settled::Failed(_)) => return Err(Left),
            Ok(Settled::Unknown(Flow::Next(_))) if is_set_up(shell) => break,
            Ok(Settled::Unknown(Flow::Next(exit))) => {
                shell.console.line("Where that succeeds, the next login is with the new password.");
                return Ok(Some(exit));
            }
            Ok(Settled::Unknown(Flow::Leave(exit))) => return Ok(Some(exit)),
            Err(failures) => failures,
        };
        shell.refused(&failures);
        // The agent has the last word. What another answer can mend is asked again.
        let about = |code| failures.iter().any(|failure| failure.code == code);
        match () {
            () if about(Code::PasswordRefused) => secret = password(shell)?,
            () if about(Code::BadRequest) => others = network::questions(shell, &mut network)?,
            () => return Err(Left),
        }
    }
    shell.console.line("This appliance is set up.");
    Ok(offer(shell))
}

fn licence(shell: &mut Shell, terms: &[String]) -> Asked<()> {
    shell.console.begin(Vec::new(), true);
    details::paragraphs(&mut shell.console, terms);
    shell.console.end();
    let question = "Please enter 'YES' or press <ENTER> to AGREE to the licence terms: ";
    match answer(shell, question, "yes", "YES or NO", is_yes)? {
        true => Ok(()),
        false => Err(Left),
    }
}

fn password(shell: &mut Shell) -> Asked<Secret> {
    for _ in 0..TRIES {
        match new_password(shell, None) {
            Ok(password) => return Ok(password),
            Err(Untyped::Refused) => {}
            Err(Untyped::Left) => return Err(Left),
        }
    }
    Err(Left)
}

fn configure(shell: &mut Shell, changes: Vec<Change>) -> Result<Settled, Vec<Failure>> {
    shell.console.line("Configuring this appliance...");
    let request = ConfigureRequest { changes, confirm_within: None, setup: true };
    let started: Started = shell.client.post("/v1/configure", &request)?;
    Ok(watch::settle(shell, started.id))
}

/// A replacement is set up to be restored. Some where the session ends with it.
fn offer(shell: &mut Shell) -> Option<Exit> {
    if !agreed(shell, "Restore a backup onto this appliance now? (y/n): ") {
        shell
            .console
            .line("`restore remote-manager-backup` restores one at any time; ? lists every command.");
        return None;
    }
    let Ok(source) = source(shell) else {
        shell.console.line("Nothing was restored. `restore remote-manager-backup` does it at any time.");
        return None;
    };
    let request =
        RestoreRequest { source, check: false, device: None, overrides: [].into(), confirm_within: None };
    match shell.client.post::<Started>("/v1/restore", &request) {
        Ok(started) => match watch(shell, started.id) {
            Flow::Leave(exit) => Some(exit),
            Flow::Next(_) => None,
        },
        Err(failures) => {
            shell.refused(&failures);
            None
        }
    }
}

/// Where the backup is.
fn source(shell: &mut Shell) -> Asked<Source> {
    let server = answer(
        shell,
        "SSH server that holds the backup (empty for this appliance's own folder): ",
        "",
        "a name or an address, perhaps with :PORT",
        |text| if text.is_empty() { Some(None) } else { values::endpoint(text).map(Some) },
    )?;
    let Some(endpoint) = server else {
        let question = "Name of the backup file: ";
        return answer(shell, question, "", "a file's name", values::file).map(Source::Backup);
    };
    let user = answer(shell, "User on the server: ", "", "a user's name", values::user)?;
    let whole = |text: &str| values::path(text).and_then(|path| values::remote_path(&path, None));
    let path = answer(shell, "Whole path of the backup file: ", "", "a file's path", whole)?;
    let (host, port) = (endpoint.host, endpoint.port);
    Ok(Source::Location(Location { host, port, user, path, fingerprint: None }))
}
