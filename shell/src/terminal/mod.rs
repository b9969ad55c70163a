//! The admin's side: lines out, lines and answers in, on a terminal or without one.

mod filter;
mod keys;
mod line;
mod mode;
mod pager;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, tcflush, tcgetattr};
use reinstate_api::{Failure, Secret, one_line};
use zeroize::Zeroizing;

use crate::signals::{Signals, Wake};
use crate::text::wrap;

pub use filter::{Filter, choices as filter_choices, split as split_filters};
use keys::{Key, Keys};
pub use line::LIMIT;
use line::Line;
use mode::Mode;

/// What a line of commands begins with. No other line ends like it.
pub const PROMPT: &str = "> ";

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

pub struct Console {
    input: File,
    output: Box<dyn Write>,
    signals: Rc<Signals>,
    /// Read, and not used yet.
    pending: VecDeque<u8>,
    keys: Keys,
    /// Keys come one by one: there is an editor, and a pager.
    editing: Option<Mode>,
    /// The output is a terminal: its columns and rows as far as it tells them.
    screen: Option<(Option<usize>, Option<usize>)>,
    /// What has to be left of a command's output, and the lines kept back for the pager.
    filters: Vec<Filter>,
    kept: Option<Vec<String>>,
    /// Columns of the progress bar on the current line.
    bar: usize,
    after_cr: bool,
    gone: bool,
    ended: bool,
    idle: Option<Duration>,
    last_key: Instant,
    /// Those that were heard of.
    interrupts: u64,
}

impl Console {
    pub fn new(input: OwnedFd, output: Box<dyn Write>, signals: Rc<Signals>) -> Self {
        Self {
            input: File::from(input),
            output,
            signals,
            pending: VecDeque::new(),
            keys: Keys::default(),
            editing: None,
            screen: None,
            filters: Vec::new(),
            kept: None,
            bar: 0,
            after_cr: false,
            gone: false,
            ended: false,
            idle: None,
            last_key: Instant::now(),
            interrupts: 0,
        }
    }

    /// The output is a terminal, the input too where `edits`.
    pub fn on_terminal(&mut self, edits: bool) {
        self.screen = Some((None, None));
        self.editing = if edits { Mode::keys(self.input.as_fd()) } else { None };
        self.measure();
    }

    /// Gives the terminal back as it was found.
    pub fn leave_terminal(&mut self) {
        self.editing = None;
    }

    /// Ends the session after so long without a key.
    pub fn end_after(&mut self, idle: Duration) {
        self.idle = Some(idle).filter(|idle| !idle.is_zero());
    }

    /// Its size may change at any time.
    fn measure(&mut self) {
        if self.screen.is_some() {
            self.screen = Some(mode::size(std::io::stdout()));
        }
    }

    /// The width to draw in; None where the output is no terminal.
    pub fn columns(&self) -> Option<usize> {
        self.screen.map(|(columns, _)| columns.unwrap_or(80))
    }

    /// Columns that a terminal has said it has.
    pub fn width(&self) -> Option<usize> {
        self.screen.and_then(|(columns, _)| columns)
    }

    /// True once nothing more is typed.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// True once nobody reads the output any more.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// The output of one command follows. What `filters` leave of it is shown page by page where `pages`.
    pub fn begin(&mut self, filters: Vec<Filter>, pages: bool) {
        self.filters = filters;
        self.kept = (pages && self.editing.is_some()).then(Vec::new);
    }

    /// The command's output has ended.
    pub fn end(&mut self) {
        if let Some(line) = filter::end(&std::mem::take(&mut self.filters)) {
            self.show(line);
        }
        if let Some(lines) = self.kept.take() {
            pager::page(self, lines);
        }
    }

    /// What was kept back for the pager is shown at once: a question or a progress bar follows.
    fn release(&mut self) {
        for line in self.kept.take().into_iter().flatten() {
            self.show(line);
        }
    }

    /// Writes a line. Whatever is in it cannot control the terminal, nor look like a prompt: a `>`
    /// or `#` at its end is written as an escape.
    pub fn line(&mut self, text: impl AsRef<str>) {
        let mut line = guarded(text.as_ref());
        line.truncate(line.trim_end().len());
        if filter::all(&mut self.filters, &line) {
            self.show(line);
        }
    }

    /// Writes a sentence: on a terminal that is too narrow for it, in lines that are broken between words.
    pub fn text(&mut self, text: impl AsRef<str>) {
        self.indented("", text);
    }

    /// The same behind a key; each line begins where the first one does.
    pub fn indented(&mut self, key: &str, text: impl AsRef<str>) {
        let text = text.as_ref();
        let indent = key.chars().count();
        let room = self.width().unwrap_or(usize::MAX).saturating_sub(indent + 1);
        if text.chars().count() <= room {
            self.line(format!("{key}{text}"));
            return;
        }
        for (i, part) in wrap(text, room.max(20)).iter().enumerate() {
            let before = if i == 0 { key } else { "" };
            self.line(format!("{before:indent$}{part}"));
        }
    }

    fn show(&mut self, mut line: String) {
        if let Some(kept) = &mut self.kept {
            kept.push(line);
            return;
        }
        self.clear_bar();
        line.push('\n');
        self.write(&line);
    }

    /// Writes a failure: the sentence with its code, then what to do next. No filter hides it.
    pub fn failure(&mut self, failure: &Failure) {
        self.show(guarded(&format!("Error: {} [{}]", failure.message, failure.code)));
        if !failure.hint.is_empty() {
            self.show(guarded(&format!("       {}", failure.hint)));
        }
    }

