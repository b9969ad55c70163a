//! The restore lock: which restore, by whom, since when, in which phase.
//!
//! A lock survives reboots and never ends by time. It is one file, whoever's restore holds it: this
//! appliance's own, or another member's of its HA group. Only the daemon changes it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reinstate_api::{Code, Failure, Lock, Phase, one_line};
use uuid::Uuid;

use crate::files::{Folder, found};

const FILE: &str = "restore.lock";
const MAX_BYTES: u64 = 16 << 10;

/// The one lock file of this appliance; clones take turns.
#[derive(Clone, Debug)]
pub struct LockFile {
    folder: Folder,
    turn: Arc<Mutex<()>>,
}

impl LockFile {
    pub fn new(folder: Folder) -> Self {
        Self { folder, turn: Arc::default() }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        // There is nothing that a panic could leave half-way.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock as it is, whoever holds it: it changes as a whole, so nobody waits for a turn.
    pub fn read(&self) -> Result<Option<Lock>, Failure> {
        read(&self.folder)
    }

    /// Takes the lock: it becomes visible whole, or not at all.
    ///
    /// # Errors
    /// `lock-held`, naming the holder, its phase and since when.
    pub fn take(&self, lock: &Lock) -> Result<(), Failure> {
        let (_turn, folder) = (self.turn(), &self.folder);
        match folder.publish(FILE, &bytes(lock)?, 0o644) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(read(folder)?.map_or_else(|| error.into(), |other| held(&other)))
            }
            // After an unclear answer the lock itself tells: one's own id is success.
            Err(error) => match read(folder) {
                Ok(Some(found)) if found.id == lock.id => Ok(()),
                _ => Err(error.into()),
            },
        }
    }

    /// Replaces what the lock says of the same restore.
    ///
    /// # Errors
    /// `lock-lost` where the lock is gone or another restore's; whatever `change` refuses.
    pub fn update(
        &self,
        id: Uuid,
        change: impl FnOnce(Lock) -> Result<Lock, Failure>,
    ) -> Result<(), Failure> {
        let _turn = self.turn();
        let lock = change(owned(&self.folder, id)?)?;
        Ok(self.folder.replace(FILE, &bytes(&Lock { id, ..lock })?, 0o644)?)
    }

    /// Takes the lock away from its restore, after `record`; nobody else changes it meanwhile. A file that
    /// cannot be read is taken for a restore's that commits.
    ///
    /// # Errors
    /// `lock-held` where the restore has said that it commits, and that is not `expected`.
    pub fn clear(
        &self,
        id: Uuid,
        expected: bool,
        record: impl FnOnce(Option<&Lock>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let _turn = self.turn();
        let lock = match read(&self.folder) {
            Ok(None) => return record(None),
            Ok(Some(lock)) if lock.id != id => return record(None),
            Ok(Some(lock)) => lock,
            Err(_) if id.is_nil() => unreadable(),
            Err(failure) => return Err(failure),
        };
        if lock.phase >= Phase::Committing && !expected {
            let Lock { hostname, phase, .. } = &lock;
            return Err(Failure::new(
                Code::LockHeld,
                format!("restore {id} of {hostname} has said that it commits (phase {phase})"),
            )
            .hint("clear its lock only where that appliance is known to be off"));
        }
        record(Some(&lock))?;
        self.folder.remove_if_there(FILE)?;
        Ok(self.folder.sync("")?)
    }

    /// A lock that is another restore's by now is left alone.
    pub fn release(&self, id: Uuid) -> Result<(), Failure> {
        let _turn = self.turn();
        if owned(&self.folder, id).is_ok() {
            self.folder.remove_if_there(FILE)?;
            self.folder.sync("")?;
        }
        Ok(())
    }
}

/// Proof that this appliance's restore lock is held by a restore of its own.
#[derive(Debug)]
pub struct Held {
    file: LockFile,
    id: Uuid,
}

impl Held {
    pub fn take(file: &LockFile, lock: &Lock) -> Result<Self, Failure> {
        file.take(lock)?;
        Ok(Self { file: file.clone(), id: lock.id })
    }

    /// The lock that a restore took before the reboot.
    ///
    /// # Errors
    /// `lock-lost` where it is gone or another restore's.
    pub fn resume(file: &LockFile, id: Uuid) -> Result<Self, Failure> {
        owned(&file.folder, id)?;
        Ok(Self { file: file.clone(), id })
    }

    /// Says in which phase the holder is.
    ///
    /// # Errors
    /// `lock-lost` where the lock was taken away meanwhile: the holder must not go on.
    pub fn set_phase(&self, phase: Phase) -> Result<(), Failure> {
        self.file.update(self.id, |lock| Ok(Lock { phase, ..lock }))
    }
}

fn owned(folder: &Folder, id: Uuid) -> Result<Lock, Failure> {
    match read(folder)? {
        Some(lock) if lock.id == id => Ok(lock),
        other => Err(lost(id, "this appliance", other.as_ref())),
    }
}

/// The failure of a restore whose lock on `place` was taken away.
pub fn lost(id: Uuid, place: &str, now: Option<&Lock>) -> Failure {
    let now = match now {
        None => "nobody holds it now".into(),
        Some(lock) => format!("restore {} of {} holds it now", lock.id, lock.hostname),
    };
    Failure::new(Code::LockLost, format!("the restore lock of restore {id} on {place} was taken away: {now}"))
        .hint("an admin there has cleared it; `show restore history` there says who and why")
}

fn read(folder: &Folder) -> Result<Option<Lock>, Failure> {
    found(folder.read(FILE, MAX_BYTES))?.map(|bytes| parse(&bytes, FILE)).transpose()
}

/// What stands for a lock that cannot be read: it is somebody's.
pub fn unreadable() -> Lock {
    Lock {
        id: Uuid::nil(),
        device: String::new(),
        hostname: "unknown: the lock cannot be read".into(),
        by: "unknown".into(),
        since: jiff::Timestamp::UNIX_EPOCH,
        phase: Phase::Committing,
        without: Vec::new(),
    }
}

/// A lock, as `place` has it, safe to show.
pub fn parse(bytes: &[u8], place: &str) -> Result<Lock, Failure> {
    let lock: Lock = toml::from_str(&String::from_utf8_lossy(bytes)).map_err(|error| {
        Failure::new(Code::LockHeld, format!("{place} cannot be read: {}", error.message()))
    })?;
    let Lock { device, hostname, by, without, .. } = &lock;
    let without = without.iter().map(|name| one_line(name)).collect();
    Ok(Lock { device: one_line(device), hostname: one_line(hostname), by: one_line(by), without, ..lock })
}

/// A lock as its file has it.
pub fn bytes(lock: &Lock) -> Result<Vec<u8>, Failure> {
    toml::to_string(lock)
        .map(String::into_bytes)
        .map_err(|e| Failure::new(Code::Internal, format!("{FILE} cannot be written: {e}")))
}

/// The refusal that a lock is.
pub fn held(lock: &Lock) -> Failure {
    Failure::new(
        Code::LockHeld,
        format!(
            "the restore lock is held by restore {} of {} (asked for by {}) since {}, phase {}",
            lock.id,
            lock.hostname,
            lock.by,
            lock.since,
            lock.phase
        ),
    )
    .hint("wait for that restore to end; `show restore` tells how far it is, and `show restore lock` who holds what")
}
