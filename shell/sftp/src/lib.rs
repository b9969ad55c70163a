//! sshd's SFTP subsystem: the backup folder, and nothing else.
//!
//! A client of the agent's API, run by the account that has logged in: it opens no file itself. SFTP version 3, one
//! request at a time, one handle at a time; memory stays the same however large a backup is.

mod agent;
pub mod packet;
mod path;
mod serve;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use agent::Agent;
use packet::{Input, Output};
use serve::Server;

const USAGE: &str = "usage: reinstate-sftp [--socket PATH]";

/// Runs the subsystem with these arguments, the program's name first, until its client goes.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(socket) = socket(args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(socket, io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // The other side is gone, or what it sends is no SFTP.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Answers until the input ends.
///
/// # Errors
/// What cannot be read or written; `InvalidData` where it is no SFTP.
pub fn serve(socket: PathBuf, input: impl Read, output: impl Write) -> io::Result<()> {
    let (mut input, mut output) = (Input::new(input), Output::new(output));
    let mut server = Server::new(Agent::new(socket));
    loop {
        if !input.has_one() {
            output.flush()?;
        }
        let Some(frame) = input.frame()? else { return output.flush() };
        server.answer(frame, &mut output)?;
    }
}

fn socket(args: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let mut args = args.skip(1);
    let mut socket = PathBuf::from("/").join(reinstate_api::SOCKET);
    while let Some(arg) = args.next() {
        match arg.to_str()? {
            "--socket" => socket = args.next()?.into(),
            _ => return None,
        }
    }
    Some(socket)
}
