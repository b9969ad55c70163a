//! Reads a line by the table: what it means, or what could stand where it ends.

use std::fmt;

use reinstate_api::{Access, Override};

use crate::grammar::{self, Command, Completes, Draft, Part, Row};
use crate::terminal::filter_choices;
use crate::token::{Token, tokens};

/// Why a line is not a command. `at` is the character at which the caret points, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    pub kind: SyntaxErrorKind,
    pub at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyntaxErrorKind {
    CommandLine,
    Parameter,
    NotCompleted,
}

impl fmt::Display for SyntaxErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SyntaxErrorKind::CommandLine => "Syntax error: Illegal command line",
            SyntaxErrorKind::Parameter => "Syntax error: Illegal parameter",
            SyntaxErrorKind::NotCompleted => "Syntax error: The command is not completed",
        })
    }
}

/// What may stand at a place: the word or the argument's name, and its help.
pub type Choice = (&'static str, &'static str);

/// What a line means, and who may; None where it is empty.
pub fn parse(line: &str) -> Result<Option<(Command, Access)>, SyntaxError> {
    let tokens = read(line)?;
    if tokens.is_empty() {
        return Ok(None);
    }
    let build = |way: Way| Some(((way.row.build)(way.draft)?, way.row.access));
    let ways = follow(&tokens)?;
    let unclear = |at: &usize| {
        let mut words = ways.iter().filter_map(|way| way.words[*at]);
        let first = words.next();
        words.any(|word| Some(word) != first)
    };
    if let Some(at) = (0..tokens.len()).find(unclear) {
        return Err(SyntaxError { kind: SyntaxErrorKind::CommandLine, at: tokens[at].at });
    }
    let command = ways.into_iter().filter(|way| way.heads().1).find_map(build);
    command
        .map(Some)
        .ok_or(SyntaxError { kind: SyntaxErrorKind::NotCompleted, at: line.trim_end().chars().count() })
}

/// What may stand where the line ends: the words that begin as its last word does, or whatever may
/// follow a line that ends in a space; and whether the line is a command as it is.
pub fn choices(line: &str, access: Access) -> Result<(Vec<Choice>, bool), SyntaxError> {
    if let Some(choices) = filter_choices(line) {
        return choices.map(|choices| (choices, false));
    }
    let mut tokens = read(line)?;
    let begun = match line.ends_with(char::is_whitespace) {
        true => None,
        false => tokens.pop(),
    };
    let mut choices: Vec<Choice> = Vec::new();
    let mut complete = false;
    for way in follow(&tokens)?.into_iter().filter(|way| way.row.access <= access) {
        let (heads, end) = way.heads();
        complete |= end && begun.is_none() && (way.row.build)(way.draft.clone()).is_some();
        let fits = |word: &str| begun.as_ref().is_none_or(|begun| begun.begins(word));
        for (part, _) in heads {
            let found: Vec<Choice> = match part {
                Part::Word(word, help) => vec![(*word, *help)].into_iter().filter(|(w, _)| fits(w)).collect(),
                Part::Choice(words, _) => words.iter().copied().filter(|(word, _)| fits(word)).collect(),
                Part::Argument(argument)
                    if begun
                        .as_ref()
                        .is_none_or(|begun| (argument.take)(&mut Draft::default(), &begun.text)) =>
                {
                    vec![(argument.name, argument.help)]
                }
                _ => continue,
            };
            for choice in found {
                if !choices.iter().any(|(name, _)| *name == choice.0) {
                    choices.push(choice);
                }
            }
        }
    }
    match begun {
        Some(begun) if choices.is_empty() => {
            Err(SyntaxError { kind: SyntaxErrorKind::CommandLine, at: begun.at })
        }
        // There are such commands, none of them for this user.
        None if choices.is_empty() && !complete => Err(SyntaxError {
            kind: SyntaxErrorKind::CommandLine,
            at: tokens.first().map_or(0, |first| first.at),
        }),
        _ => Ok((choices, complete)),
    }
}

/// What the line's last word may become.
#[derive(Debug, PartialEq, Eq)]
pub struct Completions {
    /// The byte at which that word starts.
    pub start: usize,
    pub words: Vec<&'static str>,
    /// Names of files in the backup folder, too.
    pub files: bool,
}

/// The words that the line's last word may become.
pub fn completions(line: &str, access: Access) -> Completions {
    let start = line
        .rfind(char::is_whitespace)
        .map_or(0, |space| space + line[space..].chars().next().map_or(1, char::len_utf8));
    let filters = filter_choices(line).is_some();
    let names = choices(line, access).map_or_else(|_| Vec::new(), |(choices, _)| choices);
    let names = names.into_iter().map(|(name, _)| name);
    let words = names.filter(|name| is_word(name) || filters && *name != "PATTERN").collect();
    Completions { start, words, files: !filters && takes_file(&line[..start]) }
}

fn is_word(name: &str) -> bool {
    grammar::rows().any(|row| row.parts.iter().any(|part| has_word(part, name)))
}

fn takes_file(before: &str) -> bool {
    let ways = read(before).and_then(|tokens| follow(&tokens)).unwrap_or_default();
    let heads = ways.iter().flat_map(|way| way.heads().0);
    heads
        .into_iter()
        .any(|(part, _)| matches!(part, Part::Argument(argument) if argument.completes == Completes::Backups))
}