    /// Prompts for a command. The prompt is what `line` guards against.
    pub fn prompt(&mut self) -> Asking {
        let mut asking = self.start(PROMPT, true);
        asking.commands = true;
        asking
    }

    /// Draws the progress bar over the one before.
    pub fn bar(&mut self, text: &str) {
        self.release();
        let columns = text.chars().count();
        let rest = self.bar.saturating_sub(columns);
        self.write(&format!("\r{text}{:rest$}{}", "", "\u{8}".repeat(rest)));
        self.bar = columns;
    }

    fn clear_bar(&mut self) {
        if self.bar > 0 {
            let width = self.bar;
            self.write(&format!("\r{:width$}\r", ""));
            self.bar = 0;
        }
    }

    /// Asks: the question, and whether the answer is shown as it is typed.
    pub fn ask(&mut self, question: &str, echo: bool) -> Asking {
        self.start(&guarded(question), echo)
    }

    fn start(&mut self, words: &str, echo: bool) -> Asking {
        self.release();
        self.clear_bar();
        self.last_key = Instant::now();
        self.measure();
        let typed = match (&self.editing, echo) {
            (Some(_), true) => {
                let columns = self.screen.and_then(|(columns, _)| columns);
                Typed::Edited(Line::new(words, columns, LIMIT))
            }
            (Some(_), false) => {
                self.forget_ahead();
                Typed::Keys { typed: hidden_buffer(), too_long: false }
            }
            (None, _) => {
                let hidden = if echo { None } else { Mode::hidden(self.input.as_fd()) };
                let shown = echo && tcgetattr(&self.input).is_ok();
                Typed::Lines { typed: hidden_buffer(), too_long: false, shown, _hidden: hidden }
            }
        };
        self.write(words);
        Asking { words: words.to_owned(), typed, commands: false }
    }

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
    fn key(&mut self) -> Option<Key> {
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
    fn is_ahead(&self) -> bool {
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

    /// Ends a question that no longer needs an answer.
    pub fn withdraw(&mut self, asking: Asking) {
        drop(asking);
        self.write("\n");
    }

    fn write(&mut self, text: &str) {
        if !self.gone && !text.is_empty() {
            let written = self.output.write_all(text.as_bytes());
            self.gone = written.and_then(|()| self.output.flush()).is_err();
        }
    }
}

/// Large enough, so that no copy of a password stays behind where a buffer grew.
fn hidden_buffer() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(LIMIT))
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
    words: String,
    typed: Typed,
    /// A line of commands: some keys ask for help.
    commands: bool,
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
enum Typed {
    /// Key by key, shown and edited here.
    Edited(Line),
    /// Key by key, shown by nobody.
    Keys { typed: Zeroizing<Vec<u8>>, too_long: bool },
    /// A line at a time; a terminal shows its end by itself where `shown`.
    Lines { typed: Zeroizing<Vec<u8>>, too_long: bool, shown: bool, _hidden: Option<Mode> },
}

fn guarded(text: &str) -> String {
    let text = one_line(text);
    let end = text.trim_end();
    match end.chars().next_back() {
        Some(c @ ('>' | '#')) => {
            let (before, spaces) = (&end[..end.len() - 1], &text[end.len()..]);
            format!("{before}{}{spaces}", c.escape_unicode())
        }
        _ => text,
    }
}

#[cfg(test)]
pub mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Output that a test reads.
    #[derive(Clone, Default)]
    pub struct Paper(Rc<RefCell<Vec<u8>>>);

    impl Paper {
        pub fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A console without a terminal that hears `input`.
    pub fn console(input: &[u8]) -> (Console, Paper) {
        let (theirs, mut ours) = std::io::pipe().unwrap();
        ours.write_all(input).unwrap();
        let paper = Paper::default();
        let signals = Rc::new(Signals::take());
        (Console::new(theirs.into(), Box::new(paper.clone()), signals), paper)
    }

    fn answers(input: &[u8]) -> Vec<String> {
        let (mut console, _) = console(input);
        let mut answers = Vec::new();
        loop {
            let mut asking = console.ask("? ", true);
            match console.hear(&mut asking, None) {
                Heard::Line(line) => answers.push(line.expose().to_owned()),
                Heard::Unusable => answers.push("(unusable)".into()),
                Heard::End => return answers,
                _ => panic!("nothing else was sent"),
            }
        }
    }

    #[test]
    fn carriage_return_and_line_feed_both_end_a_line() {
        assert_eq!(answers(b"a\rb\nc\r\nd\n\ne"), ["a", "b", "c", "d", "", "e"]);
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_is_not_cut_into_an_answer() {
        let mut input = vec![b'Y'; LIMIT + 1];
        input.extend(b"\n\xff\xfe\nY\n");
        assert_eq!(answers(&input), ["(unusable)", "(unusable)", "Y"]);
    }

    #[test]
    fn no_line_can_look_like_a_prompt_or_control_the_terminal() {
        let (mut console, paper) = console(b"");
        for text in [">", "fw-a# ", "a\n> ", "\u{1b}[2J#", "fine > here"] {
            console.line(text);
        }
        assert_eq!(paper.text(), "\\u{3e}\nfw-a\\u{23}\na\\u{a}\\u{3e}\n\\u{1b}[2J\\u{23}\nfine > here\n");
    }

    #[test]
    fn a_bar_is_wiped_before_the_next_line() {
        let (mut console, paper) = console(b"");
        console.bar("12345");
        console.bar("123");
        console.line("done");
        assert_eq!(paper.text(), "\r12345\r123  \u{8}\u{8}\r   \rdone\n");
    }
}
