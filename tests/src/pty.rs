//! A terminal that only the program on it holds: what else the test starts must not keep it open.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};

/// Both ends, of so many rows and columns; no other child inherits either.
///
/// # Errors
/// Where the system has no more terminals.
pub fn open(rows: u16, columns: u16) -> nix::Result<OpenptyResult> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None)?;
    for end in [&pty.master, &pty.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    Ok(pty)
}
