//! What only a real systemd can give, in containers of the image.
#![allow(clippy::unwrap_used, reason = "a test that fails")]

mod donor;
mod harness;
mod promises;
mod replacement;
