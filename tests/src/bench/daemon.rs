//! The daemon itself: its memory idle, while it receives, and idle again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reinstate_api::{Answer, AnswerRequest, Phase, RestoreRequest, Source, Started, Status};
use serde_json::json;

use super::{Archive, Bench, figures, process};
use crate::Result;
use crate::machine::Machine;

/// A check that is not over by then hangs.
const PATIENCE: Duration = Duration::from_secs(600);
/// Idle is: nothing was asked of it for so long.
const QUIET: Duration = Duration::from_secs(12);

/// In MiB; the machine runs on.
pub struct Memory {
    pub started: f64,
    pub peak: f64,
    pub machine: Machine,
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
    let request = RestoreRequest {
        source: Source::Location(bench.location(&bench.sshd, archive)),
        check: true,
        device: None,
        overrides: BTreeSet::new(),
        confirm_within: None,
    };
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
    let after = figures::mib(process::resident(id)?);
    let took = received.unwrap_or_default().as_secs_f64();
    println!(
        "  {:>10} bytes: {started:.1} MiB after the start, {peak:.1} MiB at most, {after:.1} MiB after it; received in {took:.1} s",
        archive.bytes
    );
    Ok(Memory { started, peak, machine })
}

/// Lets it restore what the check has left in the backup folder: MiB of the daemon that runs after the
/// restart.
pub(super) fn after_a_restore(machine: Machine, archive: &Archive) -> Result<f64> {
    let file = archive.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let client = machine.client();
    let request = RestoreRequest {
        source: Source::Backup(file),
        check: false,
        device: None,
        overrides: BTreeSet::new(),
        confirm_within: None,
    };
    let _: Started = client.post("/v1/restore", &json!(request))?;
    let begun = Instant::now();
    loop {
        let Some(job) = machine.status()?.job else { return Err("the restore has vanished".into()) };
        if let Some(failure) = job.outcome.iter().flat_map(|outcome| outcome.failures()).next() {
            return Err(format!("the restore failed: {failure}").into());
        }
        if let Some(question) = job.question {
            let _: serde_json::Value = client.post(
                "/v1/answer",
                &json!(AnswerRequest { question: question.number, answer: Answer::Yes }),
            )?;
            break;
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("no question after {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    machine.wait_for_reboot(1)?;
    std::thread::sleep(QUIET);
    let id = machine.daemon().ok_or("the daemon has ended")?;
    let idle = figures::mib(process::resident(id)?);
    println!("  {:>10} bytes: {idle:.1} MiB after a restore and its restart", archive.bytes);
    Ok(idle)
}
