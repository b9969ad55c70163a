//! A line being edited, and the fewest bytes that show what was done to it.
//!
//! Whatever is added at the end is shown as it is: a client that types waits for exactly that. Escape
//! sequences move the cursor only to where a backspace does not lead: to another row.

use std::ops::Range;

use rustyline::Word;
use rustyline::line_buffer::{ChangeListener, DeleteListener, Direction, LineBuffer};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::keys::Key;

/// Nobody listens: what has changed is seen by comparing.
struct Silent;

impl DeleteListener for Silent {
    fn delete(&mut self, _: usize, _: &str, _: Direction) {}
}

impl ChangeListener for Silent {
    fn insert_char(&mut self, _: usize, _: char) {}
    fn insert_str(&mut self, _: usize, _: &str) {}
    fn replace(&mut self, _: usize, _: &str, _: &str) {}
}

/// A line being edited behind a prompt.
pub struct Line {
    buffer: LineBuffer,
    /// Columns of the prompt.
    prompt: usize,
    /// Columns of the terminal; None where lines do not wrap.
    columns: Option<usize>,
    /// The cursor stands behind the last column of a row, which the terminal has not left yet.
    at_margin: bool,
    /// More was typed than a line holds.
    pub too_long: bool,
}

impl Line {
    /// `limit` in bytes.
    pub fn new(prompt: &str, columns: Option<usize>, limit: usize) -> Self {
        Self {
            buffer: LineBuffer::with_capacity(limit),
            prompt: prompt.width(),
            columns: columns.filter(|columns| *columns > 1),
            at_margin: false,
            too_long: false,
        }
    }

    /// A terminal that has another width now shows the line in its own way: no cursor is at its margin.
    pub fn set_columns(&mut self, columns: Option<usize>) {
        let columns = columns.filter(|columns| *columns > 1);
        self.at_margin &= columns == self.columns;
        self.columns = columns;
    }

    pub fn text(&self) -> &str {
        self.buffer.as_str()
    }

    /// What stands before the cursor.
    pub fn before(&self) -> &str {
        &self.text()[..self.buffer.pos()]
    }

    pub fn is_at_end(&self) -> bool {
        self.buffer.is_cursor_at_end()
    }

    /// What a key does to the line, as what has to be written; None where it does not edit.
    pub fn press(&mut self, key: Key) -> Option<String> {
        let (old, cursor) = (self.text().to_owned(), self.buffer.pos());
        let buffer = &mut self.buffer;
        match key {
            Key::Char(c) if !c.is_control() => {
                self.too_long |= buffer.insert(c, 1, &mut Silent).is_none();
            }
            Key::Backspace | Key::Ctrl('H') => {
                buffer.backspace(1, &mut Silent);
            }
            Key::Delete | Key::Ctrl('D') => {
                buffer.delete(1, &mut Silent);
            }
            Key::Left | Key::Ctrl('B') => {
                buffer.move_backward(1);
            }
            Key::Right | Key::Ctrl('F') => {
                buffer.move_forward(1);
            }
            Key::Home | Key::Ctrl('A') => {
                buffer.move_home();
            }
            Key::End | Key::Ctrl('E') => {
                buffer.move_end();
            }
            Key::Ctrl('K') => {
                buffer.kill_line(&mut Silent);
            }
            Key::Ctrl('U') => {
                buffer.discard_line(&mut Silent);
            }
            Key::Ctrl('W') => {
                buffer.delete_prev_word(Word::Big, 1, &mut Silent);
            }
            Key::Ctrl('T') => {
                buffer.transpose_chars(&mut Silent);
            }
            Key::Alt('b') => {
                buffer.move_to_prev_word(Word::Emacs, 1);
            }
            Key::Alt('f') => {
                buffer.move_to_next_word(rustyline::At::AfterEnd, Word::Emacs, 1);
            }
            Key::Alt('d') => {
                buffer.delete_word(rustyline::At::AfterEnd, Word::Emacs, 1, &mut Silent);
            }
            _ => return None,
        }
        Some(self.shown_after(&old, cursor))
    }

    /// Puts text in the place of a part of the line; the cursor stands behind it.
    pub fn replace(&mut self, range: Range<usize>, text: &str) -> String {
        let (old, cursor) = (self.text().to_owned(), self.buffer.pos());
        let at = range.start;
        if old.len() - range.len() + text.len() <= LIMIT {
            self.buffer.replace(range, text, &mut Silent);
            self.buffer.set_pos(at + text.len());
        }
        self.shown_after(&old, cursor)
    }

