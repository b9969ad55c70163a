//! Crashes: whatever dies, and whenever, the appliance is wholly the old one or wholly the new one,
//! and its records say which.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod damage;
mod health;
mod keys;
mod phases;
mod record;
mod returns;
mod scene;
mod steps;
mod trial;
