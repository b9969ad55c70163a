//! The daemon itself: its memory idle, while it receives, and idle again.

use std::time::{Duration, Instant};

use reinstate_api::{Phase, RestoreRequest, Source, Started, Status};
use serde_json::json;

use super::{Archive, Bench, figures, process};
use crate::Result;
use crate::machine::Machine;

/// A check that is not over by then hangs.
const PATIENCE: Duration = Duration::from_secs(600);
/// Idle is: nothing was asked of it for so long.
const QUIET: Duration = Duration::from_secs(12);

/// In MiB.
pub struct Memory {
    pub started: f64,
    pub peak: f64,
    pub idle: f64,
}

/// Boots the appliance, lets it check an archive, and looks at the daemon's memory.
pub(super) fn measure(bench: &Bench, archive: &Archive) -> Result<Memory> {
    bench.clear()?;
    let mut machine = Machine::new(&bench.program, &bench.root);
    bench.guard.watch(machine.power());
    machine.start()?;
    let id = machine.daemon().ok_or("the daemon has ended")?;
    std::thread::sleep(QUIET);
    let started = figures::mib(process::resident(id)?);
    let request =
        RestoreRequest { source: Source::Location(bench.location(&bench.sshd, archive)), check: true };
    let begun = Instant::now();
    let _: Started = machine.client().post("/v1/restore", &json!(request))?;
    let mut received = None;
    let status: Status = loop {
        let status = machine.status()?;
        let Some(job) = &status.job else { return Err("the check has vanished".into()) };
        if job.phase > Phase::Receiving && received.is_none() {
            received = Some(begun.elapsed());
        }
        if job.outcome.is_some() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("it hung: no end after {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let failures: Vec<_> =
        status.job.iter().flat_map(|job| &job.outcome).flat_map(|o| o.failures()).collect();
    if let Some(failure) = failures.first() {
        return Err(format!("the check failed: {failure}").into());
    }
    let peak = figures::mib(process::peak(id)?);
    std::thread::sleep(QUIET);
    let idle = figures::mib(process::resident(id)?);
    let took = received.unwrap_or_default().as_secs_f64();
    println!(
        "  {:>10} bytes: {started:.1} MiB after the start, {peak:.1} MiB at most, {idle:.1} MiB after it; received in {took:.1} s",
        archive.bytes
    );
    machine.stop();
    Ok(Memory { started, peak, idle })
}
