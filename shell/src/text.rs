//! How sizes, times and long text are written.

use std::time::Duration;

use jiff::Timestamp;

/// A size: `512 bytes`, `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let mut size = count as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// A time span: `00:07`, `1:02:03`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes:02}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A moment, in UTC.
pub fn time(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The same to the minute, for a column that says that it is UTC.
pub fn minute(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M").to_string()
}

/// Breaks text at spaces into lines of at most `width` characters; a longer word has its own line.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Rows in columns as wide as their widest cell, two spaces apart; a row's last column is not padded.
/// `right` names the columns of numbers. What does not fit into `width` stands in a line of its own below.
pub fn table(rows: &[Vec<String>], right: &[usize], width: Option<usize>) -> Vec<String> {
    const INDENT: usize = 4;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length = |cell: &String| cell.chars().count();
    let widest = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(length).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    // Where a line ends: behind the last column that fits.
    let (mut ends, mut used) = (Vec::new(), 0);
    for (i, column) in widths.iter().enumerate() {
        let begins = i == 0 || ends.last() == Some(&i);
        used += column + if begins { 0 } else { 2 };
        if !begins && width.is_some_and(|width| used > width) {
            ends.push(i);
            used = INDENT + column;
        }
    }
    ends.push(columns);
    let line = |row: &Vec<String>, from: usize, to: usize| {
        let cells = (from..to.min(row.len())).map(|i| {
            let (cell, width) = (&row[i], widths[i]);
            match right.contains(&i) {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            }
        });
        let indent = if from > 0 { INDENT } else { 0 };
        format!("{:indent$}{}", "", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    let folded = rows.iter().flat_map(|row| {
        let begins = std::iter::once(0).chain(ends.iter().copied());
        let lines = begins.zip(&ends).flat_map(|(from, to)| {
            let line = line(row, from, *to);
            let room = width.map_or(usize::MAX, |width| width.saturating_sub(INDENT).max(INDENT));
            let too_long = width.is_some_and(|width| line.chars().count() > width.max(2 * INDENT));
            match from > 0 && too_long {
                true => wrap(&line, room).into_iter().map(|part| format!("{:INDENT$}{part}", "")).collect(),
                false => vec![line],
            }
        });
        let lines: Vec<String> = lines.collect();
        lines.into_iter().enumerate().filter(|(i, line)| *i == 0 || !line.is_empty()).map(|(_, line)| line)
    });
    folded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_naturally() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(span(Duration::from_secs(7)), "00:07");
        assert_eq!(span(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(time(Timestamp::UNIX_EPOCH), "1970-01-01 00:00:00 UTC");
    }

    #[test]
    fn long_text_is_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij k", 5), ["abcdefghij", "k"]);
    }

    #[test]
    fn a_table_lines_up() {
        let rows =
            vec![vec!["a".into(), "1".into(), "x".into()], vec!["bcd".into(), "20".into(), String::new()]];
        assert_eq!(table(&rows, &[1], None), ["a     1  x", "bcd  20"]);
        assert_eq!(table(&rows, &[1], Some(10)), ["a     1  x", "bcd  20"]);
    }

    #[test]
    fn what_of_a_table_does_not_fit_stands_below() {
        let rows =
            vec![vec!["a".into(), "1".into(), "x".into(), "y".into()], vec!["bcd".into(), "20".into()]];
        assert_eq!(table(&rows, &[1], Some(9)), ["a     1", "    x  y", "bcd  20"]);
        assert_eq!(table(&rows, &[1], Some(3)), ["a", "     1", "    x", "    y", "bcd", "    20"]);
    }
}