fn has_word(part: &Part, name: &str) -> bool {
    match part {
        Part::Word(word, _) => *word == name,
        Part::Choice(words, _) => words.iter().any(|(word, _)| *word == name),
        Part::Argument(..) => false,
        Part::Optional(inner) => inner.iter().any(|part| has_word(part, name)),
    }
}

fn begins_with(row: &Row, first: &Token) -> bool {
    matches!(row.parts.first(), Some(Part::Word(word, _)) if first.begins(word))
}

/// The line as it may be kept: a secret in it is not. None where it may hold one that nobody can find.
pub fn without_secrets(line: &str) -> Option<String> {
    let tokens = read(line).ok()?;
    // With a mistake in its first word it could have been any of them.
    let known = |first: &Token| grammar::rows().any(|row| begins_with(row, first));
    if !tokens.first().is_none_or(known) {
        return None;
    }
    let secret = |row: &&Row| row.has_secret();
    let begins = |row: &Row| tokens.first().is_some_and(|first| begins_with(row, first));
    if !grammar::rows().filter(secret).any(begins) {
        return Some(line.to_owned());
    }
    let (mut ways, mut kept) = (starts(), Vec::new());
    for token in &tokens {
        let hidden = ways
            .iter()
            .flat_map(|way| way.heads().0)
            .any(|(part, _)| matches!(part, Part::Argument(argument) if argument.secret));
        ways = step(&ways, token).ok()?;
        let word = if token.text.contains(char::is_whitespace) {
            format!("\"{}\"", token.text)
        } else {
            token.text.clone()
        };
        kept.push(if hidden { "***".to_owned() } else { word });
    }
    Some(kept.join(" "))
}

fn read(line: &str) -> Result<Vec<Token>, SyntaxError> {
    tokens(line).ok_or_else(|| SyntaxError { kind: SyntaxErrorKind::NotCompleted, at: line.chars().count() })
}

/// One reading of a line so far: a command, what is left of its parts (innermost last), and its
/// arguments.
struct Way {
    row: &'static Row,
    left: Vec<&'static [Part]>,
    draft: Draft,
    /// What each token stands for; None where it is an argument.
    words: Vec<Option<&'static str>>,
}

type Head = (&'static Part, Vec<&'static [Part]>);

impl Way {
    /// The parts that may come next, each with what is left after it; and whether the line may end.
    fn heads(&self) -> (Vec<Head>, bool) {
        let mut heads = Vec::new();
        let end = heads_of(&self.left, &mut heads);
        (heads, end)
    }
}

fn heads_of(left: &[&'static [Part]], heads: &mut Vec<Head>) -> bool {
    let Some((innermost, outer)) = left.split_last() else {
        return true;
    };
    let Some((part, rest)) = innermost.split_first() else {
        return heads_of(outer, heads);
    };
    let mut after = outer.to_vec();
    after.push(rest);
    if let Part::Optional(inner) = part {
        let mut within = after.clone();
        within.push(inner);
        return heads_of(&within, heads) | heads_of(&after, heads);
    }
    heads.push((part, after));
    false
}

/// Every reading of these words; never none. A word typed in full is that word. A beginning that several
/// words have is each of them, until what follows fits one only.
fn follow(tokens: &[Token]) -> Result<Vec<Way>, SyntaxError> {
    let mut ways = starts();
    for token in tokens {
        ways = step(&ways, token)?;
    }
    Ok(ways)
}

fn is_override(word: &str) -> bool {
    Override::ALL.into_iter().any(|known| known.as_str() == word)
}

fn starts() -> Vec<Way> {
    grammar::rows()
        .map(|row| Way { row, left: vec![row.parts], draft: Draft::default(), words: Vec::new() })
        .collect()
}

fn step(ways: &[Way], token: &Token) -> Result<Vec<Way>, SyntaxError> {
    let mut words: Vec<Way> = Vec::new();
    let mut arguments = Vec::new();
    let mut takes_argument = false;
    for way in ways {
        let next = |left: &Vec<&'static [Part]>, draft: Draft, word: Option<&'static str>| {
            let words = way.words.iter().copied().chain([word]).collect();
            Way { row: way.row, left: left.clone(), draft, words }
        };
        for (part, left) in &way.heads().0 {
            let mut draft = way.draft.clone();
            match part {
                // What goes on against a check is typed in full: by a letter it could be a file's name.
                Part::Word(word, _) if is_override(word) && token.text != *word => {}
                Part::Word(word, _) if token.begins(word) => {
                    draft.word(word);
                    words.push(next(left, draft, Some(word)));
                }
                Part::Choice(choice, take) => {
                    takes_argument = true;
                    for (word, _) in choice.iter().filter(|(word, _)| token.begins(word)) {
                        let mut draft = draft.clone();
                        take(&mut draft, word);
                        words.push(next(left, draft, Some(word)));
                    }
                }
                Part::Argument(argument) => {
                    takes_argument = true;
                    if (argument.take)(&mut draft, &token.text) {
                        arguments.push(next(left, draft, None));
                    }
                }
                _ => {}
            }
        }
    }
    let in_full = |way: &Way| !token.quoted && way.words.last() == Some(&Some(token.text.as_str()));
    if words.iter().any(in_full) {
        words.retain(in_full);
        arguments.clear();
    }
    let next: Vec<Way> = words.into_iter().chain(arguments).collect();
    if next.is_empty() {
        let kind = match takes_argument {
            true => SyntaxErrorKind::Parameter,
            false => SyntaxErrorKind::CommandLine,
        };
        return Err(SyntaxError { kind, at: token.at });
    }
    Ok(next)
}

#[cfg(test)]
mod tests;
