//! Whole restores, as an admin types them: from real servers into whole appliances.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod addresses;
mod bundles;
mod checkin;
mod media;
mod places;
mod promises;
mod questions;
mod refusals;
mod refusals_content;
mod resume;
mod scene;
mod servers;
mod space;
mod tasks;
