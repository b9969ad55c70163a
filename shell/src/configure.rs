//! Changes of the configuration: what is said before and after them, and passwords that are asked for.

use reinstate_api::{Change, ConfigureRequest, Failure, JobKind, PasswordCheck, Secret, Started};
use serde::de::IgnoredAny;

use crate::terminal::Heard;
use crate::watch::{self, Settled};
use crate::{Exit, Flow, Shell};

type Done = Result<Flow, Vec<Failure>>;

/// Makes one change.
pub fn change(shell: &mut Shell, change: Change) -> Done {
    let (before, after) = words(&change);
    if !before.is_empty() {
        shell.console.line(before);
    }
    let request = ConfigureRequest { changes: vec![change], confirm_within: None, setup: false };
    let started: Started = shell.client.post("/v1/configure", &request)?;
    let settled = watch::settle(shell, started.id);
    if matches!(settled, Settled::Done | Settled::Waits(_)) {
        after.iter().for_each(|line| shell.console.line(line));
    }
    Ok(match settled {
        Settled::Done => Flow::Next(Exit::Ok),
        Settled::Waits(until) => {
            shell.console.text(watch::unconfirmed(JobKind::Configure, until));
            Flow::Next(Exit::Ok)
        }
        Settled::Failed(exit) => Flow::Next(exit),
        Settled::Unknown(flow) => flow,
    })
}

/// What is said before a change, and after it.
fn words(change: &Change) -> (String, Vec<String>) {
    let network = vec!["Network settings changed.".to_owned()];
    match change {
        Change::Ipv4(_) => ("Setting IPv4 network configuration...".into(), network),
        Change::Ipv6(_) => ("Setting IPv6 network configuration...".into(), network),
        Change::Hostname(name) => (format!("Setting hostname to {name}..."), network),
        Change::DnsServers(_) => ("Setting DNS servers...".into(), network),
        Change::SearchDomains(_) => ("Setting DNS search domains...".into(), network),
        Change::ManagerAdd(manager) => (
            String::new(),
            vec![
                format!("Manager {} successfully configured.", manager.host),
                "Give the manager the same registration key to complete the registration.".into(),
            ],
        ),
        Change::Password { user: None, .. } => (String::new(), vec!["Password changed.".into()]),
        Change::Password { user: Some(user), .. } => {
            (String::new(), vec![format!("The password of {user} was changed.")])
        }
        Change::UserAdd { name, access, .. } => {
            (String::new(), vec![format!("User {name} was added with access {access}.")])
        }
        Change::UserAccess { name, access } => {
            (String::new(), vec![format!("User {name} has access {access} now.")])
        }
        Change::UserDelete { name } => (String::new(), vec![format!("User {name} was deleted.")]),
        Change::TrustedHostAdd { host, .. } => (String::new(), vec![format!("Host {host} is trusted now.")]),
        Change::TrustedHostDelete { host, .. } => {
            (String::new(), vec![format!("The keys of host {host} are forgotten.")])
        }
        Change::SshAccessList(networks) if networks.is_empty() => {
            (String::new(), vec!["SSH is open from everywhere.".into()])
        }
        Change::SshAccessList(networks) => {
            (String::new(), vec![format!("SSH is open from {} only.", networks.join(", "))])
        }
    }
}

/// Asks for a new password twice, then changes it.
pub fn password(shell: &mut Shell, user: Option<String>) -> Done {
    match new_password(shell, user.as_deref()) {
        Ok(password) => change(shell, Change::Password { user, password }),
        Err(_) => Ok(Flow::Next(Exit::Failed)),
    }
}

/// Asks for the new user's password twice, then makes the account.
pub fn user_add(shell: &mut Shell, name: String, access: reinstate_api::Access) -> Done {
    match new_password(shell, Some(&name)) {
        Ok(password) => change(shell, Change::UserAdd { name, access, password }),
        Err(_) => Ok(Flow::Next(Exit::Failed)),
    }
}

/// Why there is no password.
pub enum Untyped {
    /// It is none, which was said.
    Refused,
    /// Ctrl-C, or nothing more is typed.
    Left,
}

/// A password that the agent takes, typed twice the same.
pub fn new_password(shell: &mut Shell, user: Option<&str>) -> Result<Secret, Untyped> {
    let password = hidden(shell, "Enter new password: ")?;
    // Refused before it is typed once more, and before there is a job.
    let check = PasswordCheck { user: user.map(str::to_owned), password: password.clone() };
    if let Err(failures) = shell.client.post::<IgnoredAny>("/v1/password/check", &check) {
        shell.refused(&failures);
        return Err(Untyped::Refused);
    }
    let again = hidden(shell, "Confirm new password: ")?;
    if password.expose() != again.expose() {
        shell.console.line("The two passwords differ. Nothing was changed.");
        return Err(Untyped::Refused);
    }
    Ok(password)
}

fn hidden(shell: &mut Shell, question: &str) -> Result<Secret, Untyped> {
    let mut asking = shell.console.ask(question, false);
    loop {
        match shell.console.hear(&mut asking, None) {
            Heard::Line(line) => return Ok(line),
            Heard::Unusable => {
                shell.console.line("That is no text, or too long. Nothing was changed.");
                return Err(Untyped::Refused);
            }
            Heard::End | Heard::Interrupt | Heard::Hangup | Heard::Idle => return Err(Untyped::Left),
            _ => {}
        }
    }
}
