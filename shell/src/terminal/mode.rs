//! How the terminal treats what is typed, put back however the session ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::termios::{
    InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};

use crate::signals::Held;

/// A terminal whose treatment of input is changed until this is dropped.
pub struct Mode {
    terminal: OwnedFd,
    before: Termios,
    _held: Held,
}

impl Mode {
    /// Every key comes at once and is shown by nobody: for a line editor. Ctrl-C stays a signal.
    pub fn keys(terminal: BorrowedFd<'_>) -> Option<Self> {
        Self::change(terminal, SetArg::TCSANOW, |mode| {
            mode.local_flags
                .remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::IEXTEN);
            mode.local_flags.insert(LocalFlags::ISIG);
            mode.input_flags.remove(InputFlags::ICRNL | InputFlags::INLCR | InputFlags::IGNCR);
            mode.input_flags.remove(InputFlags::ISTRIP | InputFlags::IXON);
            mode.output_flags.insert(OutputFlags::OPOST | OutputFlags::ONLCR);
            mode.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
            mode.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        })
    }

    /// Lines come whole and are not shown as they are typed: for a secret on a terminal without an editor.
    pub fn hidden(terminal: BorrowedFd<'_>) -> Option<Self> {
        // What was typed ahead was typed with echo on: it is no password.
        Self::change(terminal, SetArg::TCSAFLUSH, |mode| {
            mode.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        })
    }

    fn change(terminal: BorrowedFd<'_>, when: SetArg, change: impl FnOnce(&mut Termios)) -> Option<Self> {
        let before = tcgetattr(terminal).ok()?;
        let held = Held::new();
        let mut changed = before.clone();
        change(&mut changed);
        let terminal = terminal.try_clone_to_owned().ok()?;
        tcsetattr(&terminal, when, &changed).ok()?;
        Some(Self { terminal, before, _held: held })
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
    }
}

/// Columns and rows, where the terminal tells them.
pub fn size(terminal: impl AsFd) -> (Option<usize>, Option<usize>) {
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) => {
            let told = |count: u16| Some(usize::from(count)).filter(|count| *count > 1);
            (told(size.ws_col), told(size.ws_row))
        }
        Err(_) => (None, None),
    }
}
