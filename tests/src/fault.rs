//! Faults: an agent that dies, waits or only counts at one of its durable steps.
//!
//! `sandbox fault VERB FAULT VALUE reinstated …` is the agent with the fault in the process that runs
//! VERB, be it this one or one that it starts.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
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
    /// From the durable step of this number on, the disk is in trouble; what failed goes to standard error.
    Trouble(Trouble, u64),
    /// Writes each step down, into the trace in this folder.
    Record(PathBuf),
}

/// What a disk may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing more fits.
    NoSpace,
    /// Nothing at all can be changed.
    ReadOnly,
    /// The first write fails.
    Write,
    /// The first sync fails. Whoever syncs the same file again, as if that could make it good, is ended.
    Sync,
}

impl Trouble {
    pub const ALL: [Trouble; 4] = [Trouble::NoSpace, Trouble::ReadOnly, Trouble::Write, Trouble::Sync];

    fn as_str(self) -> &'static str {
        match self {
            Self::NoSpace => "no-space",
            Self::ReadOnly => "read-only",
            Self::Write => "write",
            Self::Sync => "sync",
        }
    }

    /// The error that the step gets.
    fn error(self, step: &Step<'_>, is_first: bool) -> Option<Errno> {
        let grows = matches!(step, Step::Create(_) | Step::Write(..) | Step::MakeFolder(_) | Step::Link(_));
        match self {
            Self::NoSpace => grows.then_some(Errno::ENOSPC),
            Self::ReadOnly => Some(Errno::EROFS),
            Self::Write => (is_first && matches!(step, Step::Write(..))).then_some(Errno::EIO),
            Self::Sync => {
                (is_first && matches!(step, Step::Sync(_) | Step::SyncAll(_))).then_some(Errno::EIO)
            }
        }
    }
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
            Kind::Trouble(trouble, from) => ("trouble", format!("{}:{from}", trouble.as_str()).into()),
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
    Ok(match kind.to_str() {
        Some("record") => Arc::new(Recorder::new(Path::new(value))?),
        Some("trouble") => Arc::new(BadDisk::new(value)?),
        _ => Arc::new(Trap::new(kind, value)?),
    })
}

/// A disk in trouble.
struct BadDisk {
    trouble: Trouble,
    from: u64,
    done: AtomicU64,
    failed: Mutex<Option<PathBuf>>,
}

impl BadDisk {
    fn new(value: &OsString) -> crate::Result<Self> {
        let text = value.to_string_lossy();
        let (name, from) = text.split_once(':').ok_or("trouble is NAME:STEP")?;
        let trouble = Trouble::ALL.into_iter().find(|trouble| trouble.as_str() == name);
        let trouble = trouble.ok_or_else(|| format!("there is no trouble '{name}'"))?;
        Ok(Self { trouble, from: from.parse()?, done: AtomicU64::new(0), failed: Mutex::default() })
    }
}

impl Steps for BadDisk {
    fn step(&self, step: Step<'_>, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let number = self.done.fetch_add(1, Ordering::SeqCst);
        let mut failed = self.failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match (&*failed, &step) {
            (Some(file), Step::Sync(path))
                if self.trouble == Trouble::Sync && file == path && path.is_file() =>
            {
                eprintln!("fault: {} is synced again", path.display());
                std::process::abort();
            }
            // Another file of the same name.
            (Some(file), Step::Create(path) | Step::Remove(path)) if file == path => {
                *failed = Some(PathBuf::new());
            }
            _ => {}
        }
        let error = self.trouble.error(&step, failed.is_none()).filter(|_| number >= self.from);
        let Some(error) = error else { return run() };
        eprintln!("fault: step {number}, {step:?}: {error}");
        if let Step::Sync(path) = step {
            *failed = Some(path.to_owned());
        } else {
            failed.get_or_insert_default();
        }
        Err(error.into())
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
