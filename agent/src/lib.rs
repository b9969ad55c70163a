//! The restore agent: see ARCHITECTURE.md for the way of one restore through these modules.

pub mod domain;
pub mod dropin;
pub mod facts;
pub mod files;
mod limits_tmp;
pub mod profile;
pub mod tree;
