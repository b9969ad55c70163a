//! What the tests share: real servers and hostile ones.
#![allow(clippy::unwrap_used, reason = "a harness that fails is a test that fails")]

pub mod appliance;
pub mod bench;
pub mod client;
pub mod compare;
pub mod container;
pub mod donor;
pub mod fault;
pub mod forge;
pub mod machine;
pub mod manager;
pub mod outside;
pub mod promises;
pub mod relay;
pub mod rogue;
pub mod sandbox;
pub mod server;
pub mod sshd;
pub mod vm;

/// Why the harness itself could not go on.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

pub type Result<T> = std::result::Result<T, Error>;

/// Says what was being done, and to which path.
pub(crate) fn doing<T, E: std::fmt::Display>(
    what: &str,
    path: &std::path::Path,
    result: std::result::Result<T, E>,
) -> Result<T> {
    result.map_err(|error| format!("cannot {what} {}: {error}", path.display()).into())
}
