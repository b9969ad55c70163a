//! The agent's log: the journal where systemd has started it, standard error elsewhere.
//!
//! What an operator should act on carries a message ID, under which the journal's catalogue says what
//! it means and what to do (`journalctl -x`).

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use reinstate_api::{Code, Failure};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// For the whole process.
pub fn init() {
    // systemd sets it where standard error is the journal.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    match journal {
        Some(journal) => {
            tracing_subscriber::registry()
                .with(journal.with_field_prefix(None))
                .with(LevelFilter::INFO)
                .init();
        }
        None => {
            tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).with_ansi(false).init();
        }
    }
}

/// A failure, with what the catalogue knows it by.
pub fn error(failure: &Failure) {
    tracing::error!(message_id = message_id(failure.code), code = %failure.code, hint = %failure.hint, "{failure}");
}

/// Said on the machine's console as well: there may be no other way to hear of it.
pub fn on_console(failure: &Failure) {
    tell_console(&format!("{failure}\r\nreinstate: {}", failure.hint));
}

/// For whoever waits at the machine's console; without one there is the journal.
pub fn tell_console(text: &str) {
    // One that is held with Ctrl-S, or that nobody reads, holds nothing up.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let console = std::fs::OpenOptions::new().write(true).custom_flags(flags.bits()).open("/dev/console");
    if let Ok(mut console) = console {
        let _ = write!(console, "\r\nreinstate: {text}\r\n");
    }
}

/// As in `systemd/reinstate.catalog`.
pub fn message_id(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::ConfigurationBroken => "2d1c6f0e6d2b4b6f9a55a7f1d1b1c001",
        Code::ActivationFailed => "2d1c6f0e6d2b4b6f9a55a7f1d1b1c002",
        Code::Unhealthy => "2d1c6f0e6d2b4b6f9a55a7f1d1b1c003",
        Code::RebootFailed => "2d1c6f0e6d2b4b6f9a55a7f1d1b1c004",
        Code::StateUnreadable => "2d1c6f0e6d2b4b6f9a55a7f1d1b1c005",
        Code::ProfileInvalid => "2d1c6f0e6d2b4b6f9a55a7f1d1b1c006",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_explains_every_message_id() {
        let catalogue = include_str!("../../systemd/reinstate.catalog");
        let known: Vec<_> = Code::ALL.iter().filter_map(|(code, _)| message_id(*code)).collect();
        for id in &known {
            assert!(catalogue.contains(&format!("-- {id}\n")), "{id}");
        }
        assert_eq!(
            catalogue.matches("\n-- ").count() + usize::from(catalogue.starts_with("-- ")),
            known.len()
        );
    }
}
