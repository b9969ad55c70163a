//! Reads a line by the table: what it means, or what could stand where it ends.

use std::fmt;

use crate::grammar::{Command, Draft, Part, Row, TABLE};
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

/// What a line means; None where it is empty.
pub fn parse(line: &str) -> Result<Option<Command>, SyntaxError> {
    let tokens = read(line)?;
    if tokens.is_empty() {
        return Ok(None);
    }
    let command =
        follow(&tokens)?.into_iter().filter(|way| way.heads().1).find_map(|way| (way.row.build)(way.draft));
    command
        .map(Some)
        .ok_or(SyntaxError { kind: SyntaxErrorKind::NotCompleted, at: line.trim_end().chars().count() })
}

/// What may stand where the line ends: the words that begin as its last word does, or whatever may
/// follow a line that ends in a space; and whether the line is a command as it is.
pub fn choices(line: &str) -> Result<(Vec<Choice>, bool), SyntaxError> {
    let mut tokens = read(line)?;
    let begun = match line.ends_with(char::is_whitespace) {
        true => None,
        false => tokens.pop(),
    };
    let mut choices: Vec<Choice> = Vec::new();
    let mut complete = false;
    for way in follow(&tokens)? {
        let (heads, end) = way.heads();
        complete |= end && begun.is_none() && (way.row.build)(way.draft.clone()).is_some();
        for (part, _) in heads {
            let choice = match (part, &begun) {
                (Part::Word(word, help), None) => (*word, *help),
                (Part::Word(word, help), Some(begun)) if begun.begins(word) => (*word, *help),
                (Part::Argument(name, help, _), None) => (*name, *help),
                (Part::Argument(name, help, take), Some(begun))
                    if take(&mut Draft::default(), &begun.text) =>
                {
                    (*name, *help)
                }
                _ => continue,
            };
            if !choices.iter().any(|(name, _)| *name == choice.0) {
                choices.push(choice);
            }
        }
    }
    match begun {
        Some(begun) if choices.is_empty() => {
            Err(SyntaxError { kind: SyntaxErrorKind::CommandLine, at: begun.at })
        }
        _ => Ok((choices, complete)),
    }
}

/// The words that the line's last word may become, and the byte at which that word starts.
pub fn completions(line: &str) -> (usize, Vec<&'static str>) {
    let start = line
        .rfind(char::is_whitespace)
        .map_or(0, |space| space + line[space..].chars().next().map_or(1, char::len_utf8));
    let is_word = |name: &str| TABLE.iter().any(|row| row.parts.iter().any(|part| has_word(part, name)));
    let words = choices(line).map_or_else(
        |_| Vec::new(),
        |(choices, _)| choices.into_iter().map(|(name, _)| name).filter(|name| is_word(name)).collect(),
    );
    (start, words)
}

