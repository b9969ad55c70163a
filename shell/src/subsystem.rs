//! The one program that the login shell gives way to: the subsystem by which backups are copied.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::confine;

/// What sshd asks the login shell for when a client copies files.
pub const PROGRAM: &str = "/usr/lib/reinstate/sftp";

/// Becomes that program. It is a client of the agent as this shell is, and gets nothing of this session.
pub fn become_it() -> std::io::Error {
    confine::no_new_rights();
    Command::new(PROGRAM).env_clear().env("PATH", confine::PATH).exec()
}
