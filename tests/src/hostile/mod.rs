//! What any file does to the agent that is told to restore it.
//!
//! ```text
//! cargo run --release --bin hostile -- --corpus DIR
//! ```
//!
//! takes every file below DIR, unpacks it first where it is gzip, and stages it with the agent's own
//! code, on an appliance over a temporary folder:
//!
//! - *plain*: the file as it is;
//! - *spliced*: its blocks between the members of a valid backup, at each place, listed nowhere;
//! - *listed*: the same, its members as a lenient reader sees them listed in `SHA256SUMS` and counted
//!   in the manifest;
//! - *moved*: the same, the members given names in a folder that the appliance takes files in.
//!
//! Each has to be refused with a code that names a fault of the archive, or to end with exactly what
//! the list says: names, kinds, modes, owners, link targets and digests. Nothing beside the staging
//! folder may change, nor anything that a name or a link of the file could mean. Each file is one
//! process, bounded in time and memory, and one line:
//!
//! ```text
//! NAME  plain refused archive-invalid  spliced …  listed …  moved accepted 6 files  41 ms  15320 KiB
//! ```
//!
//! The last line counts. The exit status is 1 where a promise is broken, 2 where the command is wrong.

#[path = "../../../agent/tests/archive/build.rs"]
pub mod build;
mod foreign;
mod place;
#[path = "../../../agent/tests/archive/sample.rs"]
pub mod sample;
mod splice;
mod watch;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use nix::sys::resource::{Resource, setrlimit};
use reinstate_api::{Code, one_line};
use serde::{Deserialize, Serialize};

use crate::bench::process;
use crate::{Result, doing};
use foreign::Foreign;
use place::{Outcome, Place};
use splice::Base;
use watch::Watch;

const USAGE: &str = "\
Stages every file below a folder as a backup, alone and spliced into a valid one, and says a line of
each. The exit status is not zero where one was neither refused nor staged as listed, wrote outside
its place, took too long or too much memory.

usage: cargo run --release --bin hostile -- --corpus DIR
";

/// For one staging, and more for large files.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that are staged in another second.
const SECOND: u64 = 16 << 20;
/// The most memory that a file may take, in KiB.
const PEAK: u64 = 96 << 10;
/// Where the system ends it, in bytes of address space.
const MOST: u64 = 1 << 30;

/// What one process says of one file.
#[derive(Serialize, Deserialize)]
struct Report {
    ways: String,
    accepted: bool,
    broken: Vec<String>,
    milliseconds: u128,
    /// In KiB.
    peak: u64,
}

