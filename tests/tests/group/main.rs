//! HA groups: real agents that meet over networks of the tests' own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod races;
mod resume;

use std::path::Path;

/// The binary that is the agent.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

fn program() -> &'static Path {
    Path::new(PROGRAM)
}

/// A number that is another one in each run; it is printed, and `REINSTATE_TEST_SEED` repeats it.
fn seed() -> u64 {
    let given = std::env::var("REINSTATE_TEST_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("REINSTATE_TEST_SEED={seed}");
    seed
}
