//! The archive format against real tools, hostile archives, damage, and time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod build;
mod bundle;
mod compatibility;
mod damage;
mod extract;
mod hostile;
mod round_trip;
mod sample;