    /// The whole line anew, from the left margin of an empty row.
    pub fn redrawn(&mut self, prompt: &str) -> String {
        self.at_margin = false;
        let text = self.text().to_owned();
        let mut out = format!("{prompt}{text}");
        self.at_margin = self.ends_at_margin(text.len());
        out += &self.walk(text.len(), self.buffer.pos());
        out
    }

    /// To the end of the line, so that what follows does not cover it.
    pub fn left(&mut self) -> String {
        let (from, to) = (self.buffer.pos(), self.text().len());
        self.buffer.set_pos(to);
        self.walk(from, to)
    }

    /// What leads behind the line's end; the cursor of the line stays where it is.
    pub fn passed(&mut self) -> String {
        let at = self.buffer.pos();
        let shown = self.left();
        self.buffer.set_pos(at);
        shown
    }

    /// What leads from the screen as it was to the screen as it has to be.
    fn shown_after(&mut self, old: &str, cursor: usize) -> String {
        let new = self.text().to_owned();
        let same = old
            .char_indices()
            .zip(new.chars())
            .find(|((_, a), b)| a != b)
            .map_or(old.len().min(new.len()), |((at, _), _)| at);
        if same == old.len() && same == new.len() {
            return self.walk(cursor, self.buffer.pos());
        }
        let mut out = match cursor > same {
            true => self.walk_in(old, cursor, same),
            false => self.walk_in(&new, cursor, same),
        };
        out += &new[same..];
        if new.len() > same {
            self.at_margin = self.ends_at_margin(new.len());
        }
        let gap = old.width().saturating_sub(new.width());
        if gap > 0 {
            out += &" ".repeat(gap);
            let wiped = format!("{new}{:gap$}", "");
            self.at_margin = self.at_margin_in(&wiped, wiped.len());
            out += &self.walk_in(&wiped, wiped.len(), self.buffer.pos());
            return out;
        }
        out += &self.walk(new.len(), self.buffer.pos());
        out
    }

    fn walk(&mut self, from: usize, to: usize) -> String {
        let text = self.text().to_owned();
        self.walk_in(&text, from, to)
    }

    /// Moves the cursor within a text that is on the screen.
    fn walk_in(&mut self, text: &str, from: usize, to: usize) -> String {
        if to > from {
            self.at_margin = self.at_margin_in(text, to);
            return text[from..to].to_owned();
        }
        if to == from {
            return String::new();
        }
        let (here, there) = (self.place(&text[..from]), self.place(&text[..to]));
        let here = match self.at_margin {
            true => (here.0.saturating_sub(1), usize::MAX),
            false => here,
        };
        self.at_margin = false;
        if here.0 == there.0 && here.1 != usize::MAX {
            return "\u{8}".repeat(here.1.saturating_sub(there.1));
        }
        let up = match here.0.saturating_sub(there.0) {
            0 => String::new(),
            rows => format!("\u{1b}[{rows}A"),
        };
        let right = match there.1 {
            0 => String::new(),
            columns => format!("\u{1b}[{columns}C"),
        };
        format!("{up}\r{right}")
    }

    /// Row and column behind a text; a character that does not fit at a row's end stands in the next row.
    fn place(&self, before: &str) -> (usize, usize) {
        let Some(columns) = self.columns else { return (0, self.prompt + before.width()) };
        let (mut row, mut column) = (self.prompt / columns, self.prompt % columns);
        for c in before.chars() {
            let width = c.width().unwrap_or(0);
            if column + width > columns {
                (row, column) = (row + 1, 0);
            }
            column += width;
        }
        match column == columns {
            true => (row + 1, 0),
            false => (row, column),
        }
    }

    fn ends_at_margin(&self, at: usize) -> bool {
        self.at_margin_in(self.text(), at)
    }

    fn at_margin_in(&self, text: &str, at: usize) -> bool {
        self.columns.is_some() && at > 0 && self.place(&text[..at]).1 == 0 && text[..at].width() > 0
    }
}

