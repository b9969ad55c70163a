//! One session of the shell: keys in, every byte that comes back.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use reinstate_tests::pty;

/// Longer than the longest job takes on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(90);
/// Nothing comes for so long: nothing will.
const SILENCE: Duration = Duration::from_millis(500);

/// What the shell is used on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Terminal { columns: u16, rows: u16 },
    Pipes,
}

/// The shell runs; what it has written so far, with what was typed and not shown put in between.
pub struct Session {
    child: Child,
    /// None after the end of the input.
    keys: Option<File>,
    output: Receiver<Vec<u8>>,
    /// From here on nothing was waited for yet.
    mark: usize,
    pub record: Vec<u8>,
}

impl Session {
    /// `shell` starts it; on a terminal of its own, or on pipes.
    pub fn open(size: Size, shell: &Command) -> Self {
        let (child, keys, screen) = match size {
            Size::Terminal { columns, rows } => on_terminal(shell, columns, rows),
            Size::Pipes => on_pipes(shell),
        };
        let (send, output) = channel();
        std::thread::spawn(move || {
            let (mut screen, mut chunk) = (screen, [0; 4096]);
            // The last other side of a terminal that is closed is an error, not an end.
            while let Ok(count @ 1..) = screen.read(&mut chunk) {
                if send.send(chunk[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keys: Some(keys), output, mark: 0, record: Vec::new() }
    }

    pub fn send(&mut self, keys: &str) {
        self.mark = self.record.len();
        self.keys.as_mut().expect("the input has not ended").write_all(keys.as_bytes()).unwrap();
    }

    /// Notes what no byte shows.
    pub fn note(&mut self, text: &str) {
        self.record.extend(format!("«{text}»").bytes());
    }

    /// Waits until what has come since the last key ends like this.
    pub fn expect(&mut self, end: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.record[self.mark..].ends_with(end.as_bytes()) {
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.record.extend(bytes),
                Err(_) => panic!("{end:?} did not come, but\n{}", String::from_utf8_lossy(&self.record)),
            }
        }
    }

    /// Waits for the prompt, at the beginning of a line, also of the first. Pages are turned.
    pub fn expect_prompt(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let new = &self.record[self.mark..];
            if new.ends_with(b"\n> ") || self.mark == 0 && new == b"> " {
                return;
            }
            if new.ends_with(b"--More--") {
                self.note("Space");
                self.send(" ");
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.record.extend(bytes),
                Err(_) => panic!("no prompt came, but\n{}", String::from_utf8_lossy(&self.record)),
            }
        }
    }

    /// Waits for something, until nothing more comes.
    pub fn expect_something(&mut self) {
        let first = self.output.recv_timeout(PATIENCE).expect("something comes");
        self.record.extend(first);
        while let Ok(bytes) = self.output.recv_timeout(SILENCE) {
            self.record.extend(bytes);
        }
    }

    /// Waits as long as something may come of a key that shows nothing.
    pub fn expect_nothing(&mut self) {
        if let Ok(bytes) = self.output.recv_timeout(SILENCE) {
            panic!("{:?} came", String::from_utf8_lossy(&bytes));
        }
    }

    /// Nothing more is typed.
    pub fn end_input(&mut self) {
        self.mark = self.record.len();
        self.keys = None;
    }

    /// Waits for the session to end by itself, and notes its exit status.
    pub fn expect_end(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.output.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.record.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("it does not end:\n{}", String::from_utf8_lossy(&self.record))
                }
            }
        }
        let status = self.child.wait().unwrap();
        let shown = status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"));
        self.note(&format!("the session ends, {shown}"));
        self.record.push(b'\n');
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn on_terminal(shell: &Command, columns: u16, rows: u16) -> (Child, File, File) {
    let pty = pty::open(rows, columns).unwrap();
    // A session of its own, with this terminal; it becomes the shell, so Ctrl-C and the end of it are the shell's.
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(shell.get_program()).args(shell.get_args());
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin").env("TERM", "vt100");
    let child = command
        .stdin(pty.slave.try_clone().unwrap())
        .stdout(pty.slave.try_clone().unwrap())
        .stderr(pty.slave)
        .spawn()
        .unwrap();
    let keys = File::from(pty.master);
    let screen = keys.try_clone().unwrap();
    (child, keys, screen)
}

fn on_pipes(shell: &Command) -> (Child, File, File) {
    let (theirs, keys) = std::io::pipe().unwrap();
    // One pipe for both, so that lines keep their order.
    let (screen, output) = std::io::pipe().unwrap();
    let mut command = Command::new(shell.get_program());
    command.args(shell.get_args()).env_clear().env("PATH", "/usr/sbin:/usr/bin");
    let child = command
        .stdin(Stdio::from(theirs))
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let file = |fd: std::os::fd::OwnedFd| File::from(fd);
    (child, file(keys.into()), file(screen.into()))
}
