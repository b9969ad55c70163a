//! A machine: an appliance's folder with the agent running over it, and what stands for the
//! firmware and systemd.
//!
//! A boot empties `/run`, runs `activate` to its end, then the daemon. When the daemon asks for a
//! reboot, the machine ends it and boots again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{PipeReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use reinstate_api::Status;

use crate::client::Client;
use crate::disk::Trace;
use crate::fault::{Fault, Kind};
use crate::{Result, doing};

/// How often something that is waited for is looked at.
const PAUSE: Duration = Duration::from_millis(10);
/// A daemon that is asked to end may take so long; then it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// A boot is over within this time, or has failed.
const BOOT: Duration = Duration::from_secs(60);
/// Longer than the reference profile's time for health, and a rollback's after it.
const JOB: Duration = Duration::from_secs(300);

/// The file by which the agent asks for a reboot, below the root.
const REBOOT: &str = "run/reinstate/reboot";
/// The file by which it asks to be switched off.
const POWER_OFF: &str = "run/reinstate/power-off";

/// The library that sets a process's clock.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// One machine. Dropping it kills everything that it started.
pub struct Machine {
    power: Power,
    supervisor: Option<JoinHandle<()>>,
}

/// The power switch of a machine, for whoever has to stop it from another thread.
#[derive(Clone)]
pub struct Power(Arc<Shared>);

struct Shared {
    /// The binary that is both the agent and the shell.
    program: PathBuf,
    root: PathBuf,
    log: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Raised whenever the power goes: a boot that finds it changed has been cut.
    cuts: u64,
    activation: Option<Child>,
    daemon: Option<Child>,
    shells: BTreeMap<u32, Child>,
    up: bool,
    rebooting: bool,
    reboots: u32,
    failed: Option<String>,
    gone: bool,
    fault: Option<Fault>,
    /// What the clock shows, as faketime takes it; unset, the time.
    clock: Option<String>,
    /// Where every process writes its durable steps down.
    trace: Option<Trace>,
}

impl Machine {
    /// A machine over `root` that is switched off. `program` is the multi-call binary: `reinstated`
    /// as its first argument makes it the agent, `shell` the admin's shell. The log is beside the
    /// root, with `.log` added to its name.
    pub fn new(program: impl Into<PathBuf>, root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let log = root.with_extension("log");
        let power = Power(Arc::new(Shared { program: program.into(), root, log, state: Mutex::default() }));
        Self { power, supervisor: None }
    }

    pub fn power(&self) -> Power {
        self.power.clone()
    }

    pub fn root(&self) -> &Path {
        &self.shared().root
    }

    /// What the agent wrote to its standard output and error.
    pub fn log(&self) -> &Path {
        &self.shared().log
    }

    pub fn client(&self) -> Client {
        Client::new(self.shared().socket())
    }

    pub fn status(&self) -> Result<Status> {
        self.client().get("/v1/status")
    }

    /// The next process of the agent that runs `fault`'s verb does not get past it.
    pub fn arm(&self, fault: Fault) {
        self.shared().lock().fault = Some(fault);
    }

    /// From the next boot on the clock of the appliance is wrong by so much, as faketime takes it: `-20y`.
    pub fn set_clock(&self, wrong_by: Option<&str>) {
        self.shared().lock().clock = wrong_by.map(str::to_owned);
    }

    /// From the next boot on, whatever runs writes its durable steps down.
    pub fn record(&self, folder: &Path) -> Result<Trace> {
        let trace = Trace::begin(folder, self.root())?;
        self.shared().lock().trace = Some(trace.clone());
        Ok(trace)
    }

    /// Boots, and returns when the agent answers.
    pub fn start(&mut self) -> Result<()> {
        let cuts = self.shared().lock().cuts;
        self.shared().boot(cuts)?;
        if self.supervisor.is_none() {
            let shared = self.power.0.clone();
            self.supervisor = Some(std::thread::spawn(move || shared.supervise()));
        }
        Ok(())
    }

