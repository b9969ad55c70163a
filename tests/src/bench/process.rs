//! Processes that are measured: how long they take, and how much memory.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// A run that is not over by then hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// The most memory that a process had, in KiB.
pub fn peak(id: u32) -> Result<u64> {
    memory(id, "VmHWM")
}

/// The memory that a process has now, in KiB.
pub fn resident(id: u32) -> Result<u64> {
    memory(id, "VmRSS")
}

/// The memory that only this process has, in KiB.
pub fn private(id: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let private = text.lines().filter(|line| line.starts_with("Private_")).map(|line| {
        let value = line.split_whitespace().nth(1).and_then(|value| value.parse::<u64>().ok());
        value.ok_or_else(|| format!("/proc/{id}/smaps_rollup: {line}").into())
    });
    private.sum()
}

/// How long the processor has worked for a process of one thread.
pub fn worked(id: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{id}/schedstat"))?;
    let nanoseconds = text.split_whitespace().next().and_then(|value| value.parse().ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| format!("/proc/{id}/schedstat: {text}").into())
}

fn memory(id: u32, field: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
    kib.ok_or_else(|| format!("/proc/{id}/status has no {field}").into())
}

/// Runs a process to its end: seconds from its start, and what it printed.
pub fn timed(command: &mut Command) -> Result<(f64, String)> {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let watched = wait(&mut child, begun);
    let took = begun.elapsed().as_secs_f64();
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    watched?;
    if !status.success() {
        let words = [stdout, stderr].concat();
        return Err(format!("{command:?} ended with {status}: {}", String::from_utf8_lossy(&words)).into());
    }
    Ok((took, String::from_utf8(stdout)?))
}

/// What these processes print fits into a pipe, so nobody has to read while they run.
fn wait(child: &mut Child, begun: Instant) -> Result<()> {
    while child.try_wait()?.is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill()?;
            return Err(format!("it hung: not over after {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Nothing of the last run is left to be written when the next one begins.
pub fn settle(folder: &Path) -> Result<()> {
    timed(Command::new("sync").arg("-f").arg(folder)).map(drop)
}
