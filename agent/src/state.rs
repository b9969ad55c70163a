//! `state.toml`: the one record of what is active, what is pending and what has happened.
//!
//! Every change is read, made and written under a file lock, because the daemon and the root
//! processes take turns; nobody keeps a copy.

use std::fs::File;

use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use reinstate_api::{Code, Failure, HistoryEntry, JobKind};
use serde::{Deserialize, Serialize};

use crate::after::{CheckIn, Tasks};
use crate::configure;
use crate::files::{Folder, found};
use crate::job::{Job, Stage};
use crate::peers::RecordedOverride;

/// The newest format that is written, and read.
pub const FORMAT: u32 = 1;

const FILE: &str = "state.toml";
const MAX_BYTES: u64 = 4 << 20;

/// How many ended jobs stay on record.
const HISTORY: usize = 100;

/// How many meetings; each member tells of few.
const MEETINGS: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub format: u32,
    /// Raised at every write.
    pub revision: u64,
    /// The generation that the live configuration was made from.
    pub active: u64,
    /// What a rollback goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
    /// The number of the next generation.
    pub next: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkin: Option<CheckIn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Tasks>,
    /// What members have done without each other, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meetings: Vec<Meeting>,
    /// Who has allowed the expert mode, and when; none while it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expert: Option<Allowed>,
    /// Numbers of users who were deleted, the last one last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<u32>,
    /// Newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Allowed {
    pub by: String,
    pub at: Timestamp,
}

/// Members have met again after one of them was restored without the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meeting {
    /// Host name of the member that was restored.
    pub who: String,
    pub told: RecordedOverride,
    #[serde(default)]
    pub acknowledged: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            format: FORMAT,
            revision: 0,
            active: 0,
            previous: None,
            next: 1,
            job: None,
            checkin: None,
            tasks: None,
            meetings: Vec::new(),
            expert: None,
            retired: Vec::new(),
            history: Vec::new(),
        }
    }
}

impl State {
    /// The job that runs; the operation needs one.
    pub fn running(&self) -> Result<Job, Failure> {
        self.job.clone().ok_or_else(|| Failure::new(Code::Internal, "no job is on record"))
    }

    /// Reboots that the running job has asked for.
    pub fn reboots(&self) -> u32 {
        match self.job.as_ref().map(|job| &job.stage) {
            Some(Stage::Pending(switch)) => switch.reboots,
            _ => 0,
        }
    }

    /// A number for a new generation, never given twice.
    pub fn take_number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Ends a job that changed nothing.
    pub fn end(&mut self, entry: HistoryEntry) {
        self.job = None;
        self.history.insert(0, entry);
        while self.history.len() > HISTORY {
            // Whoever may only look pushes nothing out by changing the own password.
            let goes = self.history.iter().rposition(is_own_password);
            self.history.remove(goes.unwrap_or(HISTORY));
        }
    }

    /// Ends a job whose target is live and stays.
    pub fn finish(&mut self, now: Timestamp) -> Result<HistoryEntry, Failure> {
        let (entry, switch) = self.running()?.finish(now)?;
        self.active = switch.target;
        if switch.back.is_empty() && !is_own_password(&entry) {
            self.previous = Some(switch.from);
        }
        self.end(entry.clone());
        Ok(entry)
    }

    /// Is this on record already?
    pub fn has_met(&self, told: &RecordedOverride, who: &str) -> bool {
        self.meetings.iter().any(|meeting| meeting.told == *told && meeting.who == who)
    }

    pub fn meet(&mut self, told: RecordedOverride, who: String) {
        if !self.has_met(&told, &who) {
            self.meetings.insert(0, Meeting { who, told, acknowledged: false });
            self.meetings.truncate(MEETINGS);
        }
    }

    /// What nobody has taken note of yet.
    pub fn meetings(&self) -> Vec<String> {
        let open = self.meetings.iter().filter(|meeting| !meeting.acknowledged);
        let sentence = |Meeting { who, told, .. }: &Meeting| {
            let RecordedOverride { restore, at, by, overridden } = told;
            format!(
                "{who} was restored {} at {at} (restore {restore}, asked for by {by}): {}",
                overridden.what, overridden.why
            )
        };
        open.map(sentence).collect()
    }

    /// Those that were live last, newest first; a new password of somebody's own makes none.
    pub fn lived(&self) -> Vec<u64> {
        let mut lived = Vec::new();
        let others = self.history.iter().filter(|entry| !is_own_password(entry));
        for number in others.flat_map(|entry| [entry.to, entry.from]) {
            if !lived.contains(&number) {
                lived.push(number);
            }
        }
        lived
    }

