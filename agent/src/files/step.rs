//! Steps that change a disk, and what went wrong with one.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use reinstate_api::Failure;

/// A step that changes a disk.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    Create(&'a Path),
    Write(&'a Path, usize),
    Sync(&'a Path),
    /// Of the whole file system that the folder is on.
    SyncAll(&'a Path),
    Rename(&'a Path, &'a Path),
    Remove(&'a Path),
    MakeFolder(&'a Path),
    Link(&'a Path),
    Mode(&'a Path),
    Owner(&'a Path),
}

/// Sees every step; the plain one, [`Direct`], lets each happen.
pub trait Steps: Send + Sync {
    /// Must call `run` for the step to happen; its error, or one of its own, is the step's result.
    fn step(&self, step: Step<'_>, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>;
}

/// Every step happens.
pub struct Direct;

impl Steps for Direct {
    fn step(&self, _: Step<'_>, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        run()
    }
}

/// What was being done, to which path, and what the system said.
#[derive(Debug)]
pub struct Error {
    pub(super) doing: &'static str,
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

impl Error {
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    pub fn is_missing(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.doing, self.path.display(), self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::io(format_args!("cannot {} {}", error.doing, error.path.display()), &error.source)
    }
}

/// The one way to turn "not there" into `None`.
pub fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

pub type Result<T> = std::result::Result<T, Error>;