/// Runs over a folder. `program` is the multi-call binary.
pub fn run(program: &Path) -> ExitCode {
    match options(lexopt::Parser::from_env()) {
        Ok(Some(corpus)) => match each(program, &corpus) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("hostile: {error}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("hostile: {error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn options(mut parser: lexopt::Parser) -> Result<Option<PathBuf>> {
    let mut corpus = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("corpus") => corpus = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    corpus.map(Some).ok_or_else(|| "--corpus is missing".into())
}

/// True where every promise is kept.
fn each(program: &Path, corpus: &Path) -> Result<bool> {
    let mut files = Vec::new();
    below(corpus, &mut files)?;
    files.sort();
    let folder = tempfile::Builder::new().prefix("reinstate-hostile-").tempdir()?;
    Place::build(folder.path())?;
    let (mut refused, mut accepted, mut broken) = (0, 0, 0);
    for file in &files {
        let name = one_line(&file.strip_prefix(corpus).unwrap_or(file).to_string_lossy());
        let report = process::timed(Command::new(program).arg("one").arg(folder.path()).arg(file))
            .and_then(|(_, said)| Ok(serde_json::from_str::<Report>(&said)?));
        match report {
            Err(error) => {
                broken += 1;
                println!("{name}  broken: {}", one_line(&error.to_string()));
            }
            Ok(report) => {
                let Report { ways, broken: wrong, milliseconds, peak, .. } = &report;
                println!("{name}  {ways}  {milliseconds} ms  {peak} KiB{}", told(wrong));
                match (wrong.is_empty(), report.accepted) {
                    (false, _) => broken += 1,
                    (true, true) => accepted += 1,
                    (true, false) => refused += 1,
                }
            }
        }
    }
    println!(
        "{} files: {refused} refused every way, {accepted} accepted some way as listed, {broken} broken",
        files.len()
    );
    Ok(broken == 0)
}

fn told(wrong: &[String]) -> String {
    wrong.iter().map(|why| format!("  broken: {}", one_line(why))).collect()
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in doing("list", folder, fs::read_dir(folder))? {
        let entry = doing("list", folder, entry)?;
        match doing("examine", &entry.path(), entry.file_type())? {
            kind if kind.is_dir() => below(&entry.path(), files)?,
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

/// The process that stages one file: a place that was built, and the file.
pub fn one(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<PathBuf> = words.map(PathBuf::from).collect();
    let [folder, file] = &words[..] else {
        eprintln!("hostile one: a folder and a file");
        return ExitCode::from(2);
    };
    match stage_every_way(folder, file) {
        Ok(report) => {
            println!("{}", serde_json::json!(report));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hostile one: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stage_every_way(folder: &Path, path: &Path) -> Result<Report> {
    setrlimit(Resource::RLIMIT_AS, MOST, MOST)?;
    let begun = Instant::now();
    let place = Place::open(folder)?;
    let foreign = Foreign::open(path)?;
    let watch = Watch::begin(&place, &foreign)?;
    let base = Base::new(place.facts());
    let mut tally = Tally::default();
    let limit = PATIENCE + Duration::from_secs(foreign.length() / SECOND);

    let input = doing("open", path, File::open(path))?;
    tally.way("plain", limit, [place.stage(input, foreign.sums())]);
    let alone = base.parts(&[]);
    tally.way("spliced", limit, splice::everywhere(&place, &alone, &foreign)?);
    let listed = base.parts(foreign.listed());
    tally.way("listed", limit, splice::between(&place, &listed, &foreign)?);
    let moved = foreign.moved(splice::FOLDER)?;
    let listed = base.parts(moved.listed());
    tally.way("moved", limit, splice::between(&place, &listed, &moved)?);

    tally.broken.extend(watch.end(&place)?);
    let peak = process::peak(std::process::id())?;
    if peak > PEAK {
        tally.broken.push(format!("{peak} KiB of memory, of at most {PEAK}"));
    }
    let Tally { ways, accepted, broken } = tally;
    Ok(Report { ways: ways.join("  "), accepted, broken, milliseconds: begun.elapsed().as_millis(), peak })
}

#[derive(Default)]
struct Tally {
    ways: Vec<String>,
    accepted: bool,
    broken: Vec<String>,
}

impl Tally {
    fn way(&mut self, name: &str, limit: Duration, staged: impl IntoIterator<Item = (Outcome, Duration)>) {
        let mut outcomes = BTreeSet::new();
        for (outcome, took) in staged {
            if took > limit {
                self.broken.push(format!(
                    "{name}: {} ms, of at most {}",
                    took.as_millis(),
                    limit.as_millis()
                ));
            }
            outcomes.insert(match outcome {
                Outcome::Accepted(files) => {
                    self.accepted = true;
                    format!("accepted {files} files")
                }
                Outcome::Refused(failures) => {
                    let faults =
                        failures.iter().filter(|failure| matches!(failure.code, Code::Internal | Code::Io));
                    self.broken.extend(faults.map(|fault| format!("{name}: {fault}")));
                    let codes: BTreeSet<_> = failures.iter().map(|failure| failure.code.as_str()).collect();
                    format!("refused {}", codes.into_iter().collect::<Vec<_>>().join("+"))
                }
                Outcome::Other(why) => {
                    self.broken.push(format!("{name}: {why}"));
                    "other than listed".to_owned()
                }
            });
        }
        let outcomes: Vec<_> = outcomes.into_iter().collect();
        self.ways.push(format!("{name} {}", outcomes.join(", ")));
    }
}
