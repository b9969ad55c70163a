//! The admin's restricted shell: a client of the agent's API on its Unix socket, and nothing else.
//!
//! A line typed is read by the [table](grammar::TABLE), becomes one request, and its job is watched;
//! the job itself is the agent's, so a session that ends never ends it.

mod client;
mod commands;
mod details;
mod editor;
pub mod grammar;
mod lock;
pub mod parse;
mod progress;
mod question;
mod show;
mod signals;
mod subsystem;
mod terminal;
mod text;
mod token;
mod values;
mod watch;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use reinstate_api::{Code, Failure};

use client::Client;
use editor::LineEditor;
use signals::Signals;
use terminal::{Console, Heard};

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
    /// The lines typed, oldest first.
    typed: Vec<String>,
}

/// Lines that `history` shows.
const HISTORY: usize = 100;

impl Shell {
    /// Shows why the agent refused.
    fn refused(&mut self, failures: &[Failure]) -> Flow {
        for failure in failures {
            self.console.failure(failure);
        }
        let unreachable = failures.iter().any(|failure| failure.code == Code::AgentUnreachable);
        Flow::Next(if unreachable { Exit::Unreachable } else { Exit::Failed })
    }

    /// Keeps a line for `history`.
    fn remember(&mut self, line: &str) {
        if !line.trim().is_empty() {
            if self.typed.len() == HISTORY {
                self.typed.remove(0);
            }
            self.typed.push(line.trim().to_owned());
        }
    }
}

/// Stands for a line that is no text or too long, so that the answer is a syntax error.
const NO_COMMAND: &str = "\u{fffd}";

const USAGE: &str = "usage: reinstate-shell [--socket PATH] [-c COMMAND]";

struct Arguments {
    socket: PathBuf,
    command: Option<OsString>,
}

/// Runs the shell with these arguments, the program's name first: `[--socket PATH] [-c COMMAND]`.
///
/// Without `-c` it is interactive on standard input and output. The exit status is that of the last
/// command: 0 done, 1 refused, failed or not watched to its end, 2 not understood, 3 agent
/// unreachable. Takes Ctrl-C away from the process, so call it before there are other threads.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(arguments) = arguments(args) else {
        eprintln!("{USAGE}");
        return Exit::Syntax.into();
    };
    if arguments.command.as_deref().is_some_and(subsystem::is_asked) {
        eprintln!("{}", subsystem::become_it());
        return Exit::Failed.into();
    }
    let signals = Rc::new(Signals::take());
    let Ok(input) = std::io::stdin().as_fd().try_clone_to_owned() else {
        return Exit::Failed.into();
    };
    let mut console = Console::new(input, Box::new(std::io::stdout()), Rc::clone(&signals));
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut editor = if terminal { LineEditor::open() } else { None };
    if std::io::stdout().is_terminal() {
        console.set_columns(editor.as_mut().map_or(80, LineEditor::columns));
    }
    let editor = editor.filter(|_| edits());
    let client = Client::new(arguments.socket, Rc::clone(&signals));
    let mut shell = Shell { client, console, typed: Vec::new() };
    let exit = match arguments.command {
        Some(command) => {
            let line = command.into_string().unwrap_or_else(|_| NO_COMMAND.to_owned());
            match commands::execute(&mut shell, &line) {
                Flow::Next(exit) | Flow::Leave(exit) => exit,
            }
        }
        None => session(&mut shell, editor, &signals),
    };
    exit.into()
}

fn arguments(args: impl Iterator<Item = OsString>) -> Option<Arguments> {
    let mut args = args.skip(1);
    let mut arguments = Arguments { socket: PathBuf::from("/").join(reinstate_api::SOCKET), command: None };
    while let Some(arg) = args.next() {
        match arg.to_str()? {
            "--socket" => arguments.socket = args.next()?.into(),
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

/// Reads and runs lines until the end of the input, `exit`, or a restart.
fn session(shell: &mut Shell, mut editor: Option<LineEditor>, signals: &Signals) -> Exit {
    commands::greet(shell);
    let mut last = Exit::Ok;
    while !shell.console.is_gone() {
        let line = match &mut editor {
            Some(editor) => editor.line(),
            None => plain_line(&mut shell.console),
        };
        let Some(line) = line else {
            return last;
        };
        signals.forget();
        if let Some(editor) = &mut editor {
            shell.console.set_columns(editor.columns());
        }
        shell.remember(&line);
        match commands::execute(shell, &line) {
            Flow::Next(exit) => last = exit,
            Flow::Leave(exit) => return exit,
        }
    }
    last
}

/// A line where nothing is edited; empty after Ctrl-C, None at the end of the input.
fn plain_line(console: &mut Console) -> Option<String> {
    let mut asking = console.prompt();
    match console.hear(&mut asking, None) {
        Heard::Line(line) => Some(line.expose().to_owned()),
        Heard::Unusable => Some(NO_COMMAND.to_owned()),
        Heard::Interrupt | Heard::Other => Some(String::new()),
        Heard::End | Heard::Hangup => None,
    }
}
