//! Restores in virtual machines of the image.
#![allow(clippy::unwrap_used, reason = "a test that fails")]

mod cuts;
mod donor;
mod ha;
mod harness;
mod ipv6;
mod lost;
mod machines;
mod promises;
mod replacement;
mod restore;
mod unattended;
