//! The shell as its users meet it: the real program, against an agent on a real socket.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod agent;
mod commands;
mod help;
mod jobs;
mod pty;
mod terminal;
mod wizard;
