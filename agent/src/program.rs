//! The image's programs that root's short processes run.

use std::io::BufReader;
use std::process::{Command, Output, Stdio};

use reinstate_api::{Code, Failure};

use crate::tail;

/// Runs one to its end, with nothing of this process's environment and no input.
///
/// # Errors
/// `io` where it cannot be run; what it ended with is for the caller to read.
pub fn run(program: &str, words: &[&str]) -> Result<Output, Failure> {
    command(program, words).output().map_err(|e| Failure::io(format_args!("cannot run {program}"), &e))
}

/// The last lines that one says, however much that is.
///
/// # Errors
/// `io` where it cannot be run, `internal` where it ends with another status than 0.
pub fn last_lines(program: &str, words: &[&str], count: usize) -> Result<Vec<String>, Failure> {
    let cannot = |e: std::io::Error| Failure::io(format_args!("cannot run {program}"), &e);
    let mut child = command(program, words).stdout(Stdio::piped()).spawn().map_err(cannot)?;
    let lines = child.stdout.take().map(|said| tail::read(BufReader::new(said), count)).transpose();
    let status = child.wait().map_err(cannot)?;
    let lines = lines.map_err(cannot)?.unwrap_or_default();
    match status.success() {
        true => Ok(lines),
        false => Err(Failure::new(Code::Internal, format!("{program} ended with {status}"))),
    }
}

fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(words)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    command
}
