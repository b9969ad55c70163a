//! The admin's shell: from its start to its first prompt, beside another shell on the same machine, and its memory.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::figures::{self, Limit, Verdict, median};
use super::process;
use crate::Result;
use crate::appliance::Appliance;
use crate::machine::Machine;

/// Of each of the two, after some that are not counted.
const RUNS: usize = 60;
const WARM: usize = 5;
/// Milliseconds.
const PROMPT: f64 = 30.0;
/// MiB.
const MEMORY: f64 = 10.0;
/// Lines of the log that are shown.
const LINES: usize = 10_000;
/// A prompt that has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program on a terminal of its own.
struct Session {
    child: Child,
    terminal: File,
    begun: Instant,
}

impl Session {
    fn start(command: &mut Command) -> Result<Self> {
        let pty = crate::pty::open(24, 80)?;
        // As an SSH server has it: the shell does not keep the last three, and starts again without them.
        let environment = [
            ("PATH", "/usr/sbin:/usr/bin"),
            ("TERM", "vt100"),
            ("HOME", "/"),
            ("USER", "admin"),
            ("LANG", "C"),
        ];
        command.env_clear().envs(environment);
        command.stdin(pty.slave.try_clone()?).stdout(pty.slave.try_clone()?).stderr(pty.slave);
        let begun = Instant::now();
        let child = command.spawn()?;
        Ok(Self { child, terminal: File::from(pty.master), begun })
    }

    /// Reads up to the prompt; what came.
    fn prompt(&mut self, prompt: &str) -> Result<Vec<u8>> {
        let (end, mut said, mut chunk) = (Instant::now() + PATIENCE, Vec::new(), [0; 65536]);
        while !said.ends_with(prompt.as_bytes()) {
            let left = end.saturating_duration_since(Instant::now()).as_millis();
            let mut fds = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::try_from(i32::try_from(left)?)?)? == 0 {
                return Err(format!("no prompt came: {}", String::from_utf8_lossy(&said)).into());
            }
            let count = self.terminal.read(&mut chunk)?;
            said.extend(&chunk[..count]);
        }
        Ok(said)
    }

    fn say(&mut self, line: &str, prompt: &str) -> Result<Vec<u8>> {
        self.terminal.write_all(format!("{line}\r").as_bytes())?;
        self.prompt(prompt)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Milliseconds to the prompt, and of the processor until then.
#[derive(Default)]
struct Starts {
    took: Vec<f64>,
    worked: Vec<f64>,
}

impl Starts {
    fn run(&mut self, command: &mut Command, prompt: &str, counts: bool) -> Result<()> {
        let mut session = Session::start(command)?;
        session.prompt(prompt)?;
        let took = session.begun.elapsed();
        let worked = process::worked(session.child.id())?;
        if counts {
            self.took.push(took.as_secs_f64() * 1000.0);
            self.worked.push(worked.as_secs_f64() * 1000.0);
        }
        Ok(())
    }

    fn print(&self, what: &str) {
        let (took, worked) = (figures::ordered(&self.took), figures::ordered(&self.worked));
        println!(
            "  {what:<20} median {:6.2} ms   95 of 100 {:6.2} ms   least {:6.2} ms   processor {:5.2} ms",
            median(took.clone()),
            took[(took.len() * 95).div_ceil(100) - 1],
            took[0],
            median(worked)
        );
    }
}

/// Measures against an agent of its own. `program` starts it; `shell` is the admin's shell.
pub(super) fn measure(program: &Path, shell: &Path, verdict: &mut Verdict) -> Result<()> {
    let place = tempfile::tempdir()?;
    let root = place.path().join("appliance");
    Appliance::donor("fw-a").build(&root)?;
    let mut machine = Machine::new(program, &root);
    machine.start()?;
    let socket = root.join(reinstate_api::SOCKET);
    let ours = || {
        let mut command = Command::new(shell);
        if shell == program {
            command.arg("shell");
        }
        command.arg("--socket").arg(&socket);
        command
    };
    let other = || {
        let mut command = Command::new("/bin/bash");
        command.args(["--norc", "-i"]);
        command
    };
    println!(
        "\nthe shell, {}: A to its first prompt; B bash --norc -i to its own; {RUNS} runs of each, in turn",
        shell.display()
    );
    let (mut a, mut b) = (Starts::default(), Starts::default());
    for number in 0..WARM + RUNS {
        a.run(&mut ours(), "> ", number >= WARM)?;
        b.run(&mut other(), "# ", number >= WARM)?;
    }
    a.print("A");
    b.print("B");
    let ratios = a.took.iter().zip(&b.took).map(|(a, b)| a / b).collect();
    println!("  {:<20} median {:6.2}", "ratio", median(ratios));
    verdict.take("shell to its first prompt, ms", median(a.took), Limit::most(PROMPT));

    let mut session = Session::start(&mut ours())?;
    session.prompt("> ")?;
    memory("at its prompt", session.child.id())?;
    let line = "2026-01-05T08:00:00.000000Z  INFO phase id=00000000-0000-4000-8000-000000000001 phase=receiving by=admin";
    // The daemon writes at the end of it too, whoever else has.
    File::options()
        .append(true)
        .open(machine.log())?
        .write_all(format!("{line}\n").repeat(LINES).as_bytes())?;
    session.say(&format!("show log restore {LINES}"), "--More--")?;
    session.terminal.write_all(b"q")?;
    session.prompt("> ")?;
    memory(&format!("after {LINES} lines of the log"), session.child.id())?;
    verdict.take(
        "shell's peak memory, MiB",
        figures::mib(process::peak(session.child.id())?),
        Limit::most(MEMORY),
    );
    Ok(())
}

fn memory(when: &str, id: u32) -> Result<()> {
    println!(
        "  {when}: {:.1} MiB at most, {:.1} MiB now, {:.1} MiB of it its own",
        figures::mib(process::peak(id)?),
        figures::mib(process::resident(id)?),
        figures::mib(process::private(id)?)
    );
    Ok(())
}

/// The shell beside this program, where it was built; else this program is it, which is larger.
pub(super) fn beside(program: &Path) -> PathBuf {
    let shell = program.with_file_name("reinstate-shell");
    if shell.exists() { shell } else { program.to_owned() }
}
