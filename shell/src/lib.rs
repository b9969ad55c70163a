//! The admin's restricted shell: a client of the agent's API on its Unix socket, and nothing else.
//!
//! A line typed is read by the [table](grammar::TABLE), becomes one request, and its job is watched;
//! the job itself is the agent's, so a session that ends never ends it.

mod client;
mod commands;
mod configure;
mod confine;
mod details;
pub mod grammar;
mod history;
mod lock;
pub mod parse;
mod progress;
mod question;
pub mod reference;
mod session;
mod show;
mod signals;
mod subsystem;
mod system;
mod terminal;
mod text;
mod token;
mod values;
mod watch;
mod wizard;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use nix::unistd::getuid;
use reinstate_api::{Access, Code, Failure, Session};

use client::{Client, Lasting};
use history::History;
use signals::Signals;
use terminal::Console;

/// How a command ended, as the exit status says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Ok = 0,
    /// Refused, failed, or not watched to its end.
    Failed = 1,
    Syntax = 2,
    Unreachable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// What comes after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Next(Exit),
    /// The session ends.
    Leave(Exit),
}

/// One session.
struct Shell {
    client: Client,
    console: Console,
    signals: Rc<Signals>,
    history: History,
    /// What the agent lets this user do.
    access: Access,
    /// The appliance's own root.
    is_root: bool,
    /// No program that this one starts gains rights any more.
    confined: bool,
    /// The agent counts the session for as long as this is open.
    lasting: Option<Lasting>,
}

impl Shell {
    /// Shows why the agent refused.
    fn refused(&mut self, failures: &[Failure]) -> Flow {
        for failure in failures {
            self.console.failure(failure);
        }
        let unreachable = failures.iter().any(|failure| failure.code == Code::AgentUnreachable);
        Flow::Next(if unreachable { Exit::Unreachable } else { Exit::Failed })
    }

    /// Tells the agent of this session. Without an agent there is one all the same: it says what is wrong.
    fn enter(&mut self) -> Result<Session, Vec<Failure>> {
        let from = if std::env::var_os("SSH_CONNECTION").is_some() { "ssh" } else { "console" };
        match self.client.session(from) {
            Ok((mut session, lasting)) => {
                self.access = session.access;
                if !session.expert {
                    confine::no_new_rights();
                    self.confined = true;
                }
                self.lasting = Some(lasting);
                // Root has not come in by the factory's password.
                session.setup &= !self.is_root;
                Ok(session)
            }
            Err(failures) if failures.iter().all(|failure| failure.code == Code::AgentUnreachable) => {
                let (user, idle, setup, expert) = (String::new(), 0, false, false);
                Ok(Session { user, access: Access::Config, idle, setup, expert })
            }
            Err(failures) => Err(failures),
        }
    }
}

/// Stands for a line that is no text or too long, so that the answer is a syntax error.
const NO_COMMAND: &str = "\u{fffd}";

const USAGE: &str = "usage: reinstate-shell [--socket PATH] [-c COMMAND]";

struct Arguments {
    socket: PathBuf,
    /// The socket is this appliance's own agent's.
    own: bool,
    command: Option<OsString>,
}

/// Runs the shell with these arguments, the program's name first: `[--socket PATH] [-c COMMAND]`.
///
/// Without `-c` it is interactive on standard input and output. The exit status is that of the last
/// command: 0 done, 1 refused, failed or not watched to its end, 2 not understood, 3 agent
/// unreachable. Takes Ctrl-C away from the process, so call it before there are other threads.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    if let Err(error) = confine::scrub() {
        eprintln!("reinstate-shell: it cannot be started again with an empty environment: {error}");
        return Exit::Failed.into();
    }
    let Some(arguments) = arguments(args) else {
        eprintln!("{USAGE}");
        return Exit::Syntax.into();
    };
    if arguments.command.as_deref().is_some_and(subsystem::is_asked) {
        eprintln!("{}", subsystem::become_it());
        return Exit::Failed.into();
    }
    if let Err(errno) = confine::close() {
        eprintln!("reinstate-shell: core dumps cannot be forbidden: {errno}");
        return Exit::Failed.into();
    }
    let signals = Rc::new(Signals::take());
    let Ok(input) = std::io::stdin().as_fd().try_clone_to_owned() else {
        return Exit::Failed.into();
    };
    let mut console = Console::new(input, Box::new(std::io::stdout()), Rc::clone(&signals));
    if std::io::stdout().is_terminal() {
        console.on_terminal(arguments.command.is_none() && std::io::stdin().is_terminal() && edits());
    }
    let is_root = arguments.own && getuid().is_root();
    let history = if arguments.own { History::of_this_user() } else { History::default() };
    let client = Client::new(arguments.socket, Rc::clone(&signals));
    let mut shell = Shell {
        client,
        console,
        signals,
        history,
        access: Access::Config,
        is_root,
        confined: false,
        lasting: None,
    };
    let exit = match arguments.command {
        Some(command) => {
            let line = command.into_string().ok().filter(|line| line.len() <= terminal::LIMIT);
            let line = line.unwrap_or_else(|| NO_COMMAND.to_owned());
            match commands::alone(&mut shell, &line) {
                Flow::Next(exit) | Flow::Leave(exit) => exit,
            }
        }
        None => interactive(&mut shell),
    };
    shell.console.leave_terminal();
    exit.into()
}

fn interactive(shell: &mut Shell) -> Exit {
    // Clients look for a prompt behind a line's end, the first one too.
    if shell.console.columns().is_some() {
        shell.console.line("");
    }
    if let Some(exit) = begin(shell) {
        return exit;
    }
    if shell.lasting.is_none() {
        // It says why.
        commands::greet(shell);
    }
    session::run(shell)
}

/// What comes before the first prompt, as soon as the agent is there. Some where the session ends with it.
fn begin(shell: &mut Shell) -> Option<Exit> {
    let session = match shell.enter() {
        Ok(session) => session,
        Err(failures) => {
            shell.refused(&failures);
            return Some(Exit::Failed);
        }
    };
    shell.console.end_after(Duration::from_secs(session.idle));
    match session.setup {
        true if session.access < Access::Config => {
            shell.refused(&[
                setup_needed().hint("an admin has to log in first, who is asked what it has to know")
            ]);
            return Some(Exit::Failed);
        }
        true => return wizard::run(shell),
        false => {}
    }
    if shell.lasting.is_some() {
        commands::greet(shell);
    }
    None
}

fn setup_needed() -> Failure {
    Failure::new(Code::SetupNeeded, "this appliance is not set up yet")
}

fn arguments(args: impl Iterator<Item = OsString>) -> Option<Arguments> {
    let mut args = args.skip(1);
    let socket = PathBuf::from("/").join(reinstate_api::SOCKET);
    let mut arguments = Arguments { socket, own: true, command: None };
    while let Some(arg) = args.next() {
        match arg.to_str()? {
            "--socket" => (arguments.socket, arguments.own) = (args.next()?.into(), false),
            "-c" => arguments.command = Some(args.next()?),
            _ => return None,
        }
    }
    Some(arguments)
}

/// Whether this terminal can be written to with escape sequences.
fn edits() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    !matches!(term.as_str(), "" | "dumb" | "cons25" | "emacs")
}
