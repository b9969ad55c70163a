//! The other members of an HA group, and what keeps them from restoring at the same time.

pub mod fleet;
