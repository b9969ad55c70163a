//! A file being written.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;

use super::{Error, Result, Step, Steps};

/// A file being written.
pub struct Writer {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) steps: Arc<dyn Steps>,
}

impl Writer {
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes all of `buf` at an offset of the file.
    pub fn write_at(&mut self, buf: &[u8], at: u64) -> io::Result<()> {
        let Self { file, path, steps } = self;
        steps.step(Step::Write(path, buf.len()), &mut || file.write_all_at(buf, at))
    }

    /// Whether writes leave the page cache out: their addresses, offsets and lengths must be multiples of
    /// the disk's block then. An error where the file system cannot.
    pub fn set_direct(&self, direct: bool) -> io::Result<()> {
        let flags = OFlag::from_bits_truncate(fcntl(&self.file, FcntlArg::F_GETFL)?);
        let wanted = if direct { flags | OFlag::O_DIRECT } else { flags - OFlag::O_DIRECT };
        fcntl(&self.file, FcntlArg::F_SETFL(wanted))?;
        Ok(())
    }

    pub fn sync(&self) -> Result<()> {
        self.steps.step(Step::Sync(&self.path), &mut || self.file.sync_all()).map_err(|source| Error {
            doing: "sync",
            path: self.path.clone(),
            source,
        })
    }

    pub fn set_mode(&self, mode: u32) -> Result<()> {
        self.steps
            .step(Step::Mode(&self.path), &mut || {
                Ok(nix::sys::stat::fchmod(&self.file, Mode::from_bits_truncate(mode))?)
            })
            .map_err(|source| Error { doing: "change the mode of", path: self.path.clone(), source })
    }

    pub fn set_owner(&self, uid: u32, gid: u32) -> Result<()> {
        self.steps
            .step(Step::Owner(&self.path), &mut || {
                std::os::unix::fs::fchown(&self.file, Some(uid), Some(gid))
            })
            .map_err(|source| Error { doing: "change the owner of", path: self.path.clone(), source })
    }
}

impl Write for Writer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Self { file, path, steps } = self;
        steps.step(Step::Write(path, buf.len()), &mut || file.write_all(buf))?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
