//! What an admin configures on the appliance itself: at once, wholly or not at all, and on record.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod accounts;
mod changes;
mod confirm;
mod expert;
mod manager;
mod scene;
mod setup;
mod stored;
