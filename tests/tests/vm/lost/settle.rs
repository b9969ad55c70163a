//! What the boot after a power cut makes of a disk.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use reinstate_agent::activate::BROKEN;
use reinstate_agent::state::State;
use reinstate_api::{Code, Outcome};
use reinstate_tests::Result;
use reinstate_tests::machine::Machine;
use reinstate_tests::picture::Picture;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

/// The agent's own folder, below the root.
const AGENT: &str = "var/lib/reinstate";

/// Where all is that domains own.
const CONFIGURATION: [&str; 2] = ["etc", "var/lib/appliance"];

/// An appliance after such a boot, when the agent had nothing more to do.
pub struct Settled {
    pub found: State,
    pub left: State,
    pub picture: Picture,
    drafts: Vec<String>,
    generations: Vec<String>,
    /// What the daemon could not read on an appliance: of the agent's files, those that are not its user's.
    strangers: Vec<PathBuf>,
    is_locked: bool,
    is_marked: bool,
    /// Those that the agent asked for. Without one, all that was written to the configuration was written by the activation.
    reboots: u32,
    pub log: String,
}

impl Settled {
    /// Wholly the old configuration or wholly the new one, with a record that says which, and nothing else left.
    pub fn is_new(&self, old: &Picture, new: &Picture) -> Result<bool> {
        let Self { found, left, .. } = self;
        let ensure = |is: bool, what: String| if is { Ok(()) } else { Err(what) };
        ensure(left.job.is_none(), format!("a job goes on: {left:?}"))?;
        ensure(self.reboots == 0, "one activation was not enough".into())?;
        ensure(!self.is_marked, "it is marked as broken".into())?;
        ensure(!self.is_locked, "the lock is still there".into())?;
        ensure(self.drafts.is_empty(), format!("drafts are left: {:?}", self.drafts))?;
        ensure(self.strangers.is_empty(), format!("not the daemon's: {:?}", self.strangers))?;
        let needed: BTreeSet<_> = left.needed().iter().map(u64::to_string).collect();
        let there: BTreeSet<_> = self.generations.iter().cloned().collect();
        ensure(there == needed, format!("generations {there:?} are there, {needed:?} are needed"))?;
        let entry = match left.history.as_slice() {
            [] => None,
            [entry] => Some(entry),
            more => return Err(format!("ended more than once: {more:?}").into()),
        };
        ensure(entry.is_some() || found.job.is_none(), format!("{found:?} has left nothing on record"))?;
        let is_new = match entry.map(|entry| &entry.outcome) {
            None => false,
            Some(Outcome::Succeeded) => true,
            Some(Outcome::Failed { failures }) if failures[0].code == Code::Interrupted => false,
            Some(other) => return Err(format!("{other:?}").into()),
        };
        let difference = self.picture.difference(if is_new { new } else { old });
        ensure(difference.is_empty(), format!("not wholly what the record says:\n{difference}"))?;
        ensure(left.active == entry.map_or(0, |entry| entry.to), format!("another one is active: {left:?}"))?;
        Ok(is_new)
    }
}

/// Boots on a root file system, and lets the agent bring to an end what it finds.
pub fn settle(root: &Path) -> Result<Settled> {
    let found = state(root)?;
    without_checkers(root)?;
    let mut machine = Machine::new(PROGRAM, root);
    let played = machine.start().and_then(|()| machine.wait_until_idle());
    machine.stop();
    let log = fs::read_to_string(machine.log()).unwrap_or_default();
    let _ = fs::remove_file(machine.log());
    let status = played.map_err(|error| format!("{error}\n{log}"))?;
    let agent = root.join(AGENT);
    Ok(Settled {
        found,
        left: state(root)?,
        picture: Picture::of(root, &CONFIGURATION)?,
        drafts: names(&agent.join("drafts"))?,
        generations: names(&agent.join("generations"))?,
        strangers: strangers(&agent, agent.metadata()?.uid())?,
        is_marked: root.join(BROKEN).exists(),
        reboots: machine.reboots(),
        is_locked: status.lock.is_some() || agent.join("restore.lock").exists(),
        log,
    })
}

/// Health is asked without them: they are the image's programs, confined as the daemon's user, and a folder has neither.
fn without_checkers(root: &Path) -> Result<()> {
    for domain in fs::read_dir(root.join("usr/lib/reinstate/domains.d"))? {
        let path = domain?.path();
        let text = fs::read_to_string(&path)?;
        let kept: Vec<_> = text.lines().filter(|line| !line.starts_with("validate ")).collect();
        fs::write(&path, kept.join("\n"))?;
    }
    Ok(())
}

fn state(root: &Path) -> Result<State> {
    match fs::read_to_string(root.join(AGENT).join("state.toml")) {
        Ok(text) => toml::from_str(&text).map_err(|error| format!("state.toml: {error}").into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(error.into()),
    }
}

fn strangers(folder: &Path, owner: u32) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, meta) = (entry.path(), entry.metadata()?);
        if meta.is_dir() {
            found.extend(strangers(&path, owner)?);
        }
        if meta.uid() != owner {
            found.push(path);
        }
    }
    Ok(found)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
