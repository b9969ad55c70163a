//! The files of the backup folder, as an admin copies them onto and off the appliance.

use std::fs::File;

use nix::fcntl::FlockArg;
use reinstate_api::{BackupFile, Failure};

use super::Engine;
use crate::backups::{self, check_name, missing};
use crate::download;
use crate::files::found;
use crate::upload::{Name, Upload};

impl Engine {
    pub fn list_files(&self) -> Result<Vec<BackupFile>, Failure> {
        backups::list(&self.backups()?)
    }

    /// A whole backup, to be read.
    pub fn open_file(&self, file: &str) -> Result<File, Failure> {
        check_name(file)?;
        found(self.backups()?.open_file(file))?.ok_or_else(|| missing(file))
    }

    /// A new backup, of which nothing has come yet.
    ///
    /// # Errors
    /// As [`Upload::begin`].
    pub fn begin_upload(&self, file: &str) -> Result<Upload, Failure> {
        check_name(file)?;
        let name = self.inner.names.take_for_upload(file)?;
        Upload::begin(self.backups()?, name, &self.parts().profile)
    }

    /// Removes a backup; with `.part` at the end of its name, what has come of one.
    ///
    /// # Errors
    /// `busy` while something else is at work on it.
    pub fn delete_file(&self, file: &str) -> Result<(), Failure> {
        let whole = file.strip_suffix(".part").unwrap_or(file);
        check_name(whole)?;
        let _mine = self.take_name(whole)?;
        let folder = self.backups()?;
        found(folder.stat(file))?.ok_or_else(|| missing(file))?;
        match file == whole {
            true => folder.remove_file(file)?,
            false => download::forget(&folder, whole)?,
        }
        Ok(folder.sync("")?)
    }

    /// Nobody else works on this backup for as long as the value lives.
    pub(super) fn take_name(&self, file: &str) -> Result<Name, Failure> {
        self.inner.names.take(file)
    }

    /// Nobody else works on any backup.
    pub(super) fn take_all_names(&self) -> Result<Name, Failure> {
        self.inner.names.take_all()
    }

    /// What the last run has left half-way. An import that outlives the daemon has the folder's lock.
    pub(super) fn sweep_files(&self) -> Result<(), Failure> {
        let folder = self.backups()?;
        match folder.lock(FlockArg::LockExclusiveNonblock) {
            Ok(_alone) => download::sweep(&folder),
            Err(_) => Ok(()),
        }
    }
}
