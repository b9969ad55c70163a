//! Changes of the configuration as an admin asks for them: checked, told in a line, made in a draft.
//!
//! The edits themselves are pure, text to text, and leave alone what they are not asked for.

mod accounts;
mod check;
mod describe;
mod edit;
mod hosts;
pub mod passwords;
mod readings;
mod ssh;

pub use check::check;
pub use describe::{describe, is_own_password, is_risky};
pub use edit::Edit;
pub use ssh::distrust;