fn has_word(part: &Part, name: &str) -> bool {
    match part {
        Part::Word(word, _) => *word == name,
        Part::Argument(..) => false,
        Part::Optional(inner) => inner.iter().any(|part| has_word(part, name)),
    }
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

/// Every reading of these words; never none. A word typed in full is that word; a unique beginning
/// of one is preferred to its being an argument.
fn follow(tokens: &[Token]) -> Result<Vec<Way>, SyntaxError> {
    let start = |row: &'static Row| Way { row, left: vec![row.parts], draft: Draft::default() };
    let mut ways: Vec<Way> = TABLE.iter().map(start).collect();
    for token in tokens {
        ways = step(&ways, token)?;
    }
    Ok(ways)
}

fn step(ways: &[Way], token: &Token) -> Result<Vec<Way>, SyntaxError> {
    let mut words: Vec<(&str, Way)> = Vec::new();
    let mut arguments = Vec::new();
    let mut takes_argument = false;
    for way in ways {
        for (part, left) in way.heads().0 {
            let mut draft = way.draft.clone();
            let row = way.row;
            match part {
                Part::Word(word, _) if token.begins(word) => {
                    draft.word(word);
                    words.push((word, Way { row, left, draft }));
                }
                Part::Argument(_, _, take) => {
                    takes_argument = true;
                    if take(&mut draft, &token.text) {
                        arguments.push(Way { row, left, draft });
                    }
                }
                _ => {}
            }
        }
    }
    if words.iter().any(|(word, _)| *word == token.text) {
        words.retain(|(word, _)| *word == token.text);
        arguments.clear();
    } else if words.iter().any(|(word, _)| *word != words[0].0) {
        words.clear();
    }
    let next: Vec<Way> = words.into_iter().map(|(_, way)| way).chain(arguments).collect();
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
mod tests {
    use reinstate_api::Source;

    use super::*;

    fn command(line: &str) -> Command {
        match parse(line) {
            Ok(Some(command)) => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn error(line: &str) -> (SyntaxErrorKind, usize) {
        match parse(line) {
            Err(SyntaxError { kind, at }) => (kind, at),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn restore(line: &str) -> (Source, bool) {
        match command(line) {
            Command::Restore(request) => (request.source, request.check),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_backup_is_named_with_or_without_the_word_backup() {
        let fw = Source::Backup("fw.tar".into());
        for line in ["restore remote-manager-backup fw.tar", "restore remote-manager-backup backup fw.tar"] {
            assert_eq!(restore(line), (fw.clone(), false));
            assert_eq!(restore(&format!("{line} check")), (fw.clone(), true));
        }
        let odd = Source::Backup("check".into());
        assert_eq!(restore("restore remote-manager-backup \"check\" check"), (odd.clone(), true));
        assert_eq!(restore("restore remote-manager-backup backup check"), (odd, false));
    }

    #[test]
    fn a_location_is_host_user_path_and_file() {
        let print = format!("SHA256:{}", "A".repeat(43));
        for (tail, path, fingerprint, check) in [
            ("/backups fw.tar", "/backups/fw.tar", None, false),
            ("/backups backup fw.tar", "/backups/fw.tar", None, false),
            ("/backups/fw.tar", "/backups/fw.tar", None, false),
            ("/backups/fw.tar fw.tar check", "/backups/fw.tar", None, true),
            ("/backups/fw.tar check", "/backups/fw.tar", None, true),
            (
                &format!("\"/my backups\" fw.tar fingerprint {print} check"),
                "/my backups/fw.tar",
                Some(print.clone()),
                true,
            ),
            (&format!("/b/fw.tar fing {print}"), "/b/fw.tar", Some(print.clone()), false),
        ] {
            let (source, checked) =
                restore(&format!("restore remote-manager-backup location [2001:db8::1]:2222 admin {tail}"));
            let Source::Location(location) = source else { panic!("{tail}") };
            assert_eq!((location.host.as_str(), location.port), ("2001:db8::1", 2222));
            assert_eq!(location.user, "admin");
            assert_eq!(location.path, path, "{tail}");
            assert_eq!(location.fingerprint, fingerprint, "{tail}");
            assert_eq!(checked, check, "{tail}");
        }
    }

    #[test]
    fn unique_beginnings_of_words_are_enough() {
        assert!(matches!(command("sh ver"), Command::ShowVersion));
        assert!(matches!(command("  sh   res  hist "), Command::ShowRestoreHistory));
        assert!(matches!(command("rest roll"), Command::RestoreRollback));
        assert!(matches!(command("conf m d"), Command::ManagerDelete));
        let (source, _) = restore("rest rem loc 192.0.2.1 admin /b/fw.tar");
        assert!(matches!(source, Source::Location(_)));
        assert_eq!(restore("rest rem b"), (Source::Backup("b".into()), false));
    }

    #[test]
    fn an_error_says_its_kind_and_where() {
        use SyntaxErrorKind::{CommandLine, NotCompleted, Parameter};
        assert_eq!(error("frobnicate"), (CommandLine, 0));
        assert_eq!(error("show  foo"), (CommandLine, 6));
        assert_eq!(error("show version now"), (CommandLine, 13));
        assert_eq!(error("h"), (CommandLine, 0));
        assert_eq!(error("restore r"), (CommandLine, 8));
        assert_eq!(error("show"), (NotCompleted, 4));
        assert_eq!(error("show \"version\""), (CommandLine, 5));
        assert_eq!(error("restore remote-manager-backup"), (NotCompleted, 29));
        assert_eq!(error("restore remote-manager-backup location 192.0.2.1 admin /b/"), (NotCompleted, 58));
        assert_eq!(error("restore remote-manager-backup a/b"), (Parameter, 30));
        assert_eq!(error("restore remote-manager-backup location h:0 u p f"), (Parameter, 39));
        assert_eq!(error("restore remote-manager-backup location h u p f fingerprint x"), (Parameter, 59));
        assert_eq!(error("restore remote-manager-backup f fingerprint x"), (CommandLine, 32));
        assert_eq!(error("restore \"unclosed"), (NotCompleted, 17));
        assert!(matches!(parse("  \t "), Ok(None)));
    }

    #[test]
    fn a_question_mark_lists_what_may_stand_there() {
        const OVERRIDES: [&str; 3] = ["without-peer", "without-control", "address-in-use-ok"];
        let names = |line: &str| {
            let (choices, complete) = choices(line).unwrap();
            (choices.iter().map(|(name, _)| *name).collect::<Vec<_>>(), complete)
        };
        assert_eq!(names("show restore "), (vec!["detail", "history", "lock"], true));
        assert_eq!(names("show ver"), (vec!["version"], false));
        assert_eq!(names("restore remote-manager-backup "), (vec!["location", "backup", "FILE"], false));
        assert_eq!(
            names("restore remote-manager-backup location 192.0.2.1 admin /b/fw.tar "),
            (
                [&["backup", "FILE", "fingerprint", "device", "confirm-within"][..], &OVERRIDES, &["check"]]
                    .concat(),
                true
            )
        );
        assert_eq!(names("").0[..2], ["restore", "backup"]);
        assert_eq!(choices("show x").unwrap_err().at, 5);
    }

    #[test]
    fn tab_completes_words_but_no_arguments() {
        assert_eq!(completions("sho"), (0, vec!["show"]));
        assert_eq!(completions("show re"), (5, vec!["restore"]));
        assert_eq!(completions("restore remote-manager-backup "), (30, vec!["location", "backup"]));
        assert_eq!(completions("nothing x"), (8, vec![]));
    }

    #[test]
    fn no_word_of_the_table_begins_like_an_error_or_ends_like_a_prompt() {
        for row in TABLE {
            let syntax = row.syntax();
            assert!(!syntax.ends_with(['>', '#']) && !row.help.ends_with(['>', '#']), "{syntax}");
            assert!(syntax.is_ascii() && row.help.len() <= 75, "{syntax}");
        }
    }
}
