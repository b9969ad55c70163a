//! Waiting for whatever comes first: input, the agent, or a signal.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// This one of the descriptors, the first that is ready.
    Ready(usize),
    /// Ctrl-C.
    Interrupt,
    /// The session is being ended.
    Hangup,
    Timeout,
}

/// Ctrl-C as something to wait for, so that it stops a wait and never the shell.
pub struct Signals {
    heard: Option<SignalFd>,
    /// The session is being ended: every wait says so from then on.
    hung_up: Cell<bool>,
    interrupts: Cell<u64>,
}

impl Signals {
    /// Takes Ctrl-C, Ctrl-\ and Ctrl-Z away from the process. Call it before there are threads.
    pub fn take() -> Self {
        let mut blocked = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP] {
            blocked.add(signal);
        }
        let mut heard = ending();
        // Heard and left alone: a program that takes the shell's place must not find them waiting.
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP] {
            heard.add(signal);
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let heard = blocked.thread_block().and_then(|()| SignalFd::with_flags(&heard, flags)).ok();
        Self { heard, hung_up: Cell::new(false), interrupts: Cell::new(0) }
    }

    /// Forgets a Ctrl-C that was typed while nothing waited.
    pub fn forget(&self) {
        while self.next().is_some() {}
    }

    /// How often Ctrl-C was heard: what was typed before it counts no more.
    pub fn interrupts(&self) -> u64 {
        self.interrupts.get()
    }

    /// A signal that has come.
    fn next(&self) -> Option<Signal> {
        let signal = self.heard.as_ref()?.read_signal().ok()??;
        let signal = i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())?;
        match signal {
            Signal::SIGINT => self.interrupts.set(self.interrupts.get() + 1),
            Signal::SIGHUP | Signal::SIGTERM => self.hung_up.set(true),
            _ => {}
        }
        Some(signal)
    }

    /// Waits until one of these can be read or has ended; without a limit where `limit` is None.
    pub fn wait(&self, fds: &[BorrowedFd<'_>], limit: Option<Duration>) -> Wake {
        let until = limit.map(|limit| Instant::now() + limit);
        loop {
            if self.hung_up.get() {
                return Wake::Hangup;
            }
            let mut polled: Vec<PollFd> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
            if let Some(signals) = &self.heard {
                polled.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = left.map_or(PollTimeout::NONE, |left| {
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            });
            match poll(&mut polled, timeout) {
                Err(Errno::EINTR) => continue,
                Err(_) => return Wake::Hangup,
                Ok(0) if left.is_some_and(|left| left.is_zero()) => return Wake::Timeout,
                Ok(_) => {}
            }
            let ready = |fd: &PollFd| fd.any().unwrap_or(true);
            if polled.get(fds.len()).is_some_and(ready) {
                match self.next() {
                    Some(Signal::SIGINT) => return Wake::Interrupt,
                    // The loop's beginning says it.
                    Some(Signal::SIGHUP | Signal::SIGTERM) => continue,
                    _ => {}
                }
            }
            if let Some(first) = polled[..fds.len()].iter().position(ready) {
                return Wake::Ready(first);
            }
        }
    }
}

/// The signals that end a session.
fn ending() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGHUP);
    set.add(Signal::SIGTERM);
    set
}

/// While this lives, the signals that end a session are only heard by waiting, so that what has to
/// be put right before the end is.
pub struct Held(());

impl Held {
    pub fn new() -> Self {
        // A mask of valid signals is always accepted.
        let _ = ending().thread_block();
        Self(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = ending().thread_unblock();
    }
}