    /// Starts the daemon alone, as systemd does after a crash, and returns when it answers. Nothing is
    /// started during a restart of the machine, which brings a daemon of its own.
    pub fn restart_daemon(&self) -> Result<()> {
        let cuts = {
            // A restart of the machine begins only while a daemon is up: none can begin after this.
            let state = self.shared().lock();
            if state.rebooting {
                return Ok(());
            }
            state.cuts
        };
        self.shared().serve(cuts)?;
        self.shared().lock().failed = None;
        Ok(())
    }

    /// Shuts down: the daemon may end by itself.
    pub fn stop(&self) {
        self.shared().shut_down();
        self.power.cut();
    }

    /// Kills the daemon, and nothing else: a crash.
    pub fn kill9(&self) {
        let mut state = self.shared().lock();
        state.up = false;
        if let Some(mut daemon) = state.daemon.take() {
            // It may have ended already.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// The process id of the daemon; none where it does not run.
    pub fn daemon(&self) -> Option<u32> {
        self.shared().lock().daemon.as_ref().map(Child::id)
    }

    /// The reboots so far that the agent asked for.
    pub fn reboots(&self) -> u32 {
        self.shared().lock().reboots
    }

    /// True from when the agent asks for a reboot until it answers again.
    pub fn is_rebooting(&self) -> bool {
        self.shared().lock().rebooting || self.shared().root.join(REBOOT).exists()
    }

    /// Waits until the agent has had the machine switched off.
    pub fn wait_for_power_off(&self) -> Result<()> {
        let off = self.shared().root.join(POWER_OFF);
        self.wait("switching off", |state| !state.up && state.daemon.is_none() && off.exists())
    }

    /// Waits until the agent has asked for `count` reboots in all, and answers after the last one.
    pub fn wait_for_reboot(&self, count: u32) -> Result<()> {
        self.wait(&format!("reboot {count}"), |state| state.up && state.reboots >= count)
    }

    /// Waits until the agent answers and has no job that is still running.
    pub fn wait_until_idle(&self) -> Result<Status> {
        let until = Instant::now() + JOB;
        loop {
            if let Some(why) = &self.shared().lock().failed {
                return Err(why.clone().into());
            }
            if !self.is_rebooting() {
                match self.status() {
                    Ok(status) if status.job.as_ref().is_none_or(|j| j.outcome.is_some()) => {
                        return Ok(status);
                    }
                    Err(error) if Instant::now() > until => return Err(error),
                    _ => {}
                }
            }
            if Instant::now() > until {
                return Err(self.shared().trouble("a job has not ended within 300 s"));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn wait(&self, what: &str, done: impl Fn(&State) -> bool) -> Result<()> {
        let until = Instant::now() + BOOT;
        loop {
            let state = self.shared().lock();
            if let Some(why) = &state.failed {
                return Err(why.clone().into());
            }
            if done(&state) {
                return Ok(());
            }
            drop(state);
            if Instant::now() > until {
                let why = format!("{what} did not happen within {} s", BOOT.as_secs());
                return Err(self.shared().trouble(&why));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Runs one command in the admin's shell; `answers` is its whole standard input. Output and errors
    /// come in one, as on a terminal.
    pub fn shell(&self, command: &str, answers: &str) -> Result<Output> {
        let (id, mut stdin, mut output) = self.open_shell(command)?;
        // A shell that has ended reads no more.
        let _ = stdin.write_all(answers.as_bytes());
        drop(stdin);
        let mut stdout = Vec::new();
        output.read_to_end(&mut stdout)?;
        Ok(Output { status: self.shared().await_shell(id)?, stdout, stderr: Vec::new() })
    }

    /// Runs one command in the admin's shell. Whenever there is new output, `show` gets it and `answer`
    /// gets the unfinished last line; what that gives is typed.
    pub fn converse(
        &self,
        command: &str,
        answer: &mut dyn FnMut(&str) -> Option<String>,
        show: &mut dyn FnMut(&[u8]),
    ) -> Result<ExitStatus> {
        let (id, mut stdin, mut output) = self.open_shell(command)?;
        let mut line = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let count = output.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            show(&chunk[..count]);
            for byte in &chunk[..count] {
                match byte {
                    b'\n' | b'\r' => line.clear(),
                    byte => line.push(*byte),
                }
            }
            if let Some(typed) = answer(&String::from_utf8_lossy(&line)) {
                line.clear();
                // A shell that has ended reads no more.
                let _ = stdin.write_all(typed.as_bytes());
            }
        }
        drop(stdin);
        self.shared().await_shell(id)
    }

    /// The interactive shell on this process's terminal, until it ends.
    pub fn run_shell(&self) -> Result<ExitStatus> {
        let child = self.shell_command().spawn()?;
        let id = child.id();
        self.shared().lock().shells.insert(id, child);
        self.shared().await_shell(id)
    }

    fn open_shell(&self, command: &str) -> Result<(u32, ChildStdin, PipeReader)> {
        // One pipe for both, so that lines keep their order.
        let (output, theirs) = std::io::pipe()?;
        let mut child = self
            .shell_command()
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(theirs.try_clone()?)
            .stderr(theirs)
            .spawn()?;
        let stdin = child.stdin.take().ok_or("the shell has no input")?;
        let id = child.id();
        self.shared().lock().shells.insert(id, child);
        Ok((id, stdin, output))
    }

    fn shell_command(&self) -> Command {
        let shared = self.shared();
        let mut command = Command::new(&shared.program);
        command.arg("shell").arg("--socket").arg(shared.socket());
        command
    }

    fn shared(&self) -> &Shared {
        &self.power.0
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shared().lock().gone = true;
        self.power.cut();
        if let Some(supervisor) = self.supervisor.take() {
            let _ = supervisor.join();
        }
    }
}

impl Power {
    /// Pulls the plug: everything that runs is killed, in the middle of whatever it does.
    pub fn cut(&self) {
        let mut state = self.0.lock();
        state.cuts += 1;
        state.up = false;
        state.rebooting = false;
        let State { activation, daemon, .. } = &mut *state;
        for mut child in [activation.take(), daemon.take()].into_iter().flatten() {
            end_group(&child);
            let _ = child.wait();
        }
        for shell in state.shells.values_mut() {
            let _ = shell.kill();
        }
    }
}

/// Kills a child and those that it started.
fn end_group(child: &Child) {
    // The child leads its group, and its id is not reused before it is waited for.
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn socket(&self) -> PathBuf {
        self.root.join(reinstate_api::SOCKET)
    }

    fn supervise(&self) {
        loop {
            let due = {
                let mut state = self.lock();
                if state.gone {
                    return;
                }
                let due = state.up && self.root.join(REBOOT).exists();
                state.rebooting |= due;
                due
            };
            if self.lock().up && self.root.join(POWER_OFF).exists() {
                self.shut_down();
            }
            if due {
                let cuts = self.lock().cuts;
                self.shut_down();
                let booted = self.boot(cuts);
                let mut state = self.lock();
                match booted {
                    Ok(()) => state.reboots += 1,
                    Err(_) if state.cuts != cuts => {}
                    Err(error) => state.failed = Some(error.to_string()),
                }
                state.rebooting = false;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Asks the daemon to end, and kills what is left of it.
    fn shut_down(&self) {
        let until = Instant::now() + GRACE;
        let mut asked = false;
        loop {
            let mut state = self.lock();
            state.up = false;
            let Some(daemon) = &mut state.daemon else {
                return;
            };
            let ended = !matches!(daemon.try_wait(), Ok(None));
            if ended || Instant::now() > until {
                end_group(daemon);
                let _ = daemon.wait();
                state.daemon = None;
                return;
            }
            if !asked {
                let _ = kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM);
                asked = true;
            }
            drop(state);
            std::thread::sleep(PAUSE);
        }
    }

    /// `cuts` is what it was when the boot was decided on.
    fn boot(&self, cuts: u64) -> Result<()> {
        {
            let mut state = self.lock();
            if state.daemon.is_some() || state.activation.is_some() {
                return Err("the machine is running already".into());
            }
            state.failed = None;
        }
        self.empty_run()?;
        let activation = self.spawn("activate")?;
        self.keep(cuts, activation, |state| &mut state.activation)?;
        let until = Instant::now() + BOOT;
        let status = loop {
            let mut state = self.lock();
            let Some(activation) = &mut state.activation else {
                return Err("the power was cut".into());
            };
            if let Some(status) = activation.try_wait()? {
                state.activation = None;
                break status;
            }
            drop(state);
            if Instant::now() > until {
                return Err(self.trouble("`reinstated activate` does not end"));
            }
            std::thread::sleep(PAUSE);
        };
        // As with the units: the daemon starts however activation ended, so that it can be asked why.
        if !status.success() {
            self.note(&format!("`reinstated activate` ended with {status}"))?;
        }
        self.serve(cuts)
    }

    fn serve(&self, cuts: u64) -> Result<()> {
        let daemon = self.spawn("serve")?;
        self.keep(cuts, daemon, |state| &mut state.daemon)?;
        let client = Client::new(self.socket());
        let until = Instant::now() + BOOT;
        loop {
            if client.call("GET", "/v1/status", None).is_ok() {
                let mut state = self.lock();
                state.up = state.daemon.is_some();
                return Ok(());
            }
            let mut state = self.lock();
            let Some(daemon) = &mut state.daemon else {
                return Err("the power was cut".into());
            };
            if let Some(status) = daemon.try_wait()? {
                state.daemon = None;
                drop(state);
                return Err(self.trouble(&format!("`reinstated serve` ended with {status}")));
            }
            drop(state);
            if Instant::now() > until {
                return Err(self.trouble("`reinstated serve` does not answer"));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Puts a child into its place, unless the power was cut since.
    fn keep(
        &self,
        cuts: u64,
        mut child: Child,
        place: impl Fn(&mut State) -> &mut Option<Child>,
    ) -> Result<()> {
        let mut state = self.lock();
        if state.cuts != cuts || place(&mut state).is_some() {
            end_group(&child);
            let _ = child.wait();
            return Err("the power was cut, or the machine is running already".into());
        }
        *place(&mut state) = Some(child);
        Ok(())
    }

    fn spawn(&self, verb: &str) -> Result<Child> {
        let log = doing("open", &self.log, self.open_log())?;
        let fault = {
            let mut state = self.lock();
            let record = |trace: &Trace| Fault::everywhere(Kind::Record(trace.folder().to_owned()));
            let recorder = state.trace.as_ref().map(record);
            recorder.or_else(|| state.fault.take_if(|fault| fault.applies(verb)))
        };
        let mut command = Command::new(&self.program);
        command.args(fault.iter().flat_map(Fault::words)).arg("reinstated").arg("--root").arg(&self.root);
        command.arg(verb).process_group(0).stdin(Stdio::null());
        if let Some(clock) = &self.lock().clock {
            // What measures how long something takes is not set with the clock.
            command
                .env("FAKETIME", clock)
                .env("LD_PRELOAD", FAKETIME)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let child = command.stdout(log.try_clone()?).stderr(log).spawn();
        doing("start", &self.program, child)
    }

    fn open_log(&self) -> std::io::Result<File> {
        File::options().create(true).append(true).open(&self.log)
    }

    fn note(&self, text: &str) -> Result<()> {
        let written = self.open_log().and_then(|mut log| writeln!(log, "machine: {text}"));
        doing("write", &self.log, written)
    }

    /// `/run` is in memory: a boot begins with an empty one, and the folders that systemd makes.
    fn empty_run(&self) -> Result<()> {
        let run = self.root.join("run");
        match fs::remove_dir_all(&run) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return doing("empty", &run, Err(error));
            }
            _ => {}
        }
        for folder in ["run", "run/reinstate"] {
            let at = self.root.join(folder);
            doing("make", &at, fs::create_dir(&at))?;
            doing("make", &at, fs::set_permissions(&at, fs::Permissions::from_mode(0o755)))?;
        }
        Ok(())
    }

    fn await_shell(&self, id: u32) -> Result<ExitStatus> {
        loop {
            let mut state = self.lock();
            let shell = state.shells.get_mut(&id).ok_or("the shell is gone")?;
            if let Some(status) = shell.try_wait()? {
                state.shells.remove(&id);
                return Ok(status);
            }
            drop(state);
            std::thread::sleep(PAUSE);
        }
    }

    /// What went wrong, with the end of the log.
    fn trouble(&self, what: &str) -> crate::Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..].join("\n  ");
        format!("{what}; the log {} ends with\n  {tail}", self.log.display()).into()
    }
}
