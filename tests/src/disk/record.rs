//! Recording: a line a step, in the order in which they happen in all processes together.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::fcntl::{Flock, FlockArg};
use reinstate_agent::files::{Step, Steps};
use reinstate_agent::tree::Digest;

use super::{Done, Meta, What};
use crate::Result;

/// The steps, a line of JSON each.
const STEPS: &str = "steps";
/// Below the trace's folder: what was written, by digest.
const CONTENTS: &str = "contents";
/// The recorded root.
const ROOT: &str = "root";

/// The folder of a trace.
#[derive(Clone, Debug)]
pub struct Trace(PathBuf);

impl Trace {
    /// Of what happens below `root`, kept in `folder`, which must not exist yet.
    pub fn begin(folder: &Path, root: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join(CONTENTS))?;
        std::os::unix::fs::symlink(root.canonicalize()?, folder.join(ROOT))?;
        File::create_new(folder.join(STEPS))?;
        Ok(Self(folder.to_owned()))
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Everything so far, without what happened in memory.
    pub fn steps(&self) -> Result<Vec<Done>> {
        let text = fs::read_to_string(self.0.join(STEPS))?;
        let steps = text.lines().map(serde_json::from_str).collect::<std::result::Result<Vec<Done>, _>>()?;
        Ok(steps.into_iter().filter(|done| !done.path.starts_with("run")).collect())
    }

    pub fn content(&self, name: &str) -> Result<Vec<u8>> {
        Ok(fs::read(self.0.join(CONTENTS).join(name))?)
    }
}

/// Lets every step happen, one at a time, and writes it down.
pub struct Recorder {
    folder: PathBuf,
    root: PathBuf,
    steps: Mutex<File>,
}

impl Recorder {
    /// Into a trace that has begun.
    pub fn new(folder: &Path) -> Result<Self> {
        let steps = File::options().append(true).open(folder.join(STEPS))?;
        Ok(Self {
            folder: folder.to_owned(),
            root: fs::read_link(folder.join(ROOT))?,
            steps: Mutex::new(steps),
        })
    }

    fn write_down(&self, file: &mut File, step: Step<'_>) -> io::Result<()> {
        let meta = |path: &Path| path.symlink_metadata().map(|meta| Meta::of(&meta));
        let (path, what) = match step {
            Step::Create(path) => (path, What::Create(meta(path)?)),
            Step::Write(path, _) => (path, What::Write(self.keep(&fs::read(path)?)?)),
            Step::Sync(path) => (path, What::Sync),
            Step::SyncAll(path) => (path, What::SyncAll),
            Step::Rename(from, to) => (from, What::Rename(self.below(to)?)),
            Step::Remove(path) => (path, What::Remove),
            Step::MakeFolder(path) => (path, What::Folder(meta(path)?)),
            Step::Link(path) => (path, What::Link(meta(path)?, fs::read_link(path)?)),
            Step::Mode(path) | Step::Owner(path) => (path, What::Meta(meta(path)?)),
        };
        let mut line = serde_json::to_vec(&Done { what, path: self.below(path)? })?;
        line.push(b'\n');
        file.write_all(&line)
    }

    fn below(&self, path: &Path) -> io::Result<PathBuf> {
        let below = path.strip_prefix(&self.root).map(Path::to_owned);
        below.map_err(|_| io::Error::other(format!("{} is not below the recorded root", path.display())))
    }

    fn keep(&self, content: &[u8]) -> io::Result<String> {
        let name = Digest::of(content).to_string();
        let at = self.folder.join(CONTENTS).join(&name);
        if !at.exists() {
            fs::write(at, content)?;
        }
        Ok(name)
    }
}

impl Steps for Recorder {
    fn step(&self, step: Step<'_>, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let mut file = self.steps.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Opened anew: a lock belongs to an open file, and a child has its parent's.
        let turn = File::open(self.folder.join(STEPS))?;
        let _turn =
            Flock::lock(turn, FlockArg::LockExclusive).map_err(|(_, errno)| io::Error::from(errno))?;
        run()?;
        if let Err(error) = self.write_down(&mut file, step) {
            // A trace with a hole would prove nothing.
            eprintln!("the recorder cannot write {step:?} down: {error}");
            std::process::abort();
        }
        Ok(())
    }
}
