//! The other members of this appliance's HA pair or cluster: one restore at a time in the whole group.
//!
//! Every member serves two files over SFTP on a port of its own: `/identity`, which says what it is and
//! how far its restores are, and `/restore.lock`. A restore takes the lock of every member, in one order
//! that all of them have, before it commits.

mod client;
mod door;
mod endpoint;
mod files;
pub mod fleet;
mod held;
mod identity;
mod journal;
mod membership;
mod rules;

pub use client::Session;
pub use door::{Door, Group};
pub use endpoint::{Backend, Serving, host_key_line, serve};
pub use files::Files;
pub use held::{Committing, GroupHeld, Taking, Without};
pub use identity::{HaState, Identity, RecordedOverride, Running};
pub use journal::{Journal, Journals};
pub use membership::{MAX_GROUP, Membership, parse_group};
pub use rules::{Answer, Judgement, Silent, Us, judge};

/// The two files that a member serves.
const LOCK: &str = "/restore.lock";
const IDENTITY: &str = "/identity";

/// The longest lock: 16 KiB; the longest identity: 256 KiB.
const MAX_LOCK: usize = 16 << 10;
const MAX_IDENTITY: usize = 256 << 10;
