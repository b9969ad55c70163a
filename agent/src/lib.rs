//! The restore agent: see ARCHITECTURE.md for the way of one restore through these modules.

pub mod activate;
pub mod archive;
pub mod check;
pub mod cli;
pub mod diff;
pub mod domain;
pub mod download;
pub mod dropin;
pub mod engine;
pub mod facts;
pub mod fetch;
pub mod files;
pub mod job;
pub mod live;
pub mod lock;
pub mod platform;
pub mod profile;
pub mod resolve;
pub mod secrets;
pub mod server;
pub mod stage;
pub mod state;
pub mod store;
pub mod tree;
pub mod validate;
