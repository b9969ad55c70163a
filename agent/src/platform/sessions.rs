//! What every session is told, and the console.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use reinstate_api::JobKind;

/// So many seconds are left to confirm what was configured, or else restored.
pub fn warn(seconds: u64, configured: bool) {
    tell(&unconfirmed(seconds, configured));
}

fn unconfirmed(seconds: u64, configured: bool) -> String {
    let left = match seconds {
        0..120 => format!("{seconds} seconds"),
        more => format!("{} minutes", more / 60),
    };
    let (what, kind, how) = match configured {
        true => ("change of the", JobKind::Configure, "without a restart"),
        false => ("restored", JobKind::Restore, "with a restart"),
    };
    format!(
        "The {what} configuration is not confirmed. Type `{}` within {left}, or the previous configuration comes \
         back {how}.",
        kind.confirmation()
    )
}

/// For the console and each session. Not by wall(1): logind does not know the terminal of a session over SSH.
fn tell(text: &str) {
    crate::log::tell_console(text);
    let Ok(terminals) = fs::read_dir("/dev/pts") else { return };
    let is_session = |name: &OsStr| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    for terminal in terminals.flatten().filter(|entry| is_session(&entry.file_name())) {
        // One that takes no more has nobody who reads.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let opened = fs::OpenOptions::new().write(true).custom_flags(flags.bits()).open(terminal.path());
        if let Ok(mut terminal) = opened {
            let _ = write!(terminal, "\r\nreinstate: {text}\r\n");
        }
    }
}
