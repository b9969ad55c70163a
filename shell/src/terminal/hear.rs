//! What is typed: bytes to keys, keys to a line, a line to whoever asked.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, tcflush};
use reinstate_api::Secret;
use zeroize::Zeroizing;

use super::Console;
use super::keys::{Key, Keys};
use super::line::{LIMIT, Line};
use super::mode::Mode;
use crate::signals::Wake;

/// What was heard while waiting for a line.
pub enum Heard {
    /// A line, without its end. It may be a password, so it is kept as one.
    Line(Secret),
    /// A line that is too long or not text.
    Unusable,
    /// The end of the input.
    End,
    /// Ctrl-C.
    Interrupt,
    /// The session is being ended.
    Hangup,
    /// Nothing was typed for too long.
    Idle,
    /// The other descriptor can be read.
    Other,
    /// On a line of commands: `?`, Tab, a space typed by hand, and the keys for earlier and later lines.
    Help,
    Complete,
    Space,
    Earlier,
    Later,
}

/// One byte, or why there is none.
enum Taken {
    Byte(u8),
    Instead(Heard),
}

impl Console {
    /// Shows a line that is being edited once more, below what was shown meanwhile.
    pub fn again(&mut self, asking: &mut Asking) {
        if let Typed::Edited(line) = &mut asking.typed {
            let shown = line.redrawn(&asking.words);
            self.write(&shown);
        }
    }

    /// What follows stands below the line that is being edited.
    pub fn below(&mut self, asking: &mut Asking) {
        if let Typed::Edited(line) = &mut asking.typed {
            let shown = line.passed();
            self.write(&shown);
            self.write("\n");
        }
    }

    /// Puts text in the place of what stands between `from` and the cursor.
    pub fn put(&mut self, asking: &mut Asking, from: usize, text: &str) {
        if let Typed::Edited(line) = &mut asking.typed {
            let to = line.before().len();
            let shown = line.replace(from.min(to)..to, text);
            self.write(&shown);
        }
    }

    /// Puts a line in the place of the one that is being edited.
    pub fn put_line(&mut self, asking: &mut Asking, text: &str) {
        if let Typed::Edited(line) = &mut asking.typed {
            let end = line.text().len();
            let shown = line.replace(0..end, text);
            self.write(&shown);
        }
    }

    /// Waits for the answer's end, or for `other`.
    pub fn hear(&mut self, asking: &mut Asking, other: Option<BorrowedFd<'_>>) -> Heard {
        loop {
            let heard = match self.take(other) {
                Taken::Instead(Heard::Other) => return Heard::Other,
                Taken::Instead(Heard::End) => Some(asking.at_end()),
                Taken::Instead(heard) => Some(heard),
                Taken::Byte(byte) => self.typed(asking, byte),
            };
            if let Some(heard) = heard {
                self.has_heard(&heard);
                let ended = matches!(heard, Heard::Line(_) | Heard::Unusable);
                let goes_on = matches!(
                    heard,
                    Heard::Help | Heard::Complete | Heard::Space | Heard::Earlier | Heard::Later
                );
                let shown = matches!(asking.typed, Typed::Lines { shown: true, .. });
                if let (Heard::Interrupt, Typed::Edited(line)) = (&heard, &mut asking.typed) {
                    let shown = line.left();
                    self.write(&format!("{shown}^C"));
                }
                if !(goes_on || shown && ended) {
                    self.write("\n");
                }
                return heard;
            }
        }
    }

    /// Waits for one key; None where there will be none.
    pub(super) fn key(&mut self) -> Option<Key> {
        loop {
            match self.take(None) {
                Taken::Byte(byte) => {
                    if let Some(key) = self.pressed(byte) {
                        return Some(key);
                    }
                }
                Taken::Instead(heard) => {
                    self.has_heard(&heard);
                    return None;
                }
            }
        }
    }

    /// The key that a byte completes.
    fn pressed(&mut self, byte: u8) -> Option<Key> {
        let key = self.keys.feed(byte);
        if let Some(next) = self.keys.back() {
            self.pending.push_front(next);
        }
        key
    }

    /// Whether the session goes on after this.
    fn has_heard(&mut self, heard: &Heard) {
        match heard {
            Heard::Hangup => self.ended = true,
            // Ctrl-D at a terminal ends an answer only.
            Heard::End => self.ended |= self.editing.is_none(),
            Heard::Idle => {
                self.ended = true;
                self.write("\nThe session ends: nothing was typed for too long.");
            }
            _ => {}
        }
    }

    /// What was typed before it was asked for is no answer.
    pub fn forget_ahead(&mut self) {
        if self.screen.is_some() {
            let _ = tcflush(&self.input, FlushArg::TCIFLUSH);
            self.pending.clear();
            self.keys = Keys::default();
        }
    }

