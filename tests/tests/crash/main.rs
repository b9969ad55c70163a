//! Crashes: whatever dies, and whenever, the appliance is wholly the old one or wholly the new one,
//! and its records say which.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod confirm;
mod damage;
mod edits;
mod health;
mod keys;
mod phases;
mod power;
mod record;
mod returns;
mod scene;
mod steps;
mod syncs;
mod table;
mod trial;
mod trouble;
