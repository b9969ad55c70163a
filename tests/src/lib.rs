//! What the tests share: real servers and hostile ones.
#![allow(clippy::unwrap_used, reason = "a harness that fails is a test that fails")]

pub mod relay;
pub mod rogue;
pub mod sshd;
