//! The shell on a real terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::agent::*;
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use reinstate_api::*;
use serde_json::json;

struct Terminal {
    keys: File,
    output: Receiver<Vec<u8>>,
    /// What was printed since the last thing expected.
    seen: String,
    child: Child,
}

impl Terminal {
    fn open(agent: &Agent, term: &str) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_reinstate-shell"), "--socket"])
            .arg(agent.socket())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", term)
            .stdin(pty.slave.try_clone().unwrap())
            .stdout(pty.slave.try_clone().unwrap())
            .stderr(pty.slave)
            .spawn()
            .unwrap();
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone().unwrap();
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut chunk) {
                if send.send(chunk[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { keys, output, seen: String::new(), child }
    }

    /// Waits for this text and returns what came before it.
    fn expect(&mut self, text: &str) -> String {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(at) = self.seen.find(text) {
                let before = self.seen[..at].to_owned();
                self.seen.drain(..at + text.len());
                return before;
            }
            let left = until.saturating_duration_since(Instant::now());
            let chunk = self.output.recv_timeout(left);
            let chunk = chunk.unwrap_or_else(|_| panic!("{text:?} did not come, but {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&chunk));
        }
    }

    fn send(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.keys).unwrap().local_flags.contains(LocalFlags::ECHO)
    }

    fn exit(mut self) -> Option<i32> {
        exit_status(&mut self.child)
    }
}

fn restore(steps: Vec<Step>) -> Agent {
    let idle = Reply::Json(200, serde_json::to_value(status(None)).unwrap());
    Agent::start(&[("GET /v1/status", idle), ("GET /v1/managers", Reply::Json(200, json!([])))], steps)
}

#[test]
fn a_password_is_never_shown_and_the_restart_ends_the_session() {
    for term in ["vt100", "dumb"] {
        let agent = restore(vec![
            say(password(1)),
            Step::Await("POST /v1/answer", 1),
            say(confirm(2)),
            Step::Await("POST /v1/answer", 2),
            say(job(Phase::Rebooting)),
            Step::Hold,
        ]);
        let mut terminal = Terminal::open(&agent, term);
        terminal.expect("> ");
        terminal.send("restore remote-manager-backup fw-a.tar\r");
        terminal.expect("admin@192.0.2.9's password: ");
        assert!(!terminal.echoes());
        terminal.send("correct horse\r");
        let shown = terminal.expect("Are you sure you want to continue (Y/N): ");
        assert!(!shown.contains("horse"), "{shown}");
        assert!(shown.contains("\r\nModel = VFW-100\r\n"), "{shown}");
        assert!(terminal.echoes());
        terminal.send("Y\r");
        terminal.expect("Y\r\n");
        terminal.expect("The system is going down for reboot NOW!\r\n");
        let bodies: Vec<_> = agent.changes().into_iter().map(|asked| asked.body["answer"].clone()).collect();
        assert_eq!(bodies[1..], [json!({"secret": "correct horse"}), json!("yes")]);
        assert_eq!(terminal.exit(), Some(0));
    }
}

#[test]
fn ctrl_c_returns_to_the_prompt_even_from_a_password() {
    let agent = restore(vec![say(password(1)), Step::Hold]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.send("restore remote-manager-backup fw-a.tar\r");
    terminal.expect("password: ");
    terminal.send("half\u{3}");
    terminal.expect("Watching stopped; the job goes on.");
    terminal.expect("> ");
    assert!(!terminal.echoes(), "the editor reads key by key and echoes by itself");
    terminal.send("show managers\r");
    terminal.expect("No managers configured.\r\n");
    terminal.send("exit\r");
    assert_eq!(terminal.exit(), Some(0));
    assert_eq!(agent.changes().len(), 1, "nothing but the start was asked");
}

#[test]
fn a_terminal_that_cannot_is_sent_no_escape_sequence() {
    let agent = restore(vec![]);
    let mut terminal = Terminal::open(&agent, "dumb");
    assert_eq!(terminal.expect("> "), "");
    terminal.send("show managers\r");
    assert_eq!(terminal.expect("\r\n> "), "show managers\r\nNo managers configured.");
    terminal.send("\u{3}");
    assert_eq!(terminal.expect("\r\n> "), "^C");
    terminal.send("logout\n");
    assert_eq!(terminal.exit(), Some(0));
}

#[test]
fn an_editing_terminal_shows_what_is_typed_and_completes_words() {
    let agent = restore(vec![]);
    let mut terminal = Terminal::open(&agent, "xterm");
    let opening = terminal.expect("> ");
    assert!(!opening.contains("[?2004h") && !opening.contains("[?2026h"), "{opening:?}");
    terminal.expect("\u{1b}[2C");
    for key in "show".chars() {
        terminal.send(&key.to_string());
        assert_eq!(terminal.expect(&key.to_string()), "");
    }
    terminal.send(" man\t\r");
    terminal.expect("agers ");
    terminal.expect("No managers configured.\r\n");
    // Typed any earlier, the terminal takes Ctrl-D for itself.
    terminal.expect("\u{1b}[2C");
    terminal.send("\u{4}");
    assert_eq!(terminal.exit(), Some(0));
}

#[test]
fn a_session_whose_terminal_goes_ends_quietly_and_the_job_goes_on() {
    let agent = restore(vec![say(password(1)), Step::Hold]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.send("restore remote-manager-backup fw-a.tar\r");
    terminal.expect("password: ");
    let Terminal { keys, output, mut child, .. } = terminal;
    let shell = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    // `setsid --wait` forks only where it has to.
    let pid = shell.split_whitespace().next().map_or(child.id(), |pid| pid.parse().unwrap());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    exit_status(&mut child);
    assert!(tcgetattr(&keys).unwrap().local_flags.contains(LocalFlags::ECHO), "echo is on again");
    drop(output);
    assert_eq!(agent.changes().len(), 1, "nothing but the start was asked");
}
