//! The generation store: complete configurations of the appliance, by number.
//!
//! ```text
//! generations/2/generation.toml   the record, written last: without it there is no generation
//!               index.jsonl       one line for each entry, by domain and path
//!               seal.key          opens the sealed files; deleted with the generation
//!               tree/etc/…        contents; modes and owners are in the index
//! ```

mod draft;
mod names;
mod seal;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use reinstate_api::{BackupDetails, Code, DeviceIdentity, Failure};
use serde::{Deserialize, Serialize};

pub use draft::{About, Draft};
pub use names::Names;
pub use seal::SealKey;

use crate::files::{Folder, Kind, found};
use crate::tree::{Digest, Entry, EntryKind, Index, TreePath};

const GENERATIONS: &str = "generations";
const DRAFTS: &str = "drafts";
const RECORD: &str = "generation.toml";
const INDEX: &str = "index.jsonl";
const SEAL: &str = "seal.key";
const TREE: &str = "tree";

/// The newest format that is written, and read.
pub const FORMAT: u32 = 1;

const MAX_RECORD: u64 = 1 << 20;

/// What a daemon that was killed has just forked holds its lock until it is a program of its own.
const NOT_YET_EXECUTED: Duration = Duration::from_secs(1);

/// What a generation is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub format: u32,
    pub number: u64,
    /// What an admin calls it; such a one stays until it is deleted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub created: Timestamp,
    /// `factory`, `snapshot before restore …`, `backup …`.
    pub origin: String,
    /// Who the appliance is with this configuration.
    pub device: DeviceIdentity,
    /// The domains that it holds, the empty ones too: activation touches no other.
    pub domains: Vec<String>,
    /// Of `index.jsonl`.
    pub index_sha256: Digest,
    /// What the archive said, where it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<BackupDetails>,
}

