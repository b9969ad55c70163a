//! A file being written.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::path::PathBuf;
use std::sync::Arc;

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

    /// Writes all of the slices in as few calls as the system takes: large writes are the cheap ones.
    pub fn write_slices(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        let Self { file, path, steps } = self;
        steps.step(Step::Write(path, length), &mut || {
            while !slices.is_empty() {
                match file.write_vectored(slices) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => IoSlice::advance_slices(&mut slices, written),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
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
