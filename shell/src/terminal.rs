//! The admin's side: lines out, lines and answers in, on a terminal or without one.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use reinstate_api::{Failure, Secret, one_line};
use zeroize::Zeroizing;

use crate::signals::{Held, Signals, Wake};

/// Longer lines are not commands and not answers.
const LINE_LIMIT: usize = 4096;

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
    /// The other descriptor can be read.
    Other,
}

pub struct Console {
    input: File,
    output: Box<dyn Write>,
    signals: Rc<Signals>,
    /// The width to draw in; None where the output is no terminal.
    columns: Option<usize>,
    /// Columns of the progress bar on the current line.
    bar: usize,
    after_cr: bool,
    gone: bool,
}

impl Console {
    pub fn new(input: OwnedFd, output: Box<dyn Write>, signals: Rc<Signals>) -> Self {
        Self {
            input: File::from(input),
            output,
            signals,
            columns: None,
            bar: 0,
            after_cr: false,
            gone: false,
        }
    }

    /// The output is a terminal of this width.
    pub fn set_columns(&mut self, columns: usize) {
        self.columns = Some(columns);
    }

    /// The width to draw in; None where the output is no terminal.
    pub fn columns(&self) -> Option<usize> {
        self.columns
    }

    /// True once nobody reads the output any more.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Writes a line. Whatever is in it cannot control the terminal, nor look like a prompt: a `>`
    /// or `#` at its end is written as an escape.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.clear_bar();
        let mut line = guarded(text.as_ref());
        line.truncate(line.trim_end().len());
        line.push('\n');
        self.write(&line);
    }

    /// Writes a failure: the sentence with its code, then what to do next.
    pub fn failure(&mut self, failure: &Failure) {
        self.line(format!("Error: {} [{}]", failure.message, failure.code));
        if !failure.hint.is_empty() {
            self.line(format!("       {}", failure.hint));
        }
    }

    /// Prompts for a command. The prompt is what `line` guards against.
    pub fn prompt(&mut self) -> Asking {
        self.start("> ", true)
    }

    /// Draws the progress bar over the one before.
    pub fn bar(&mut self, text: &str) {
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
        self.clear_bar();
        let hidden = if echo { None } else { Hidden::on(self.input.as_fd()) };
        let shown = echo && tcgetattr(&self.input).is_ok();
        self.write(words);
        Asking {
            typed: Zeroizing::new(Vec::with_capacity(LINE_LIMIT)),
            too_long: false,
            shown,
            _hidden: hidden,
        }
    }

    /// Waits for the answer's end, or for `other`.
    pub fn hear(&mut self, asking: &mut Asking, other: Option<BorrowedFd<'_>>) -> Heard {
        loop {
            let mut fds = vec![self.input.as_fd()];
            fds.extend(other);
            let heard = match self.signals.wait(&fds, None) {
                Wake::Ready(0) => self.read_byte(asking),
                Wake::Ready(_) => return Heard::Other,
                Wake::Interrupt => Some(Heard::Interrupt),
                Wake::Hangup | Wake::Timeout => Some(Heard::Hangup),
            };
            if let Some(heard) = heard {
                if !(asking.shown && matches!(heard, Heard::Line(_) | Heard::Unusable)) {
                    self.write("\n");
                }
                return heard;
            }
        }
    }

    /// Ends a question that no longer needs an answer.
    pub fn withdraw(&mut self, asking: Asking) {
        drop(asking);
        self.write("\n");
    }

    /// One byte at a time: what is behind the line's end is for whoever reads next.
    fn read_byte(&mut self, asking: &mut Asking) -> Option<Heard> {
        let mut byte = [0];
        let end = match self.input.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => return None,
            Err(_) => true,
        };
        if end && asking.typed.is_empty() && !asking.too_long {
            return Some(Heard::End);
        }
        let swallow = std::mem::replace(&mut self.after_cr, byte[0] == b'\r') && byte[0] == b'\n';
        if swallow && !end {
            return None;
        }
        if end || matches!(byte[0], b'\r' | b'\n') {
            if asking.too_long || std::str::from_utf8(&asking.typed).is_err() {
                return Some(Heard::Unusable);
            }
            let typed = std::mem::take(&mut *asking.typed);
            return String::from_utf8(typed).ok().map(|line| Heard::Line(Secret::new(line)));
        }
        if asking.typed.len() < LINE_LIMIT {
            asking.typed.push(byte[0]);
        } else {
            asking.too_long = true;
        }
        None
    }

    fn write(&mut self, text: &str) {
        if !self.gone {
            let written = self.output.write_all(text.as_bytes());
            self.gone = written.and_then(|()| self.output.flush()).is_err();
        }
    }
}

/// An answer that is being typed.
pub struct Asking {
    typed: Zeroizing<Vec<u8>>,
    too_long: bool,
    /// The terminal shows the end of the line by itself.
    shown: bool,
    _hidden: Option<Hidden>,
}

/// A terminal that does not show what is typed, until this is dropped, however the session ends.
struct Hidden {
    terminal: OwnedFd,
    before: Termios,
    _held: Held,
}

impl Hidden {
    fn on(terminal: BorrowedFd<'_>) -> Option<Self> {
        let before = tcgetattr(terminal).ok()?;
        let held = Held::new();
        let mut without = before.clone();
        without.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        let terminal = terminal.try_clone_to_owned().ok()?;
        // What was typed ahead was typed with echo on: it is no password.
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &without).ok()?;
        Some(Self { terminal, before, _held: held })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
    }
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
        let mut input = vec![b'Y'; LINE_LIMIT + 1];
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
