//! The lock journal: which members a restore has locked, or may have, until each release is confirmed.
//!
//! It is on the disk before the first lock is asked for, so that no crash leaves a lock that nobody can
//! release. The group's keys are in it, sealed: the configuration that they came with may be gone.

use std::io::{Read, Write};

use jiff::Timestamp;
use reinstate_api::{Code, Failure, Secret};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::door::{Door, Group};
use crate::files::{Folder, found};
use crate::store::SealKey;
use crate::tree::TreePath;

/// Below the agent's own folder; a folder for each restore.
const FOLDER: &str = "locks";
const RECORD: &str = "journal.toml";
const KEYS: &str = "keys.age";
const SEAL: &str = "seal.key";
const MAX_BYTES: u64 = 1 << 20;

/// Where journals are.
#[derive(Clone, Debug)]
pub struct Journals {
    folder: Folder,
}

/// One restore's.
#[derive(Debug)]
pub struct Journal {
    folder: Folder,
    record: Record,
    keys: Vec<Secret>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    restore: Uuid,
    group: String,
    since: Timestamp,
    port: u16,
    /// Whose release is not confirmed.
    members: Vec<Door>,
}

impl Journals {
    pub fn new(folder: Folder) -> Self {
        Self { folder }
    }

    /// Durable when it returns.
    pub fn begin(&self, restore: Uuid, group: &Group, members: Vec<Door>) -> Result<Journal, Failure> {
        self.folder.make_folder(FOLDER, 0o700)?;
        let place = format!("{FOLDER}/{restore}");
        self.folder.remove_all(&place)?;
        self.folder.make_folder(&place, 0o700)?;
        let folder = self.folder.folder(&place)?;
        let seal = SealKey::random();
        seal.store(&folder, SEAL)?;
        let mut sealed = Vec::new();
        let keys: Vec<&str> = group.keys.iter().map(Secret::expose).collect();
        let clear = zeroize::Zeroizing::new(serde_json::to_vec(&keys).map_err(|e| internal(&e))?);
        let mut out = seal.seal(&mut sealed).map_err(|e| internal(&e))?;
        out.write_all(&clear).map_err(|e| internal(&e))?;
        out.finish().map_err(|e| internal(&e))?;
        folder.replace(KEYS, &sealed, 0o600)?;
        let (group_name, port, since) = (group.name.clone(), group.port, Timestamp::now());
        let record = Record { restore, group: group_name, since, port, members };
        let journal = Journal { folder, record, keys: group.keys.clone() };
        journal.write()?;
        self.folder.sync(FOLDER)?;
        self.folder.sync("")?;
        Ok(journal)
    }

    /// All that are not done with; what a crash has left half made is removed.
    pub fn all(&self) -> Result<Vec<Journal>, Failure> {
        let mut journals = Vec::new();
        for (name, _) in found(self.folder.list(FOLDER))?.unwrap_or_default() {
            let place = std::path::Path::new(FOLDER).join(&name);
            let folder = self.folder.folder(&place)?;
            match Journal::read(folder)? {
                Some(journal) => journals.push(journal),
                None => self.folder.remove_all(&place)?,
            }
        }
        journals.sort_by_key(|journal| journal.record.since);
        Ok(journals)
    }

    /// An admin has decided that nobody waits for the rest any more.
    pub fn forget(&self, restore: Uuid) -> Result<(), Failure> {
        // Without its record the rest means nothing.
        self.folder.remove_if_there(format!("{FOLDER}/{restore}/{RECORD}"))?;
        Ok(self.folder.remove_all(format!("{FOLDER}/{restore}"))?)
    }
}

impl Journal {
    fn read(folder: Folder) -> Result<Option<Self>, Failure> {
        let Some(bytes) = found(folder.read(RECORD, MAX_BYTES))? else { return Ok(None) };
        let unreadable = |why: String| {
            Failure::new(
                Code::StateUnreadable,
                format!("the lock journal {} cannot be read: {why}", folder.path().display()),
            )
        };
        let text = String::from_utf8_lossy(&bytes);
        let record: Record = toml::from_str(&text).map_err(|e| unreadable(e.message().to_owned()))?;
        let path: TreePath = KEYS.parse().map_err(|_| unreadable("its keys' name is none".into()))?;
        let sealed = std::io::Cursor::new(folder.read(KEYS, MAX_BYTES)?);
        let mut clear = zeroize::Zeroizing::new(String::new());
        SealKey::load(&folder, SEAL)?
            .unseal(&path, sealed)?
            .read_to_string(&mut clear)
            .map_err(|e| unreadable(e.to_string()))?;
        let keys: Vec<Secret> = serde_json::from_str(&clear).map_err(|e| unreadable(e.to_string()))?;
        Ok(Some(Self { folder, record, keys }))
    }

    pub fn restore(&self) -> Uuid {
        self.record.restore
    }

    pub fn since(&self) -> Timestamp {
        self.record.since
    }

    pub fn port(&self) -> u16 {
        self.record.port
    }

    pub fn keys(&self) -> &[Secret] {
        &self.keys
    }

    /// Whose release is not confirmed.
    pub fn members(&self) -> &[Door] {
        &self.record.members
    }

    /// The member has no lock of this restore any more; after the last one the journal goes.
    pub fn confirm(&mut self, journals: &Journals, device: &str) -> Result<(), Failure> {
        self.record.members.retain(|door| door.device != device);
        self.keep(journals)
    }

    /// Only these can have a lock of this restore.
    pub fn keep_only(&mut self, journals: &Journals, members: &[Door]) -> Result<(), Failure> {
        self.record.members = members.to_vec();
        self.keep(journals)
    }

    fn keep(&self, journals: &Journals) -> Result<(), Failure> {
        match self.record.members.is_empty() {
            true => journals.forget(self.record.restore),
            false => self.write(),
        }
    }

    fn write(&self) -> Result<(), Failure> {
        let text = toml::to_string(&self.record).map_err(|e| internal(&e))?;
        Ok(self.folder.replace(RECORD, text.as_bytes(), 0o600)?)
    }
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::Internal, format!("the lock journal cannot be written: {error}"))
}
