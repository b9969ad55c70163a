//! What the tests share: real servers and hostile ones.
#![allow(clippy::unwrap_used, reason = "a harness that fails is a test that fails")]

pub mod appliance;
pub mod bench;
pub mod client;
pub mod compare;
pub mod container;
pub mod disk;
pub mod donor;
pub mod fault;
pub mod fleetlock;
pub mod forge;
pub mod fuzz;
pub mod group;
pub mod hostile;
pub mod link;
pub mod login;
pub mod machine;
pub mod manager;
pub mod outside;
pub mod picture;
pub mod promises;
pub mod pty;
pub mod relay;
pub mod rogue;
pub mod sandbox;
pub mod server;
pub mod sshd;
pub mod vm;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Why the harness itself could not go on.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

pub type Result<T> = std::result::Result<T, Error>;

/// Runs a program that has to succeed.
pub fn must(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The folder of a suite below `target`, made where it is missing.
pub(crate) fn target(suite: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let folder = target.join(suite);
    std::fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

/// Says what was being done, and to which path.
pub(crate) fn doing<T, E: std::fmt::Display>(
    what: &str,
    path: &Path,
    result: std::result::Result<T, E>,
) -> Result<T> {
    result.map_err(|error| format!("cannot {what} {}: {error}", path.display()).into())
}
