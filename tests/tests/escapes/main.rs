//! Attempts to get out of the shell, through the shipped SSH server's configuration and on a terminal. Each shows first
//! that it was made, and that where there is a way out it would have found it; then that it has led nowhere.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod arguments;
mod attempt;
mod commands;
mod environment;
mod forwarding;
mod home;
mod processes;
mod rights;
mod sessions;
mod shown;
mod subsystem;
mod terminal;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use reinstate_tests::appliance::Appliance;
use reinstate_tests::login::{ADMIN, Client, Login, Session};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

/// The shell's process, as sshd starts it.
const SHELL: &str = "/usr/bin/reinstate-shell";

const PATIENCE: Duration = Duration::from_secs(30);

const PROMPT: &str = "\r\n> ";

/// One login for the tests that leave it as it was; it ends with the last of those that run.
fn shared() -> Arc<Login> {
    static SHARED: Mutex<Weak<Login>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let login = Arc::new(Login::new(PROGRAM, &Appliance::replacement()));
        *shared = Arc::downgrade(&login);
        login
    })
}

/// One that a test has for itself.
fn own() -> (Login, Client) {
    own_of(&Appliance::replacement())
}

fn own_of(appliance: &Appliance) -> (Login, Client) {
    let login = Login::new(PROGRAM, appliance);
    let client = login.client(ADMIN);
    (login, client)
}

/// A session that has shown its first prompt.
fn session(client: &Client) -> Session {
    // As wide as scripts make it, so that no line is broken.
    let mut session = Session::open(client, 1000, 511);
    prompted(&mut session);
    session
}

fn prompted(session: &mut Session) {
    session.read_until("> ", PATIENCE).unwrap();
}

/// What a line is answered with, its echo left out.
fn say(session: &mut Session, line: &str) -> String {
    session.write(&format!("{line}\r"));
    session.read_until(line, PATIENCE).unwrap();
    session.read_until(PROMPT, PATIENCE).unwrap()
}

/// The session still takes commands and answers them.
fn assert_usable(session: &mut Session) {
    session.write("show version\r");
    session.read_until("UUID  ", PATIENCE).unwrap();
    session.read_until(PROMPT, PATIENCE).unwrap();
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Nothing in it moves a cursor, rings, or turns text round.
#[track_caller]
fn assert_plain(text: &str) {
    let is_odd = |c: &char| {
        c.is_control() && !matches!(c, '\n' | '\r') || reinstate_api::one_line(&c.to_string()).len() > 4
    };
    let odd: Vec<char> = text.chars().filter(is_odd).filter(|c| !matches!(c, '\n' | '\r')).collect();
    assert!(odd.is_empty(), "{odd:?} in {text:?}");
    assert!(!text.replace("\r\n", "\n").contains('\r'), "a bare CR in {text:?}");
}

fn agent_log(login: &Login) -> String {
    std::fs::read_to_string(login.machine.log()).unwrap()
}
