//! Waiting for whatever comes first: input, the agent, or a signal.

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
pub struct Signals(Option<SignalFd>);

impl Signals {
    /// Takes Ctrl-C, Ctrl-\ and Ctrl-Z away from the process. Call it before there are threads.
    pub fn take() -> Self {
        let mut blocked = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP] {
            blocked.add(signal);
        }
        let mut heard = ending();
        heard.add(Signal::SIGINT);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Self(blocked.thread_block().and_then(|()| SignalFd::with_flags(&heard, flags)).ok())
    }

    /// Forgets a Ctrl-C that was typed while nothing waited.
    pub fn forget(&self) {
        if let Some(signals) = &self.0 {
            while let Ok(Some(_)) = signals.read_signal() {}
        }
    }

    /// Waits until one of these can be read or has ended; without a limit where `limit` is None.
    pub fn wait(&self, fds: &[BorrowedFd<'_>], limit: Option<Duration>) -> Wake {
        let until = limit.map(|limit| Instant::now() + limit);
        loop {
            let mut polled: Vec<PollFd> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
            if let Some(signals) = &self.0 {
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
            if polled.get(fds.len()).is_some_and(ready)
                && let Some(Ok(Some(signal))) = self.0.as_ref().map(SignalFd::read_signal)
            {
                return match signal.ssi_signo == Signal::SIGINT as u32 {
                    true => Wake::Interrupt,
                    false => Wake::Hangup,
                };
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
