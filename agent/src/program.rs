//! The image's programs that root's short processes run.

use std::process::{Command, Output, Stdio};

use reinstate_api::Failure;

/// Runs one to its end, with nothing of this process's environment and no input.
///
/// # Errors
/// `io` where it cannot be run; what it ended with is for the caller to read.
pub fn run(program: &str, words: &[&str]) -> Result<Output, Failure> {
    Command::new(program)
        .args(words)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Failure::io(format_args!("cannot run {program}"), &e))
}
