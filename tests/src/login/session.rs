//! A session on a terminal: what a person at a keyboard has, and what scripts that pretend to be one have.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, ttyname};

use super::Client;

/// A program on a terminal of its own: a stock `ssh`, or the shell on the appliance itself. Dropping it ends it, and
/// what it has started.
pub struct Session {
    child: Child,
    master: File,
    /// The terminal's other side, by name: its size is set there.
    terminal: PathBuf,
    /// What has come and was not waited for.
    unread: String,
    bytes: Vec<u8>,
}

impl Session {
    /// A login, on a terminal of so many rows and columns.
    pub fn open(client: &Client, rows: u16, columns: u16) -> Self {
        let mut ssh = client.command("ssh");
        ssh.args(["-tt", "appliance"]).env("TERM", "xterm");
        Self::of(&ssh, rows, columns)
    }

    pub fn of(program: &Command, rows: u16, columns: u16) -> Self {
        let pair = crate::pty::open(rows, columns).unwrap();
        let terminal = ttyname(&pair.slave).unwrap();
        // A session of its own, with this terminal: so that a change of its size is noticed.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let slave = File::from(pair.slave);
        let child = command
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave))
            .spawn()
            .unwrap();
        Self { child, master: File::from(pair.master), terminal, unread: String::new(), bytes: Vec::new() }
    }

    pub fn write(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Types whatever bytes, in pieces that a terminal holds; what comes meanwhile is taken.
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(1024) {
            if self.master.write_all(piece).is_err() {
                return;
            }
            while self.more(Instant::now()) {}
        }
    }

    /// Of the program itself, which becomes the leader of the terminal's session.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What has come so far and was not waited for.
    pub fn unread(&self) -> &str {
        &self.unread
    }

    /// What comes up to the end of `pattern`.
    pub fn read_until(&mut self, pattern: &str, patience: Duration) -> Result<String, String> {
        let end = Instant::now() + patience;
        loop {
            if let Some(at) = self.unread.find(pattern) {
                let rest = self.unread.split_off(at + pattern.len());
                return Ok(std::mem::replace(&mut self.unread, rest));
            }
            if !self.more(end) {
                return Err(format!("'{pattern}' did not come, but {:?}", self.unread));
            }
        }
    }

    /// False at the end of the session, and when there was nothing until then.
    fn more(&mut self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now()).as_millis();
        let timeout = PollTimeout::try_from(left.min(60_000) as i32).unwrap();
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout).unwrap() == 0 {
            return Instant::now() < end;
        }
        let mut piece = [0; 4096];
        // The last other side of a terminal that is closed is an error, not an end.
        let Ok(count @ 1..) = self.master.read(&mut piece) else { return false };
        self.bytes.extend(&piece[..count]);
        let valid = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.len(),
            // What may go on with the next piece is kept.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.bytes.len(),
        };
        let rest = self.bytes.split_off(valid);
        self.unread += &String::from_utf8_lossy(&self.bytes);
        self.bytes = rest;
        true
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let (rows, columns) = (rows.to_string(), columns.to_string());
        crate::must(
            Command::new("stty").arg("-F").arg(&self.terminal).args(["rows", &rows, "cols", &columns]),
        );
    }

    /// Waits for the session to end by itself; None where it does not.
    pub fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            // What is not read keeps the other side from ending.
            let soon = Instant::now() + Duration::from_millis(20);
            while self.more(soon) && Instant::now() < soon {}
            if let Some(status) = self.child.try_wait().unwrap() {
                // Its last words.
                while self.more(Instant::now()) {}
                return Some(status);
            }
        }
        None
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // It leads a session, whose first group has its number, or it has not come so far.
            let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
