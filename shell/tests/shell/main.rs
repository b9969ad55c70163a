//! The shell as its users meet it: the real program, against an agent on a real socket.

mod agent;
mod commands;
mod terminal;
