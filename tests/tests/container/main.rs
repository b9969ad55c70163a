//! What only a real systemd can give, in containers of the image.
#![allow(clippy::unwrap_used, reason = "a test that fails")]

mod appliance;
mod backups;
mod broken;
mod confirm;
mod console;
mod donor;
mod ha;
mod hardware;
mod harness;
mod manager;
mod medium;
mod package;
mod promises;
mod replacement;
mod rescue;
mod restart;
mod server;
mod taken_over;
mod zero_touch;
