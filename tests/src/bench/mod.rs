//! The benchmark: what receiving a backup costs, beside what an admin would do by hand on the same
//! machine, with the same server, on the same file system. Runs alternate; what is judged is the
//! median of the ratios of neighbours, so other load on the machine matters little.

mod corpus;
mod daemon;
mod figures;
pub(crate) mod process;
mod receiver;
mod shell;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use lexopt::prelude::*;
use reinstate_agent::fetch::DeviceKey;
use reinstate_agent::files::{Direct, Folder};
use reinstate_api::{BACKUP_FOLDER, Location};
use tempfile::TempDir;

use crate::sandbox::signals::Guard;
use crate::sshd::{Sshd, SshdOptions};
use crate::{Result, doing};
use figures::{Comparison, Limit, Verdict};
use receiver::{Order, Report};

const USAGE: &str = "\
Receives a backup of about 10,000 files from a real SSH server on loopback, beside scp, sha256sum,
tar and sync; prints medians, ratios, raw runs and peak memory. Then starts the admin's shell beside bash.
Needs sshd, scp and four times the size on the disk. The exit status is not zero where a limit is exceeded
or something failed.

usage: cargo run --release --bin bench -- [OPTION]...

  --size BYTES   of the archive; 2 GiB by default
  --runs N       measured runs of each side, after one that is not; 5 by default
  --keep DIR     work in DIR, and keep what is there at the end; otherwise below /var/tmp
  --shell-only   measure the admin's shell alone
  --shell FILE   measure this shell; by default the one that was built beside this program
  --help         print this
";

/// The agent's own folder, below the root.
const STATE_FOLDER: &str = "var/lib/reinstate";
/// As the agent names its key, below that.
const DEVICE_KEY: &str = "device_key";
/// The other size for peak memory.
const SMALL: u64 = 64 << 20;
/// A key exchange after so many bytes, 128 of them in 2 GiB.
const REKEY: usize = 16 << 20;
/// MiB.
const PEAK: f64 = 32.0;
const PEAK_DIFFERENCE: f64 = 2.0;
const IDLE: f64 = 10.0;

struct Options {
    size: u64,
    runs: usize,
    keep: Option<PathBuf>,
    shell_only: bool,
    shell: Option<PathBuf>,
}

