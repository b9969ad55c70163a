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
mod tests {
    use reinstate_api::Source;

    use super::*;
    use crate::grammar::View;

    fn command(line: &str) -> Command {
        match parse(line) {
            Ok(Some((command, _))) => command,
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
        assert!(matches!(command("sh ver"), Command::Show(View::Version, false)));
        assert!(matches!(command("  sh   res  hist "), Command::Show(View::RestoreHistory, false)));
        assert!(matches!(command("rest roll"), Command::RestoreRollback));
        assert!(matches!(command("conf m d"), Command::ManagerDelete));
        // What several words begin with is the one that the rest fits.
        assert!(matches!(command("configur del 3"), Command::ConfigurationDelete(_)));
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
            let (choices, complete) = choices(line, Access::Config).unwrap();
            (choices.iter().map(|(name, _)| *name).collect::<Vec<_>>(), complete)
        };
        assert_eq!(names("show restore "), (vec!["--json", "detail", "history", "lock"], true));
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
        assert_eq!(names("").0[..3], ["restore", "clear", "backup"]);
        assert_eq!(choices("show x", Access::Config).unwrap_err().at, 5);
    }

    #[test]
    fn tab_completes_words_and_the_names_of_backups() {
        let found = |line| {
            let Completions { start, words, files } = completions(line, Access::Config);
            (start, words, files)
        };
        assert_eq!(found("sho"), (0, vec!["show"], false));
        assert_eq!(found("show rest"), (5, vec!["restore"], false));
        assert_eq!(found("restore remote-manager-backup "), (30, vec!["location", "backup"], true));
        assert_eq!(found("restore remote-manager-backup backup f"), (37, vec![], true));
        assert_eq!(found("configure user add alice b"), (25, vec!["basic"], false));
        assert_eq!(found("show version | inc"), (15, vec!["include"], false));
        assert_eq!(found("show version | include a"), (23, vec![], false));
        assert_eq!(found("nothing x"), (8, vec![], false));
    }

    #[test]
    fn a_user_with_basic_access_is_offered_what_he_may_do() {
        let offered = |access| choices("", access).unwrap().0.into_iter().map(|(name, _)| name).collect();
        let (basic, config): (Vec<_>, Vec<_>) = (offered(Access::Basic), offered(Access::Config));
        assert!(basic.contains(&"show") && !basic.contains(&"restore") && config.contains(&"restore"));
        assert_eq!(completions("rest", Access::Basic).words, Vec::<&str>::new());
    }

    #[test]
    fn what_goes_on_against_a_check_is_typed_in_full() {
        let overrides = |line: &str| match command(line) {
            Command::Restore(request) => request.overrides.len(),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(overrides("restore remote-manager-backup location h u /backups a"), 0);
        assert_eq!(overrides("restore remote-manager-backup fw.tar address-in-use-ok"), 1);
        assert_eq!(error("restore remote-manager-backup fw.tar a").0, SyntaxErrorKind::CommandLine);
    }

    #[test]
    fn every_command_is_understood_as_its_own_reference_writes_it() {
        for row in grammar::rows() {
            let words: Vec<String> = row.parts.iter().filter_map(example).collect();
            let line = words.join(" ");
            assert!(
                matches!(parse(&line), Ok(Some((_, access))) if access == row.access),
                "{line}: {:?}",
                parse(&line)
            );
        }
    }

    /// Something that is of a part's type; None where it may be left out.
    fn example(part: &Part) -> Option<String> {
        let name = match part {
            Part::Word(word, _) => word,
            Part::Choice(words, _) => words[0].0,
            Part::Argument(argument) => {
                const CANDIDATES: [&str; 9] = [
                    "fw.tar",
                    "fw",
                    "/b/fw.tar",
                    "192.0.2.1",
                    "2001:db8::1",
                    "24",
                    "7",
                    "AAAAC3NzaC1lZDI1",
                    "alice",
                ];
                let fits = |text: &&&str| (argument.take)(&mut Draft::default(), text);
                CANDIDATES.iter().find(fits).unwrap_or_else(|| panic!("nothing fits {}", argument.name))
            }
            Part::Optional(_) => return None,
        };
        Some(name.to_owned())
    }

    #[test]
    fn no_word_of_the_table_begins_like_an_error_or_ends_like_a_prompt() {
        for row in grammar::rows() {
            let syntax = row.syntax();
            assert!(!syntax.ends_with(['>', '#']) && !row.help.ends_with(['>', '#']), "{syntax}");
            assert!(syntax.is_ascii() && row.help.len() <= 75, "{syntax}");
        }
    }
}