    /// Generations that must not be removed.
    pub fn needed(&self) -> Vec<u64> {
        let mut needed = vec![0, self.active];
        needed.extend(self.previous);
        if let Some(Stage::Pending(switch) | Stage::Activated(switch) | Stage::Broken(switch)) =
            self.job.as_ref().map(|j| &j.stage)
        {
            needed.extend([switch.target, switch.from]);
        }
        needed
    }
}

/// It is theirs alone, and nothing that an admin goes back over.
fn is_own_password(entry: &HistoryEntry) -> bool {
    entry.kind == JobKind::Configure && configure::is_own_password(&entry.source, &entry.by)
}

/// The file, below the agent's own folder.
#[derive(Clone, Debug)]
pub struct StateFile {
    folder: Folder,
}

impl StateFile {
    pub fn new(folder: Folder) -> Self {
        Self { folder }
    }

    /// The record as it is; a fresh one where there is none yet.
    pub fn read(&self) -> Result<State, Failure> {
        let bytes = match found(self.folder.read(FILE, MAX_BYTES)) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(State::default()),
            Err(error) => return Err(unreadable(&error.to_string())),
        };
        let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text"))?;
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = toml::from_str(&text).map_err(|e| unreadable(e.message()))?;
        if format != FORMAT {
            return Err(unreadable(&format!("its format is {format}, this agent's is {FORMAT}")));
        }
        toml::from_str(&text).map_err(|e| unreadable(e.message()))
    }

    /// Reads, changes and writes the record: one fsynced rename.
    pub fn update<T>(&self, change: impl FnOnce(&mut State) -> Result<T, Failure>) -> Result<T, Failure> {
        let _guard = self.lock()?;
        let mut state = self.read()?;
        let value = change(&mut state)?;
        state.revision += 1;
        let text = toml::to_string(&state)
            .map_err(|e| Failure::new(Code::Internal, format!("state.toml cannot be written: {e}")))?;
        if text.len() as u64 > MAX_BYTES {
            let large = format!("state.toml would have {} bytes, of at most {MAX_BYTES}", text.len());
            return Err(Failure::new(Code::Internal, large));
        }
        self.folder.replace(FILE, text.as_bytes(), 0o600)?;
        Ok(value)
    }

    fn lock(&self) -> Result<Flock<File>, Failure> {
        // Opened anew: a lock belongs to an open file, and two threads must exclude each other too.
        let folder = self.folder.folder("")?;
        let folder = folder.fd().try_clone().map_err(|e| Failure::io("cannot lock the state", &e))?;
        Flock::lock(File::from(folder), FlockArg::LockExclusive)
            .map_err(|(_, errno)| Failure::io("cannot lock the state", &errno.into()))
    }
}

fn unreadable(why: &str) -> Failure {
    Failure::new(Code::StateUnreadable, format!("/var/lib/reinstate/{FILE} cannot be read: {why}")).hint(
        "nothing was touched; keep a copy of the file and set it right. Do not take it away: \
         without it nothing tells which generation is live",
    )
}

#[cfg(test)]
mod tests {
    use reinstate_api::Phase;
    use uuid::Uuid;

    use super::*;
    use crate::peers::Committing;

    fn done(state: &mut State, kind: JobKind, source: &str) {
        let (target, from) = (state.take_number(), state.take_number());
        let job = Job::new(Uuid::new_v4(), kind, source.into(), "bob".into(), Timestamp::UNIX_EPOCH);
        let job = job.advance(Phase::Committing).unwrap();
        let job = job.commit(target, from, Vec::new(), &Committing::for_tests()).unwrap();
        state.job = Some(job.activated().unwrap());
        state.finish(Timestamp::UNIX_EPOCH).unwrap();
    }

    #[test]
    fn however_often_somebody_changes_the_own_password_the_way_back_and_the_history_stay() {
        let mut state = State::default();
        done(&mut state, JobKind::Restore, "backup a.tar");
        let (previous, lived) = (state.previous, state.lived());
        for _ in 0..2 * HISTORY {
            done(&mut state, JobKind::Configure, "configure password");
        }
        assert_eq!((state.previous, state.lived(), state.history.len()), (previous, lived, HISTORY));
        assert_eq!(state.history.last().unwrap().source, "backup a.tar");
        assert!(state.needed().contains(&state.active));
        done(&mut state, JobKind::Configure, "configure password alice");
        assert_ne!(state.previous, previous);
    }
}
