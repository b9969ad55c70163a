//! Output that is longer than the terminal, page by page.

use unicode_width::UnicodeWidthStr;

use super::keys::Key;
use super::{Console, Heard, filter};

const MORE: &str = "--More--";

/// A terminal of so many rows has nobody in front of it: clients take one so that nothing is cut into pages.
const NOBODY_S: usize = 200;

/// Shows the lines; where they are more than the terminal has, a page at a time.
pub fn page(console: &mut Console, lines: Vec<String>) {
    let mut lines = lines.into_iter().peekable();
    let (mut left, mut asked) = (room(console), false);
    while let Some(line) = lines.next() {
        let rows = rows(console, &line);
        if left.is_some_and(|left| left < rows) {
            // A script has typed its next line already; once a page was asked about, what is typed is for the pager.
            let next = if asked || !console.is_ahead() { more(console) } else { Next::All };
            asked = true;
            left = match next {
                Next::All => None,
                Next::Page => room(console),
                Next::Line => Some(rows),
                Next::Search(pattern) => {
                    let found = filter::compile(&pattern);
                    let matches = |line: &String| found.as_ref().is_some_and(|found| found.is_match(line));
                    let rest: Vec<String> = std::iter::once(line.clone()).chain(lines.by_ref()).collect();
                    let at = rest.iter().position(matches);
                    if at.is_none() {
                        console.write(&format!("Pattern not found: {}\n", super::guarded(&pattern)));
                    }
                    lines = rest.into_iter().skip(at.unwrap_or(0)).collect::<Vec<_>>().into_iter().peekable();
                    left = if at.is_some() { room(console) } else { Some(0) };
                    continue;
                }
                Next::Stop => {
                    // Where a prompt is, a line begins: who looks for one looks for that.
                    console.write("\n");
                    return;
                }
            };
        }
        left = left.map(|left| left.saturating_sub(rows));
        console.show(line);
        if console.is_gone() {
            return;
        }
    }
}

/// Rows that may be filled before somebody has to read them; None where the terminal has no size.
fn room(console: &mut Console) -> Option<usize> {
    console.measure();
    let (_, rows) = console.screen?;
    rows.filter(|rows| *rows < NOBODY_S).map(|rows| rows - 1)
}

fn rows(console: &Console, line: &str) -> usize {
    let columns = console.screen.and_then(|(columns, _)| columns).unwrap_or(usize::MAX);
    line.width().div_ceil(columns).max(1)
}

enum Next {
    All,
    Page,
    Line,
    Search(String),
    Stop,
}

fn more(console: &mut Console) -> Next {
    console.write(MORE);
    let next = loop {
        match console.key() {
            Some(Key::Char(' ')) => break Next::Page,
            Some(Key::Enter | Key::Down) => break Next::Line,
            Some(Key::Char('/')) => break Next::Search(String::new()),
            None | Some(Key::Char('q' | 'Q')) => break Next::Stop,
            Some(_) => {}
        }
    };
    console.write(&format!("\r{:width$}\r", "", width = MORE.len()));
    let Next::Search(_) = next else { return next };
    let mut asking = console.ask("/", true);
    match console.hear(&mut asking, None) {
        Heard::Line(pattern) if !pattern.expose().is_empty() => Next::Search(pattern.expose().to_owned()),
        Heard::Line(_) | Heard::Unusable | Heard::Interrupt => Next::Line,
        _ => Next::Stop,
    }
}
