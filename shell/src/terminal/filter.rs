//! `| include`, `| exclude`, `| begin` and `| count`: what is left of a command's output.

use regex_lite::{Regex, RegexBuilder};

use crate::parse::{Choice, SyntaxError, SyntaxErrorKind};

/// A pattern may not grow larger than this, in bytes.
const SIZE: usize = 16 << 10;

const WORDS: [Choice; 4] = [
    ("include", "Only lines that match"),
    ("exclude", "Only lines that do not match"),
    ("begin", "From the first line that matches"),
    ("count", "How many lines match"),
];

/// What is left of a command's output, line by line.
#[derive(Debug)]
pub enum Filter {
    Include(Regex),
    Exclude(Regex),
    Begin(Regex, bool),
    Count(Option<Regex>, usize),
}

/// A pattern; None where it is none, or grows too large.
pub fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).size_limit(SIZE).build().ok()
}

/// Whether a line is left after all of them.
pub fn all(filters: &mut [Filter], line: &str) -> bool {
    filters.iter_mut().all(|filter| match filter {
        Filter::Include(pattern) => pattern.is_match(line),
        Filter::Exclude(pattern) => !pattern.is_match(line),
        Filter::Begin(pattern, begun) => {
            *begun = *begun || pattern.is_match(line);
            *begun
        }
        Filter::Count(pattern, count) => {
            *count += usize::from(pattern.as_ref().is_none_or(|pattern| pattern.is_match(line)));
            false
        }
    })
}

/// What is said at the end of the output.
pub fn end(filters: &[Filter]) -> Option<String> {
    filters.iter().find_map(|filter| match filter {
        Filter::Count(_, count) => Some(format!("Count: {count} lines")),
        _ => None,
    })
}

/// The command of a line, and its filters.
///
/// # Errors
/// What follows a `|` is no filter, or its pattern is none.
pub fn split(line: &str) -> Result<(&str, Vec<Filter>), SyntaxError> {
    let mut parts = parts(line).into_iter();
    let (_, command) = parts.next().unwrap_or((0, ""));
    let filters = parts.map(|(at, part)| filter(line, at, part)).collect::<Result<_, _>>()?;
    Ok((command, filters))
}

/// What may stand where the line ends, if that is behind a `|`.
pub fn choices(line: &str) -> Option<Result<Vec<Choice>, SyntaxError>> {
    let parts = parts(line);
    let (at, last) = *parts.last().filter(|_| parts.len() > 1)?;
    let begun = last.trim_start();
    let word = begun.split_whitespace().next().unwrap_or("");
    let matching: Vec<Choice> = WORDS.into_iter().filter(|(name, _)| name.starts_with(word)).collect();
    Some(match matching.is_empty() {
        true => Err(illegal(line, at + (last.len() - begun.len()))),
        false if begun.len() > word.len() => {
            Ok(vec![("PATTERN", "A regular expression; in quotes where it holds spaces before a |")])
        }
        false => Ok(matching),
    })
}

/// The parts of a line between those `|` that stand outside of quotes, each with the byte it begins at. Behind
/// the first, a `|` separates only where a space comes before it: in `a|b` it is the pattern's.
fn parts(line: &str) -> Vec<(usize, &str)> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    let separates =
        |first: bool, at: usize| first || line[..at].ends_with(|c: char| c.is_whitespace() || c == '|');
    for (at, c) in line.char_indices() {
        match c {
            _ if std::mem::take(&mut escaped) => {}
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '|' if !quoted && separates(parts.is_empty(), at) => {
                parts.push((start, &line[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push((start, &line[start..]));
    parts
}

fn filter(line: &str, at: usize, part: &str) -> Result<Filter, SyntaxError> {
    let text = part.trim_start();
    let at = at + (part.len() - text.len());
    let (word, pattern) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let missing = || SyntaxError { kind: SyntaxErrorKind::NotCompleted, at: line.chars().count() };
    let mut known = WORDS.iter().map(|(name, _)| *name).filter(|name| name.starts_with(word));
    let name = match (known.next(), known.next()) {
        _ if word.is_empty() => return Err(missing()),
        (Some(name), None) => name,
        _ => return Err(illegal(line, at)),
    };
    let (typed, pattern) = (pattern.trim(), unquoted(pattern.trim()));
    let compiled = compile(&pattern).ok_or_else(|| SyntaxError {
        kind: SyntaxErrorKind::Parameter,
        at: line[..at + text.find(typed).unwrap_or(0)].chars().count(),
    })?;
    match name {
        "count" => Ok(Filter::Count(Some(compiled).filter(|_| !pattern.is_empty()), 0)),
        _ if pattern.is_empty() => Err(missing()),
        "include" => Ok(Filter::Include(compiled)),
        "exclude" => Ok(Filter::Exclude(compiled)),
        _ => Ok(Filter::Begin(compiled, false)),
    }
}

fn unquoted(pattern: &str) -> String {
    match pattern.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\""),
        None => pattern.to_owned(),
    }
}

fn illegal(line: &str, at: usize) -> SyntaxError {
    SyntaxError { kind: SyntaxErrorKind::CommandLine, at: line[..at].chars().count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(filters: &str) -> String {
        let line = format!("show x |{filters}");
        let (command, mut filters) = split(&line).unwrap();
        assert_eq!(command, "show x ");
        let lines = ["Model: A", "UUID: b", "Version 7", "Model: C"];
        let mut left: Vec<String> =
            lines.iter().filter(|line| all(&mut filters, line)).map(|line| (*line).to_owned()).collect();
        left.extend(end(&filters));
        left.join(",")
    }

    #[test]
    fn a_filter_leaves_what_it_says() {
        assert_eq!(left(" include Model"), "Model: A,Model: C");
        assert_eq!(left("exc Model"), "UUID: b,Version 7");
        assert_eq!(left(" begin UUID"), "UUID: b,Version 7,Model: C");
        assert_eq!(left(" count"), "Count: 4 lines");
        assert_eq!(left(" count ^Model"), "Count: 2 lines");
        assert_eq!(left(" include Model | exclude A"), "Model: C");
        assert_eq!(left(" include \"UUID|Vers\" | count"), "Count: 2 lines");
        assert_eq!(left("include UUID|Vers | count"), "Count: 2 lines");
        assert_eq!(left(" include [0-9]$"), "Version 7");
    }

    #[test]
    fn a_bad_filter_is_a_syntax_error_that_says_where() {
        let error = |line: &str| {
            let SyntaxError { kind, at } = split(line).unwrap_err();
            (kind, at)
        };
        assert_eq!(error("show x | grep a"), (SyntaxErrorKind::CommandLine, 9));
        assert_eq!(error("show x |"), (SyntaxErrorKind::NotCompleted, 8));
        assert_eq!(error("show x | include"), (SyntaxErrorKind::NotCompleted, 16));
        assert_eq!(error("show x | include ("), (SyntaxErrorKind::Parameter, 17));
        assert_eq!(error("é | include (a{1000}){1000}").0, SyntaxErrorKind::Parameter);
        assert!(split("restore \"a|b\"").unwrap().1.is_empty());
    }
}
