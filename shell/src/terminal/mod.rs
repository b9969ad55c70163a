//! The admin's side: lines out, lines and answers in, on a terminal or without one.

mod filter;
mod hear;
mod keys;
mod line;
mod mode;
mod pager;

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::termios::tcgetattr;
use reinstate_api::{Failure, one_line};

use crate::signals::Signals;
use crate::text::wrap;

pub use filter::{Filter, choices as filter_choices, split as split_filters};
pub use hear::{Asking, Heard};
use hear::{Typed, hidden_buffer};
use keys::Keys;
pub use line::LIMIT;
use line::Line;
use mode::Mode;

/// What a line of commands begins with. No other line ends like it.
pub const PROMPT: &str = "> ";

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

    /// What was kept back for the pager is shown at once, and what follows as it comes.
    pub fn release(&mut self) {
        for line in self.kept.take().into_iter().flatten() {
            self.show(line);
        }
    }

    /// Writes a line. Whatever is in it cannot control the terminal, nor look like a prompt: a `>`
    /// or `#` at its end is written as an escape, and a `>` at its beginning.
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

/// On one line, and neither the prompt at its beginning nor what looks like one at its end.
fn guarded(text: &str) -> String {
    let mut text = one_line(text);
    if text.starts_with('>') {
        text.replace_range(..1, &'>'.escape_unicode().to_string());
    }
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
        for text in [">", "> x", "fw-a# ", "a\n> ", "\u{1b}[2J#", "fine > here"] {
            console.line(text);
        }
        assert_eq!(
            paper.text(),
            "\\u{3e}\n\\u{3e} x\nfw-a\\u{23}\na\\u{a}\\u{3e}\n\\u{1b}[2J\\u{23}\nfine > here\n"
        );
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
