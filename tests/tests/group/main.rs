//! HA groups: real agents that meet over networks of the tests' own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commit;
mod cuts;
mod endpoint;
mod firewall;
mod overrides;
mod races;
mod resume;
mod rules;
mod site;

use std::path::Path;

/// The binary that is the agent.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

fn program() -> &'static Path {
    Path::new(PROGRAM)
}

/// So many of these rounds: all of them where `REINSTATE_ROUNDS` is `all`, otherwise a tenth.
fn rounds(all: usize) -> usize {
    match std::env::var("REINSTATE_ROUNDS").as_deref() {
        Ok("all") => all,
        Ok(number) => number.parse().unwrap(),
        Err(_) => all.div_ceil(10),
    }
}

/// A number that is another one in each run; it is printed, and `REINSTATE_TEST_SEED` repeats it.
fn seed() -> u64 {
    let given = std::env::var("REINSTATE_TEST_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("REINSTATE_TEST_SEED={seed}");
    seed
}
