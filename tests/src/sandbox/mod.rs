//! The sandbox: a whole restore on one machine, without rights and without a network.

mod copy;
mod options;
mod picture;
pub(crate) mod signals;
mod stage;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use options::{Options, USAGE};
use picture::Picture;
use reinstate_api::{Created, JobKind, Phase};
use serde_json::json;
use signals::Guard;
use stage::Place;

use crate::machine::Machine;
use crate::manager::{Manager, Mood};
use crate::server::{self, BackupServer};
use crate::{Result, doing};

/// Prints a line; that nobody reads it ends nothing.
macro_rules! say {
    ($($words:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

/// Runs the sandbox. `program` is the multi-call binary.
pub fn run(program: &Path) -> ExitCode {
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            say!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprint!("sandbox: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match Sandbox::build(program, &options).and_then(|sandbox| sandbox.play(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Sandbox {
    // Dropped in this order: what runs ends before its folder goes.
    replacement: Machine,
    server: BackupServer,
    guard: Guard,
    place: Place,
    /// The backup's name on the server.
    file: String,
    donor: Picture,
    before: Picture,
    remarks: Vec<String>,
    manager: Manager,
}

impl Sandbox {
    fn build(program: &Path, options: &Options) -> Result<Self> {
        let place = Place::make(options.keep.as_deref())?;
        let guard = Guard::install(place.temporary())?;
        let manager = Manager::open_with(Mood::Answer(204))?;
        let remarks = stage::build(&place, options, &manager)?;

        let mut machine = Machine::new(program, place.donor());
        guard.watch(machine.power());
        machine.start()?;
        let made: Created = machine.client().post("/v1/backups", &json!({}))?;
        let donor = Picture::take(machine.root(), machine.status()?.lock)?;
        machine.stop();
        let kept = place.donor().join(reinstate_api::BACKUP_FOLDER).join(&made.file);
        let served = place.backups().join(&made.file);
        doing("move", &kept, std::fs::rename(&kept, &served))?;

        let server = BackupServer::start(place.backups())?;
        let mut replacement = Machine::new(program, place.replacement());
        guard.watch(replacement.power());
        replacement.start()?;
        let before = Picture::take(replacement.root(), replacement.status()?.lock)?;
        Ok(Self { replacement, server, guard, place, file: made.file, donor, before, remarks, manager })
    }

    /// True where nothing failed.
    fn play(&self, options: &Options) -> Result<bool> {
        self.introduce();
        let mut good = true;
        if options.run.is_empty() {
            self.open_shell()?;
        }
        for command in &options.run {
            good &= self.type_in(command)?;
        }
        if self.replacement.reboots() > 0 {
            let after = Picture::take(self.replacement.root(), self.replacement.status()?.lock)?;
            say!("\nThe replacement, read from its folder:\n");
            say!("{}", picture::comparison(&self.before, &self.donor, &after));
        }
        self.replacement.stop();
        if options.keep.is_some() {
            say!("Everything is kept in {}.", self.place.folder().display());
        }
        Ok(good)
    }

    /// `HOST:PORT USER FOLDER`, as the command wants it.
    fn location(&self) -> String {
        format!("{} {} {}", self.server.address(), server::USER, server::FOLDER)
    }

    fn introduce(&self) {
        let describe = |picture: &Picture| {
            let device = &picture.facts.device;
            let addresses = device.management.join(", ");
            format!("{} at {addresses}, serial {}", device.hostname, picture.facts.hardware.serial)
        };
        let root = self.replacement.root();
        say!("Failed appliance   {}", self.place.donor().display());
        say!("                   {}", describe(&self.donor));
        say!("Replacement        {}", root.display());
        say!("                   {}", describe(&self.before));
        say!("  agent's socket   {}", root.join(reinstate_api::SOCKET).display());
        say!("  agent's log      {}", self.replacement.log().display());
        say!("Backup server      {} (SSH on loopback)", self.server.address());
        say!("  host key         {}", self.server.fingerprint());
        say!("  user, password   {} {}", server::USER, self.server.password());
        say!("  backup           {}/{}", server::FOLDER, self.file);
        say!("Manager            {}:{} (TLS on loopback)", self.manager.host(), self.manager.port());
        for remark in &self.remarks {
            say!("\nNote: {remark}.");
        }
        say!("\nType this line:\n");
        say!("restore remote-manager-backup location {} backup {}\n", self.location(), self.file);
    }

    /// The shell on the terminal, again after every restart.
    fn open_shell(&self) -> Result<()> {
        loop {
            let reboots = self.replacement.reboots();
            self.guard.leave_interrupts_to_the_shell(true);
            let ended = self.replacement.run_shell();
            self.guard.leave_interrupts_to_the_shell(false);
            ended?;
            if !self.restarts(reboots) {
                return Ok(());
            }
            say!("\nThe appliance restarts; the shell comes back when it is up.");
            self.replacement.wait_until_idle()?;
            say!("The appliance is up.\n");
        }
    }

    /// Is a restart under way, or was there one since?
    fn restarts(&self, reboots: u32) -> bool {
        if self.replacement.is_rebooting() || self.replacement.reboots() > reboots {
            return true;
        }
        match self.replacement.status() {
            // It may just have gone down.
            Err(_) => true,
            Ok(status) => status.job.is_some_and(|job| {
                job.outcome.is_none() && job.phase >= Phase::Committed && job.kind != JobKind::Configure
            }),
        }
    }

    /// Types one command as an admin would; true where it, and the job that it started, succeeded.
    fn type_in(&self, command: &str) -> Result<bool> {
        let command = command
            .replace("{location}", &self.location())
            .replace("{file}", &self.file)
            .replace("{fingerprint}", self.server.fingerprint());
        say!("> {command}");
        let reboots = self.replacement.reboots();
        let mut out = std::io::stdout();
        let status = self.replacement.converse(
            &command,
            &mut |line| {
                let answer = self.answer(line)?;
                // The password stands in the introduction; here as on a terminal it is not shown.
                let shown = if answer == self.server.password() { "" } else { answer };
                let _ = write!(std::io::stdout(), "{shown}");
                Some(format!("{answer}\n"))
            },
            &mut |new| {
                // Nobody may be reading.
                let _ = out.write_all(new).and_then(|()| out.flush());
            },
        )?;
        if !self.restarts(reboots) {
            say!();
            return Ok(status.success());
        }
        say!("\nThe appliance restarts.");
        let idle = self.replacement.wait_until_idle()?;
        let outcome = idle.last.map(|last| last.outcome);
        match &outcome {
            Some(outcome) => say!("The appliance is up: the job has {}.", outcome.as_str()),
            None => say!("The appliance is up, and has no job on record."),
        }
        for failure in outcome.iter().flat_map(|outcome| outcome.failures()) {
            say!("  {failure} [{}]", failure.code);
        }
        say!();
        Ok(status.success() && outcome.is_some_and(|outcome| outcome.is_success()))
    }

    /// What to type at the end of this line; None where it is no question.
    fn answer(&self, line: &str) -> Option<&str> {
        let question = line.trim_end().to_ascii_lowercase();
        [("(yes/no/md5)?", "yes"), ("password:", self.server.password()), ("(y/n):", "Y")]
            .into_iter()
            .find_map(|(end, answer)| question.ends_with(end).then_some(answer))
    }
}