impl Options {
    /// None where only the usage was asked for.
    fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>> {
        let mut options = Self { size: 2 << 30, runs: 5, keep: None, shell_only: false, shell: None };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("size") => options.size = parser.value()?.parse()?,
                Long("runs") => options.runs = parser.value()?.parse()?,
                Long("keep") => options.keep = Some(parser.value()?.into()),
                Long("shell-only") => options.shell_only = true,
                Long("shell") => options.shell = Some(parser.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        match options.runs {
            0 => Err("--runs: at least 1".into()),
            _ => Ok(Some(options)),
        }
    }
}

/// Runs the benchmark. `program` is the multi-call binary.
pub fn run(program: &Path) -> ExitCode {
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprint!("bench: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let shell = options.shell.clone().unwrap_or_else(|| shell::beside(program));
    let done = || {
        let mut verdict = Verdict::default();
        if !options.shell_only {
            Bench::build(program, &options)?.run(&options, &mut verdict)?;
        }
        shell::measure(program, &shell, &mut verdict)?;
        Ok::<_, crate::Error>(verdict.print())
    };
    match done() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The process that receives one archive, as the benchmark starts it.
pub fn receive(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let order = words.next().and_then(|word| serde_json::from_slice(word.as_encoded_bytes()).ok());
    let Some(order) = order else {
        eprintln!("bench receive: no order");
        return ExitCode::from(2);
    };
    match receiver::receive(&order) {
        Ok(report) => {
            println!("{}", serde_json::json!(report));
            ExitCode::SUCCESS
        }
        Err(failures) => {
            failures.iter().for_each(|failure| eprintln!("{failure} [{}]", failure.code));
            ExitCode::FAILURE
        }
    }
}

/// An archive on the server.
struct Archive {
    path: PathBuf,
    bytes: u64,
}

struct Bench {
    program: PathBuf,
    root: PathBuf,
    /// Where the other side works, on the same file system.
    other: PathBuf,
    /// Where what is not needed any more goes.
    spent: PathBuf,
    key: PathBuf,
    known_hosts: PathBuf,
    sshd: Sshd,
    legacy: Sshd,
    rekeying: Sshd,
    large: Archive,
    small: Archive,
    guard: Guard,
    // Last: what works in it has ended by then.
    _temporary: Option<TempDir>,
}

impl Bench {
    fn build(program: &Path, options: &Options) -> Result<Self> {
        let temporary = match &options.keep {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("reinstate-bench-").tempdir_in("/var/tmp")?),
        };
        let place = match (&options.keep, &temporary) {
            (Some(folder), _) => {
                doing("make", folder, fs::create_dir_all(folder))?;
                doing("open", folder, folder.canonicalize())?
            }
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => return Err("there is no place to work in".into()),
        };
        let guard = Guard::install(temporary.as_ref().map(|folder| folder.path().to_owned()))?;
        let [root, other, served, spent] = ["root", "other", "served", "spent"].map(|name| place.join(name));
        for folder in [&root, &other, &served, &spent] {
            doing("make", folder, fs::create_dir_all(folder))?;
        }
        corpus::appliance(&root)?;
        let archive = |name: &str, size: u64| -> Result<Archive> {
            let path = served.join(name);
            println!("writing {}, about {} MiB …", path.display(), size >> 20);
            let bytes = corpus::archive(&root, &path, size)?;
            Ok(Archive { path, bytes })
        };
        let (large, small) = (archive("large.tar", options.size)?, archive("small.tar", SMALL)?);
        let state = Folder::open(&root.join(STATE_FOLDER), Arc::new(Direct))?;
        let public = DeviceKey::load_or_create(&state, DEVICE_KEY.as_ref(), "bench")?.public_line();
        let server = |sftp: bool, config: &[&str]| {
            Sshd::start(&SshdOptions {
                sftp,
                authorized_keys: vec![public.clone()],
                config: config.iter().map(|line| (*line).to_owned()).collect(),
                ..SshdOptions::default()
            })
        };
        let (sshd, legacy) = (server(true, &[]), server(false, &[]));
        let rekeying = server(true, &["RekeyLimit 16M"]);
        let known_hosts = place.join("known_hosts");
        doing("write", &known_hosts, fs::write(&known_hosts, sshd.known_hosts_line() + "\n"))?;
        Ok(Self {
            program: program.to_owned(),
            key: root.join(STATE_FOLDER).join(DEVICE_KEY),
            root,
            other,
            spent,
            known_hosts,
            sshd,
            legacy,
            rekeying,
            large,
            small,
            guard,
            _temporary: temporary,
        })
    }

    fn run(&self, options: &Options, verdict: &mut Verdict) -> Result<()> {
        let mut peaks = Vec::new();
        println!(
            "archive: {} bytes; {} runs of each side, after one that is not shown",
            self.large.bytes, options.runs
        );

        println!("\nA fetch and verify, kept in the backup folder; B scp -c aes256-gcm@openssh.com");
        let scp = format!("exec {}", self.scp());
        let one = self
            .compare(options.runs, &scp, &mut peaks, || self.fetch(&self.sshd, &self.large, false, None))?;
        one.print("A without its sync", |run| run.a - run.syncing);
        one.print("A with its sync", |run| run.a);
        verdict.take(
            "fetch and verify, × scp",
            one.ratio(|run| run.a - run.syncing),
            Limit { aim: 0.85, most: 0.95 },
        );

        println!("\nA fetch, verify and stage, durable; B scp && sha256sum && tar xf && sync");
        let by_hand = format!(
            "{} && sha256sum large.tar >sum && mkdir tree && tar xf large.tar -C tree && sync -f .",
            self.scp()
        );
        let two = self.compare(options.runs, &by_hand, &mut peaks, || {
            self.fetch(&self.sshd, &self.large, true, None)
        })?;
        two.print("A", |run| run.a);
        verdict.take(
            "fetch, verify and stage, × by hand",
            two.ratio(|run| run.a),
            Limit { aim: 0.35, most: 0.5 },
        );

        println!("\nfetch, verify and stage, durable, for information");
        let (took, report) = self.fetch(&self.legacy, &self.large, true, None)?;
        println!("  legacy SCP               {took:6.2} s");
        peaks.push(report.peak);
        let (took, report) = self.fetch(&self.rekeying, &self.large, true, Some(REKEY))?;
        println!("  keys anew every 16 MiB   {took:6.2} s");
        peaks.push(report.peak);

        println!("\npeak memory of receiving");
        let large = figures::mib(peaks.iter().copied().max().unwrap_or_default());
        // Of as many runs: what else runs on the machine shows in the highest of them.
        let mut smalls = Vec::new();
        for _ in 0..peaks.len() {
            smalls.push(self.fetch(&self.sshd, &self.small, true, None)?.1.peak);
        }
        let small = figures::mib(smalls.into_iter().max().unwrap_or_default());
        println!(
            "  {large:.1} MiB for {} bytes, {small:.1} MiB for {} bytes",
            self.large.bytes, self.small.bytes
        );
        verdict.take("peak memory, MiB", large, Limit::most(PEAK));
        verdict.take("its difference, MiB", (large - small).abs(), Limit::most(PEAK_DIFFERENCE));

        println!("\nthe daemon, with a check of the same archives");
        let large = daemon::measure(self, &self.large)?;
        large.machine.stop();
        let small = daemon::measure(self, &self.small)?;
        let restored = daemon::after_a_restore(small.machine, &self.small)?;
        verdict.take("daemon's peak, MiB", large.peak, Limit::most(PEAK));
        verdict.take("its difference, MiB", (large.peak - small.peak).abs(), Limit::most(PEAK_DIFFERENCE));
        verdict.take("idle after its start, MiB", large.started, Limit::most(IDLE));
        verdict.take("idle after a restore, MiB", restored, Limit::most(IDLE));
        Ok(())
    }

    /// Both sides in turn.
    fn compare(
        &self,
        runs: usize,
        by_hand: &str,
        peaks: &mut Vec<u64>,
        ours: impl Fn() -> Result<(f64, Report)>,
    ) -> Result<Comparison> {
        let mut comparison = Comparison::default();
        for number in 0..=runs {
            let (a, report) = ours()?;
            let b = self.by_hand(by_hand)?;
            // The first of each warms both up.
            if number > 0 {
                comparison.push(a, report.syncing, b);
                peaks.push(report.peak);
            }
        }
        Ok(comparison)
    }

    /// Receives in a process of its own: seconds from its start to its end.
    fn fetch(
        &self,
        server: &Sshd,
        archive: &Archive,
        stage: bool,
        rekey: Option<usize>,
    ) -> Result<(f64, Report)> {
        self.clear()?;
        let order = Order { root: self.root.clone(), location: self.location(server, archive), stage, rekey };
        let order = serde_json::to_string(&order)?;
        let (took, answer) = process::timed(Command::new(&self.program).arg("receive").arg(order))?;
        Ok((took, serde_json::from_str(&answer)?))
    }

    fn by_hand(&self, script: &str) -> Result<f64> {
        self.clear()?;
        Ok(process::timed(Command::new("sh").args(["-c", script]).current_dir(&self.other))?.0)
    }

    fn scp(&self) -> String {
        let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
        format!(
            "scp -q -F none -c aes256-gcm@openssh.com -o BatchMode=yes -o UserKnownHostsFile={} -i {} -P {} {}@127.0.0.1:{} .",
            quoted(&self.known_hosts),
            quoted(&self.key),
            self.sshd.port(),
            self.sshd.user(),
            quoted(&self.large.path)
        )
    }

    fn location(&self, server: &Sshd, archive: &Archive) -> Location {
        Location {
            host: "127.0.0.1".into(),
            port: server.port(),
            user: server.user().into(),
            path: archive.path.display().to_string(),
            fingerprint: Some(server.fingerprint()),
        }
    }

    /// What the last run has made is out of the way, and its space free, on the disk too.
    fn clear(&self) -> Result<()> {
        let state = self.root.join(STATE_FOLDER);
        for folder in
            [&self.other, &self.root.join(BACKUP_FOLDER), &state.join("generations"), &state.join("drafts")]
        {
            if doing("look for", folder, folder.try_exists())? {
                let number = doing("list", &self.spent, fs::read_dir(&self.spent))?.count();
                let spent = self.spent.join(number.to_string());
                doing("move", folder, fs::rename(folder, &spent))?;
                doing("empty", &spent, empty(&spent))?;
                doing("make", folder, fs::create_dir(folder))?;
            }
        }
        process::settle(&self.other)
    }
}

/// Frees the space of what is below a folder, and keeps its names. ext4 hands out no inode anew for
/// minutes after it was freed, and searches past all of those for each new file; an appliance on which
/// nothing was deleted just now never sees that, so no run may leave it to the next one.
fn empty(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            empty(&entry.path())?;
        } else if kind.is_file() {
            fs::File::options().write(true).open(entry.path())?.set_len(0)?;
        }
    }
    Ok(())
}