/// Longer lines are not commands and not answers, in bytes.
pub const LIMIT: usize = 4096;

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// A terminal as far as a line uses it: rows that wrap late, as every terminal does.
    struct Screen {
        columns: usize,
        rows: Vec<Vec<char>>,
        at: (usize, usize),
        late: bool,
    }

    impl Screen {
        fn new(columns: usize) -> Self {
            Self { columns, rows: vec![vec![' '; columns]], at: (0, 0), late: false }
        }

        fn write(&mut self, text: &str) {
            for c in text.chars() {
                match c {
                    '\r' => (self.at.1, self.late) = (0, false),
                    '\u{8}' => {
                        assert!(self.at.1 > 0, "a backspace at the left margin goes nowhere");
                        (self.at.1, self.late) = (self.at.1 - 1, false);
                    }
                    c => self.put(c),
                }
            }
        }

        fn put(&mut self, c: char) {
            if self.late {
                self.at = (self.at.0 + 1, 0);
                self.late = false;
            }
            if self.at.0 == self.rows.len() {
                self.rows.push(vec![' '; self.columns]);
            }
            self.rows[self.at.0][self.at.1] = c;
            match self.at.1 + 1 == self.columns {
                true => self.late = true,
                false => self.at.1 += 1,
            }
        }

        fn play(&mut self, text: &str) {
            let mut rest = text;
            while let Some(at) = rest.find("\u{1b}[") {
                self.write(&rest[..at]);
                let end = at + 2 + rest[at + 2..].find(|c: char| !c.is_ascii_digit()).unwrap();
                let count: usize = rest[at + 2..end].parse().unwrap();
                self.late = false;
                match &rest[end..=end] {
                    "A" => self.at.0 -= count,
                    "C" => self.at.1 += count,
                    other => panic!("{other}"),
                }
                rest = &rest[end + 1..];
            }
            self.write(rest);
        }

        fn text(&self) -> String {
            self.rows.iter().flatten().collect::<String>().trim_end().to_owned()
        }
    }

    #[test]
    fn what_is_typed_at_the_end_is_echoed_as_it_is() {
        let mut line = Line::new("> ", Some(10), LIMIT);
        for c in "show version and more".chars() {
            assert_eq!(line.press(Key::Char(c)).unwrap(), c.to_string());
        }
    }

    #[test]
    fn within_a_row_there_is_no_escape_sequence() {
        let mut line = Line::new("> ", None, LIMIT);
        for c in "shaw".chars() {
            line.press(Key::Char(c));
        }
        assert_eq!(line.press(Key::Left).unwrap(), "\u{8}");
        assert_eq!(line.press(Key::Backspace).unwrap(), "\u{8}w \u{8}\u{8}");
        assert_eq!(line.press(Key::Char('o')).unwrap(), "ow\u{8}");
        assert_eq!(line.press(Key::Ctrl('A')).unwrap(), "\u{8}\u{8}\u{8}");
        assert_eq!(line.press(Key::Ctrl('K')).unwrap(), "    \u{8}\u{8}\u{8}\u{8}");
        assert_eq!(line.text(), "");
    }

    #[test]
    fn the_screen_always_shows_the_line() {
        let seed = std::env::var("REINSTATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = seed.unwrap_or_else(|| rand::rng().random());
        eprintln!("REINSTATE_TEST_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for columns in [4, 5, 7, 10, 80] {
            let mut screen = Screen::new(columns);
            let mut line = Line::new("> ", Some(columns), 60);
            screen.play("> ");
            for _ in 0..2000 {
                let key = match random.random_range(0..14) {
                    0..=5 => Key::Char((b'a' + random.random_range(0..26)) as char),
                    6 => Key::Char(' '),
                    7 => Key::Backspace,
                    8 => Key::Left,
                    9 => Key::Right,
                    10 => [Key::Home, Key::End, Key::Ctrl('W')][random.random_range(0..3)],
                    11 => Key::Delete,
                    12 => [Key::Ctrl('K'), Key::Ctrl('U'), Key::Alt('b')][random.random_range(0..3)],
                    _ => Key::Left,
                };
                let before = line.text().to_owned();
                let bytes = line.press(key).unwrap();
                screen.play(&bytes);
                let shown = format!("> {}", line.text());
                assert_eq!(
                    screen.text(),
                    shown.trim_end(),
                    "{columns} columns, {before:?}, {key:?}, {bytes:?}"
                );
                let at = 2 + line.before().len();
                let place = screen.at.0 * columns + screen.at.1 + usize::from(screen.late);
                assert_eq!(place, at, "{columns} columns, {before:?}, {key:?}, {bytes:?}");
            }
        }
    }
}
