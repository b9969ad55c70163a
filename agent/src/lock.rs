//! The restore lock: which restore, by whom, since when, in which phase.
//!
//! A lock survives reboots and never ends by time. Its file has the shape that members of an HA
//! group create on each other.

use reinstate_api::{Code, Failure, Lock, Phase};
use uuid::Uuid;

use crate::files::{Folder, found};

const FILE: &str = "restore.lock";
const MAX_BYTES: u64 = 16 << 10;

/// Proof that this appliance's restore lock is held by a restore: what a commit asks for.
#[derive(Debug)]
pub struct Held {
    folder: Folder,
    id: Uuid,
}

impl Held {
    /// Takes the lock: it becomes visible whole, or not at all.
    ///
    /// # Errors
    /// `lock-held`, naming the holder, its phase and since when.
    pub fn take(folder: &Folder, lock: &Lock) -> Result<Self, Failure> {
        match folder.publish(FILE, &bytes(lock)?, 0o644) {
            Ok(()) => Ok(Self { folder: folder.clone(), id: lock.id }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(read(folder)?.map_or_else(|| error.into(), |other| held(&other)))
            }
            // After an unclear answer the lock itself tells: one's own id is success.
            Err(error) => match read(folder) {
                Ok(Some(found)) if found.id == lock.id => Ok(Self { folder: folder.clone(), id: lock.id }),
                _ => Err(error.into()),
            },
        }
    }

    /// The lock that a restore took before the reboot.
    ///
    /// # Errors
    /// `lock-held` where it is another restore's, `not-found` where it is gone.
    pub fn resume(folder: &Folder, id: Uuid) -> Result<Self, Failure> {
        owned(folder, id)?;
        Ok(Self { folder: folder.clone(), id })
    }

    /// Says in which phase the holder is.
    ///
    /// # Errors
    /// `lock-held` or `not-found` where the lock was taken away meanwhile: the holder must not go on.
    pub fn set_phase(&self, phase: Phase) -> Result<(), Failure> {
        let lock = owned(&self.folder, self.id)?;
        Ok(self.folder.replace(FILE, &bytes(&Lock { phase, ..lock })?, 0o644)?)
    }

    /// A lock that is another's by now is left alone.
    pub fn release(self) -> Result<(), Failure> {
        if owned(&self.folder, self.id).is_ok() {
            self.folder.remove_if_there(FILE)?;
            self.folder.sync("")?;
        }
        Ok(())
    }
}

fn owned(folder: &Folder, id: Uuid) -> Result<Lock, Failure> {
    match read(folder)? {
        Some(lock) if lock.id == id => Ok(lock),
        Some(other) => Err(held(&other)),
        None => Err(Failure::new(Code::NotFound, format!("the restore lock of restore {id} is gone"))),
    }
}

/// The lock as it is, whoever holds it.
pub fn read(folder: &Folder) -> Result<Option<Lock>, Failure> {
    let Some(bytes) = found(folder.read(FILE, MAX_BYTES))? else { return Ok(None) };
    toml::from_str(&String::from_utf8_lossy(&bytes))
        .map(Some)
        .map_err(|error| Failure::new(Code::LockHeld, format!("{FILE} cannot be read: {}", error.message())))
}

fn bytes(lock: &Lock) -> Result<Vec<u8>, Failure> {
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
            lock.id, lock.hostname, lock.by, lock.since, lock.phase
        ),
    )
    .hint("wait for that restore to end; `show restore` tells how far it is")
}
