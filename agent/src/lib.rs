//! The restore agent: see ARCHITECTURE.md for the way of one restore through these modules.

pub mod fetch;
pub mod files;
pub mod tree;
