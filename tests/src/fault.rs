//! Faults: an agent that dies, waits or only counts at one of its durable steps.
//!
//! `sandbox fault VERB FAULT VALUE reinstated …` is the agent with the fault in the process that runs
//! VERB, be it this one or one that it starts.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use reinstate_agent::cli;
use reinstate_agent::files::{Direct, Step, Steps};
use reinstate_agent::state::State;
use reinstate_api::{Lock, Phase};

use crate::disk::Recorder;

/// How long a process waits that is held up.
const HELD: Duration = Duration::from_millis(1500);

/// In place of a verb: whatever runs.
const EVERY: &str = "*";

/// What happens to the process that runs a verb.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The process that the daemon or the machine starts for this verb has the fault.
    pub verb: &'static str,
    /// Whose process the fault is given to: itself, or one that starts it.
    pub starter: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// Killed instead of making the durable step of this number; the first is 0.
    Kill(u64),
    /// Late by 1.5 s at the durable step of this number.
    Hold(u64),
    /// Makes no step any more once it is on record that the job is in this phase.
    Pause(Phase),
    /// Writes a byte to this file at each durable step.
    Count(PathBuf),
    /// Writes each step down, into the trace in this folder.
    Record(PathBuf),
}

impl Fault {
    pub fn new(verb: &'static str, kind: Kind) -> Self {
        Self { verb, starter: verb, kind }
    }

    /// In a process that the daemon starts.
    pub fn below_daemon(verb: &'static str, kind: Kind) -> Self {
        Self { verb, starter: "serve", kind }
    }

    /// In every process.
    pub fn everywhere(kind: Kind) -> Self {
        Self { verb: EVERY, starter: EVERY, kind }
    }

    /// Has a process that is started for `verb` to be told of it?
    pub fn applies(&self, verb: &str) -> bool {
        self.starter == verb || self.starter == EVERY
    }

    /// The words before `reinstated`.
    pub fn words(&self) -> [OsString; 4] {
        let (kind, value) = match &self.kind {
            Kind::Kill(step) => ("kill", step.to_string().into()),
            Kind::Hold(step) => ("hold", step.to_string().into()),
            Kind::Pause(phase) => ("pause", phase.as_str().into()),
            Kind::Count(path) => ("count", path.clone().into_os_string()),
            Kind::Record(folder) => ("record", folder.clone().into_os_string()),
        };
        ["fault".into(), self.verb.into(), kind.into(), value]
    }
}

/// Runs the agent with the fault that the words after `fault` name.
pub fn run(program: PathBuf, words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<_> = words.collect();
    let Some((fault, [name, args @ ..])) = words.split_at_checked(3) else {
        eprintln!("usage: sandbox fault VERB FAULT VALUE reinstated …");
        return ExitCode::from(2);
    };
    let steps: Arc<dyn Steps> = match fault[0] == EVERY || args.contains(&fault[0]) {
        false => Arc::new(Direct),
        true => match decorator(&fault[1], &fault[2]) {
            Ok(steps) => steps,
            Err(error) => {
                eprintln!("sandbox fault: {error}");
                return ExitCode::from(2);
            }
        },
    };
    // What this process starts has the same words before its verb.
    let prefix = [&[program.into_os_string(), "fault".into()], fault, std::slice::from_ref(name)].concat();
    cli::run_with(prefix, args.iter().cloned(), steps)
}

fn decorator(kind: &OsString, value: &OsString) -> crate::Result<Arc<dyn Steps>> {
    match kind == "record" {
        true => Ok(Arc::new(Recorder::new(Path::new(value))?)),
        false => Ok(Arc::new(Trap::new(kind, value)?)),
    }
}

enum Trigger {
    Kill(u64),
    Hold(u64),
    Pause(Phase),
    Count(File),
}

struct Trap {
    trigger: Trigger,
    done: AtomicU64,
    /// The record with the phase has its name; next, its folder is synced.
    named: AtomicBool,
    sprung: AtomicBool,
}

impl Trap {
    fn new(kind: &OsString, value: &OsString) -> crate::Result<Self> {
        let text = value.to_string_lossy();
        let trigger = match kind.to_string_lossy().as_ref() {
            "kill" => Trigger::Kill(text.parse()?),
            "hold" => Trigger::Hold(text.parse()?),
            "pause" => {
                let phase = Phase::ALL.into_iter().find(|phase| phase.as_str() == text);
                Trigger::Pause(phase.ok_or_else(|| format!("there is no phase '{text}'"))?)
            }
            "count" => Trigger::Count(File::options().create(true).append(true).open(value)?),
            other => return Err(format!("there is no fault '{other}'").into()),
        };
        let (named, sprung) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { trigger, done: AtomicU64::new(0), named, sprung })
    }
}

impl Steps for Trap {
    fn step(&self, step: Step<'_>, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let number = self.done.fetch_add(1, Ordering::SeqCst);
        match &self.trigger {
            Trigger::Kill(at) if *at == number => {
                kill(nix::unistd::getpid(), Signal::SIGKILL)?;
                never()
            }
            Trigger::Hold(at) if *at == number => std::thread::sleep(HELD),
            Trigger::Count(file) => (&mut &*file).write_all(b".")?,
            Trigger::Pause(_) if self.sprung.load(Ordering::SeqCst) => never(),
            _ => {}
        }
        run()?;
        if let Trigger::Pause(phase) = &self.trigger {
            match step {
                Step::Rename(_, to) if on_record(to, *phase) => self.named.store(true, Ordering::SeqCst),
                Step::Sync(_) if self.named.load(Ordering::SeqCst) => {
                    self.sprung.store(true, Ordering::SeqCst);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Until somebody kills this process.
fn never() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// The state is the record of every phase but the last, which the restore lock alone tells.
fn on_record(path: &Path, phase: Phase) -> bool {
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    match path.file_name().and_then(|name| name.to_str()) {
        Some("restore.lock") if phase == Phase::Finishing => {
            toml::from_str::<Lock>(&text).is_ok_and(|lock| lock.phase == phase)
        }
        Some("state.toml") if phase != Phase::Finishing => toml::from_str::<State>(&text)
            .is_ok_and(|state| state.job.is_some_and(|job| job.phase() == phase)),
        _ => false,
    }
}