impl Record {
    fn text(&self) -> Result<String, Failure> {
        toml::to_string(self)
            .map_err(|e| Failure::new(Code::Internal, format!("{RECORD} cannot be written: {e}")))
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    domain: String,
    #[serde(flatten)]
    entry: Entry,
}

/// The store, below the agent's own folder.
#[derive(Clone, Debug)]
pub struct Store {
    folder: Folder,
}

impl Store {
    /// Opens the store, and makes its folders where they are missing.
    pub fn open(folder: Folder) -> Result<Self, Failure> {
        for name in [GENERATIONS, DRAFTS] {
            folder.make_folder(name, 0o700)?;
        }
        Ok(Self { folder })
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Held by a root process for as long as it works on the store: such a process outlives a daemon
    /// that is killed. Whoever cleans up waits for it.
    pub fn alone(&self) -> Result<Flock<File>, Failure> {
        let held = self.folder.folder(GENERATIONS)?.lock(FlockArg::LockExclusive);
        held.map_err(|e| Failure::io("cannot lock the store", &e))
    }

    /// Held by the daemon for as long as it runs.
    ///
    /// # Errors
    /// `busy` where another one runs on the same folder.
    pub fn only_daemon(&self) -> Result<Flock<File>, Failure> {
        let until = Instant::now() + NOT_YET_EXECUTED;
        loop {
            match self.folder.folder(DRAFTS)?.lock(FlockArg::LockExclusiveNonblock) {
                Ok(held) => return Ok(held),
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                Err(_) => {
                    let why = format!("another agent serves {}", self.folder.path().display());
                    return Err(
                        Failure::new(Code::Busy, why).hint("an appliance has one: end the other first")
                    );
                }
            }
        }
    }

    /// An empty draft under a name; what stood there is thrown away.
    pub fn draft(&self, name: &str) -> Result<Draft, Failure> {
        let place = format!("{DRAFTS}/{name}");
        self.folder.remove_all(&place)?;
        Draft::new(self.folder.clone(), place)
    }

    /// Throws every draft away: what a crash has left.
    pub fn discard_drafts(&self) -> Result<(), Failure> {
        for (name, _) in self.folder.list(DRAFTS)? {
            self.folder.remove_all(format!("{DRAFTS}/{}", name.to_string_lossy()))?;
        }
        Ok(())
    }

    /// The complete generations, by number.
    pub fn numbers(&self) -> Result<Vec<u64>, Failure> {
        let mut numbers: Vec<u64> = Vec::new();
        for (name, kind) in self.folder.list(GENERATIONS)? {
            if let Some(number) = name.to_str().and_then(|name| name.parse().ok())
                && kind == Kind::Folder
            {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub fn generation(&self, number: u64) -> Result<Generation, Failure> {
        let place = format!("{GENERATIONS}/{number}");
        let Some(folder) = found(self.folder.folder(&place))? else {
            return Err(Failure::new(Code::NotFound, format!("there is no generation {number}"))
                .hint("`show restore history` names those that jobs have made"));
        };
        let damaged = |why: String| {
            Failure::new(Code::ActivationFailed, format!("generation {number} is damaged: {why}"))
        };
        let text = folder.read(RECORD, MAX_RECORD)?;
        let record: Record = toml::from_str(&String::from_utf8_lossy(&text))
            .map_err(|e| damaged(format!("{RECORD}: {}", e.message())))?;
        if record.format != FORMAT {
            return Err(damaged(format!("its format is {}, this agent's is {FORMAT}", record.format)));
        }
        Ok(Generation { record, folder })
    }

    /// Gives a generation its name: one rename of its record.
    pub fn name(&self, number: u64, name: &str) -> Result<(), Failure> {
        let Generation { mut record, folder } = self.generation(number)?;
        record.name = name.to_owned();
        Ok(folder.replace(RECORD, record.text()?.as_bytes(), 0o600)?)
    }

    pub fn remove(&self, number: u64) -> Result<(), Failure> {
        Ok(self.folder.remove_all(format!("{GENERATIONS}/{number}"))?)
    }
}

/// One complete configuration.
#[derive(Clone, Debug)]
pub struct Generation {
    pub record: Record,
    folder: Folder,
}

impl Generation {
    pub fn number(&self) -> u64 {
        self.record.number
    }

    /// Where the contents lie, for validators: files as they are on the appliance, except that the
    /// sealed ones are sealed.
    pub fn tree(&self) -> Result<Folder, Failure> {
        Ok(self.folder.folder(TREE)?)
    }

    pub fn key(&self) -> Result<SealKey, Failure> {
        SealKey::load(&self.folder, SEAL)
    }

    /// The index, checked against the record's digest.
    pub fn index(&self) -> Result<Index, Failure> {
        let damaged = |why: String| {
            Failure::new(Code::ActivationFailed, format!("generation {} is damaged: {why}", self.number()))
        };
        let file = self.folder.open_file(INDEX)?;
        let mut index = Index::default();
        let mut hashed = HashedRead::new(BufReader::with_capacity(64 << 10, file));
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = hashed.read_line(&mut line).map_err(|e| {
                Failure::io(format_args!("cannot read the index of generation {}", self.number()), &e)
            })?;
            if read == 0 {
                break;
            }
            let Line { domain, entry } =
                serde_json::from_slice(&line).map_err(|e| damaged(format!("{INDEX}: {e}")))?;
            index.insert(&domain, entry);
        }
        let digest = hashed.digest();
        if digest != self.record.index_sha256 {
            return Err(damaged(format!("{INDEX} has digest {digest}, not {}", self.record.index_sha256)));
        }
        Ok(index)
    }

    /// A file that is not what was staged.
    pub fn damaged(&self, entry: &Entry, digest: Digest, expected: Digest) -> Failure {
        Failure::new(
            Code::DigestMismatch,
            format!("{} in generation {} has digest {digest}, not {expected}", entry.path, self.number()),
        )
    }

    /// A file's clear content. The caller checks its digest as it reads.
    pub fn open(&self, entry: &Entry, key: &SealKey) -> Result<Box<dyn Read>, Failure> {
        let EntryKind::File { sealed, .. } = entry.kind else {
            return Err(Failure::new(Code::Internal, format!("{} is not a file", entry.path)));
        };
        let file = self.folder.open_file(format!("{TREE}/{}", entry.path.as_str()))?;
        if sealed { key.unseal(&entry.path, file) } else { Ok(Box::new(file)) }
    }

    /// The paths of sealed files.
    pub fn sealed<'a>(&self, index: &'a Index) -> impl Iterator<Item = &'a TreePath> {
        index.iter().filter(|(_, entry)| entry.is_sealed()).map(|(_, entry)| &entry.path)
    }
}

/// Reads lines and hashes them on the way.
struct HashedRead<R> {
    inner: R,
    hasher: sha2::Sha256,
}

impl<R: BufRead> HashedRead<R> {
    fn new(inner: R) -> Self {
        Self { inner, hasher: sha2::Digest::new() }
    }

    fn read_line(&mut self, line: &mut Vec<u8>) -> std::io::Result<usize> {
        let read = self.inner.by_ref().take(64 << 10).read_until(b'\n', line)?;
        sha2::Digest::update(&mut self.hasher, &line);
        Ok(read)
    }

    fn digest(self) -> Digest {
        Digest::finish(self.hasher)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::files::Direct;

    #[test]
    fn a_daemon_outlasts_what_a_killed_one_has_left_for_an_instant_and_no_daemon_that_runs() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(Folder::open(place.path(), Arc::new(Direct)).unwrap()).unwrap();
        let held = store.only_daemon().unwrap();
        assert_eq!(store.only_daemon().unwrap_err().code, Code::Busy);
        let let_go = std::thread::spawn(move || {
            std::thread::sleep(NOT_YET_EXECUTED / 10);
            drop(held);
        });
        store.only_daemon().unwrap();
        let_go.join().unwrap();
    }
}
