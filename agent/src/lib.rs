//! The restore agent: see ARCHITECTURE.md for the way of one restore through these modules.

pub mod activate;
pub mod domain;
pub mod dropin;
pub mod facts;
pub mod fetch;
pub mod files;
pub mod job;
mod limits_tmp;
pub mod live;
pub mod profile;
pub mod secrets;
pub mod state;
pub mod store;
pub mod tree;