    fn take(&mut self, other: Option<BorrowedFd<'_>>) -> Taken {
        loop {
            // As a terminal does, Ctrl-C takes back what was typed before it.
            if std::mem::replace(&mut self.interrupts, self.signals.interrupts()) != self.signals.interrupts()
            {
                self.pending.clear();
                self.keys = Keys::default();
            }
            if let Some(byte) = self.pending.pop_front() {
                return Taken::Byte(byte);
            }
            let mut fds = vec![self.input.as_fd()];
            fds.extend(other);
            let left = self.idle.map(|idle| idle.saturating_sub(self.last_key.elapsed()));
            match self.signals.wait(&fds, left) {
                Wake::Ready(0) => {}
                Wake::Ready(_) => return Taken::Instead(Heard::Other),
                Wake::Interrupt => return Taken::Instead(Heard::Interrupt),
                Wake::Hangup => return Taken::Instead(Heard::Hangup),
                Wake::Timeout => return Taken::Instead(Heard::Idle),
            }
            self.last_key = Instant::now();
            // Wiped: it may be a password.
            let mut chunk = Zeroizing::new([0; 4096]);
            match self.input.read(&mut *chunk) {
                Ok(0) => return Taken::Instead(Heard::End),
                Ok(count) => self.pending.extend(&chunk[..count]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Taken::Instead(Heard::End),
            }
        }
    }

    /// More is typed already: by a script, or by pasting.
    pub(super) fn is_ahead(&self) -> bool {
        let mut input = [PollFd::new(self.input.as_fd(), PollFlags::POLLIN)];
        !self.pending.is_empty() || poll(&mut input, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    fn typed(&mut self, asking: &mut Asking, byte: u8) -> Option<Heard> {
        let key = if matches!(asking.typed, Typed::Lines { .. }) { None } else { self.pressed(byte) };
        match &mut asking.typed {
            Typed::Lines { typed, too_long, .. } => {
                let swallow = std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
                match byte {
                    _ if swallow => None,
                    b'\r' | b'\n' => Some(whole(typed, *too_long)),
                    byte => {
                        *too_long |= typed.len() == LIMIT;
                        if !*too_long {
                            typed.push(byte);
                        }
                        None
                    }
                }
            }
            Typed::Keys { typed, too_long } => match key? {
                Key::Enter => Some(whole(typed, *too_long)),
                Key::Char(c) => {
                    let mut bytes = Zeroizing::new([0; 4]);
                    let bytes = c.encode_utf8(&mut *bytes).as_bytes();
                    *too_long |= c == char::REPLACEMENT_CHARACTER || typed.len() + bytes.len() > LIMIT;
                    if !*too_long {
                        typed.extend_from_slice(bytes);
                    }
                    None
                }
                Key::Backspace => {
                    let end = std::str::from_utf8(typed).ok()?.char_indices().next_back()?.0;
                    typed.truncate(end);
                    None
                }
                Key::Ctrl('U') => {
                    typed.clear();
                    None
                }
                Key::Ctrl('D') if typed.is_empty() => Some(Heard::End),
                _ => None,
            },
            Typed::Edited(_) => self.edited(asking, key?),
        }
    }

    fn edited(&mut self, asking: &mut Asking, key: Key) -> Option<Heard> {
        let ahead = key == Key::Char(' ') && self.is_ahead();
        self.measure();
        let Typed::Edited(line) = &mut asking.typed else { return None };
        line.set_columns(self.screen.and_then(|(columns, _)| columns));
        let heard = match key {
            Key::Enter => {
                let shown = line.left();
                self.write(&shown);
                let unusable = line.too_long || line.text().contains(char::REPLACEMENT_CHARACTER);
                match unusable {
                    true => Heard::Unusable,
                    false => Heard::Line(Secret::new(line.text().to_owned())),
                }
            }
            Key::Ctrl('D') if line.text().is_empty() => Heard::End,
            Key::Ctrl('L') => {
                let shown = format!("\u{1b}[H\u{1b}[2J{}", line.redrawn(&asking.words));
                self.write(&shown);
                return None;
            }
            Key::Char('?') if asking.commands && !quoted(line.before()) => Heard::Help,
            Key::Char(' ') if asking.commands && line.is_at_end() && !ahead => Heard::Space,
            Key::Tab if asking.commands => Heard::Complete,
            Key::Up | Key::Ctrl('P') if asking.commands => Heard::Earlier,
            Key::Down | Key::Ctrl('N') if asking.commands => Heard::Later,
            key => {
                let shown = line.press(key);
                self.write(&shown.unwrap_or_default());
                return None;
            }
        };
        Some(heard)
    }
}

/// A line as it was typed, to its end.
fn whole(typed: &mut Zeroizing<Vec<u8>>, too_long: bool) -> Heard {
    if too_long || std::str::from_utf8(typed).is_err() {
        return Heard::Unusable;
    }
    let typed = std::mem::take(&mut **typed);
    String::from_utf8(typed).map_or(Heard::Unusable, |line| Heard::Line(Secret::new(line)))
}

/// Inside of quotes a question mark is one.
fn quoted(text: &str) -> bool {
    crate::token::tokens(text).is_none()
}

/// An answer that is being typed.
pub struct Asking {
    pub(super) words: String,
    pub(super) typed: Typed,
    /// A line of commands: some keys ask for help.
    pub(super) commands: bool,
}

impl Asking {
    /// What is typed so far, up to the cursor.
    pub fn before(&self) -> &str {
        match &self.typed {
            Typed::Edited(line) => line.before(),
            _ => "",
        }
    }

    /// What the end of the input means: of a line without its end.
    fn at_end(&mut self) -> Heard {
        match &mut self.typed {
            Typed::Lines { typed, too_long, .. } if *too_long || !typed.is_empty() => whole(typed, *too_long),
            _ => Heard::End,
        }
    }

    /// All that is typed so far.
    pub fn text(&self) -> &str {
        match &self.typed {
            Typed::Edited(line) => line.text(),
            _ => "",
        }
    }
}

/// How it is typed.
pub(super) enum Typed {
    /// Key by key, shown and edited here.
    Edited(Line),
    /// Key by key, shown by nobody.
    Keys { typed: Zeroizing<Vec<u8>>, too_long: bool },
    /// A line at a time; a terminal shows its end by itself where `shown`.
    Lines { typed: Zeroizing<Vec<u8>>, too_long: bool, shown: bool, _hidden: Option<Mode> },
}

/// Large enough, so that no copy of a password stays behind where a buffer grew.
pub(super) fn hidden_buffer() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(LIMIT))
}
