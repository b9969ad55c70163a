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
use super::fleet::Service;
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
    /// A lock service in place of lock files, whose release is not confirmed, and who asked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<Owed>,
}

/// A lock that was asked for at a lock service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Owed {
    pub service: Service,
    /// The device UUID that has asked.
    pub device: String,
}

impl Journals {
    pub fn new(folder: Folder) -> Self {
        Self { folder }
    }

    /// Durable when it returns.
    pub fn begin(&self, restore: Uuid, group: &Group, members: Vec<Door>) -> Result<Journal, Failure> {
        let Group { name, port, keys, .. } = group;
        let (group, port, since) = (name.clone(), *port, Timestamp::now());
        self.write(Record { restore, group, since, port, members, service: None }, keys)
    }

    /// The same for a lock service. What an earlier restore owes the same service goes into this one: its
    /// release would free this lock.
    pub fn begin_service(&self, restore: Uuid, owed: Owed) -> Result<Journal, Failure> {
        for mut earlier in self.all()? {
            let same = |o: &Owed| o.service == owed.service && o.device == owed.device;
            if earlier.record.service.as_ref().is_some_and(same) {
                earlier.confirm_service(self)?;
            }
        }
        let (group, port, members, since) = (String::new(), 0, Vec::new(), Timestamp::now());
        self.write(Record { restore, group, since, port, members, service: Some(owed) }, &[])
    }

    fn write(&self, record: Record, keys: &[Secret]) -> Result<Journal, Failure> {
        let restore = record.restore;
        self.folder.make_folder(FOLDER, 0o700)?;
        let place = format!("{FOLDER}/{restore}");
        self.folder.remove_all(&place)?;
        self.folder.make_folder(&place, 0o700)?;
        let folder = self.folder.folder(&place)?;
        let seal = SealKey::random();
        seal.store(&folder, SEAL)?;
        let mut sealed = Vec::new();
        let exposed: Vec<&str> = keys.iter().map(Secret::expose).collect();
        let clear = zeroize::Zeroizing::new(serde_json::to_vec(&exposed).map_err(|e| internal(&e))?);
        let mut out = seal.seal(&mut sealed).map_err(|e| internal(&e))?;
        out.write_all(&clear).map_err(|e| internal(&e))?;
        out.finish().map_err(|e| internal(&e))?;
        folder.replace(KEYS, &sealed, 0o600)?;
        let journal = Journal { folder, record, keys: keys.to_vec() };
        journal.write()?;
        self.folder.sync(FOLDER)?;
        self.folder.sync("")?;
        Ok(journal)
    }

    /// All that are not done with.
    pub fn all(&self) -> Result<Vec<Journal>, Failure> {
        let mut journals = Vec::new();
        for (name, _) in found(self.folder.list(FOLDER))?.unwrap_or_default() {
            let place = std::path::Path::new(FOLDER).join(&name);
            let folder = self.folder.folder(&place)?;
            match Journal::read(folder) {
                Ok(Some(journal)) => journals.push(journal),
                Ok(None) => {}
                // The others are released all the same; `clear restore-lock` knows those that are shown.
                Err(failure) => tracing::error!("{failure}"),
            }
        }
        journals.sort_by_key(|journal| journal.record.since);
        Ok(journals)
    }

    /// What a crash has left half made means nothing: at the start, before a restore begins one.
    pub fn tidy(&self) -> Result<(), Failure> {
        for (name, _) in found(self.folder.list(FOLDER))?.unwrap_or_default() {
            let place = std::path::Path::new(FOLDER).join(&name);
            if found(self.folder.stat(place.join(RECORD)))?.is_none() {
                self.folder.remove_all(&place)?;
            }
        }
        Ok(())
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

    pub fn service(&self) -> Option<&Owed> {
        self.record.service.as_ref()
    }

    /// The lock service has released it.
    pub fn confirm_service(&mut self, journals: &Journals) -> Result<(), Failure> {
        self.record.service = None;
        self.keep(journals)
    }

    fn keep(&self, journals: &Journals) -> Result<(), Failure> {
        match self.record.members.is_empty() && self.record.service.is_none() {
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
