//! The one program that an account's login shell lets sshd start: its SFTP subsystem.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use reinstate_api::Failure;

use crate::confine;

/// As `Subsystem sftp` in `/usr/lib/reinstate/sshd_config` has it.
const PROGRAM: &str = "/usr/lib/reinstate/sftp";

/// Whether this is the command that sshd gives for the subsystem, to the letter.
pub fn is_asked(command: &OsStr) -> bool {
    command == PROGRAM
}

/// Becomes the subsystem, with nothing of the session's environment. Returns only when that failed.
pub fn become_it() -> Failure {
    confine::no_new_rights();
    let error = Command::new(PROGRAM).env_clear().env("PATH", confine::PATH).exec();
    Failure::io(format_args!("cannot run {PROGRAM}"), &error)
}
