//! The last lines of a log, in memory that does not follow its length.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use reinstate_api::{Code, Failure, one_line};

/// The longest line that is kept whole: 2 KiB.
const LONGEST: u64 = 2 << 10;

/// So many may be asked for at once.
const MOST: usize = 10_000;

/// A number of lines, as somebody asks for them.
pub fn count(text: &str) -> Result<usize, Failure> {
    text.parse().ok().filter(|count| (1..=MOST).contains(count)).ok_or_else(|| {
        let why = format!("'{}' is no number of lines, 1 to {MOST}", one_line(text));
        Failure::new(Code::BadRequest, why)
    })
}

/// At most `count` lines, each safe for a terminal.
pub fn read(mut log: impl BufRead, count: usize) -> io::Result<Vec<String>> {
    let mut lines = VecDeque::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if log.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            return Ok(lines.into());
        }
        let is_cut = line.pop_if(|last| *last == b'\n').is_none() && line.len() as u64 == LONGEST;
        if lines.len() == count {
            lines.pop_front();
        }
        let text = one_line(&String::from_utf8_lossy(&line));
        lines.push_back(if is_cut { text + "…" } else { text });
        if is_cut {
            log.skip_until(b'\n')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_what_controls_a_terminal_is_made_visible() {
        let log = b"one\ntwo\n\x1b[2Jthree\nfour";
        assert_eq!(read(&log[..], 2).unwrap(), ["\\u{1b}[2Jthree", "four"]);
        assert_eq!(read(&b""[..], 2).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_line_without_an_end_is_cut_and_the_next_one_is_a_line_again() {
        for length in [2047, 2048, 2049, 100_000] {
            let log = format!("{}\nnext\n", "x".repeat(length));
            let lines = read(log.as_bytes(), 10).unwrap();
            assert_eq!(lines.len(), 2, "{length}");
            assert!(lines[0].chars().count() <= 2049 && lines[1] == "next", "{length}: {lines:?}");
        }
    }
}
