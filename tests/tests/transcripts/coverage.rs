//! No command without a transcript, and no transcript without a play.

use std::collections::BTreeSet;
use std::fs;

use reinstate_shell::grammar::{self, Draft, Part};
use reinstate_shell::parse::parse;

use super::play::{Step, folder};
use super::{PLAYS, SIZES, plays};

/// Every line of commands that a play types.
fn typed(play: &str) -> Vec<String> {
    let steps = plays::play(play).steps;
    let lines = steps.into_iter().filter_map(|step| match step {
        Step::Say(line) | Step::Line(line, _) | Step::Last(line) | Step::Exec(line) => Some(line),
        _ => None,
    });
    let values = [
        ("{server}", "127.0.0.1:22"),
        ("{user}", "backup"),
        ("{folder}", "/backups"),
        ("{fingerprint}", "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ];
    lines
        .map(|line| values.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value)))
        .collect()
}

/// What is left of the words where these parts take the first of them, each way.
fn takes<'a>(parts: &[Part], words: &'a [&'a str]) -> Vec<&'a [&'a str]> {
    let Some((part, rest)) = parts.split_first() else { return vec![words] };
    let after = match (part, words.split_first()) {
        (Part::Optional(inner), _) => [takes(inner, words), vec![words]].concat(),
        (Part::Word(word, _), Some((first, left))) if word == first => vec![left],
        (Part::Choice(choices, _), Some((first, left))) if choices.iter().any(|(word, _)| word == first) => {
            vec![left]
        }
        (Part::Argument(argument), Some((first, left))) if (argument.take)(&mut Draft::default(), first) => {
            vec![left]
        }
        _ => Vec::new(),
    };
    after.into_iter().flat_map(|left| takes(rest, left)).collect()
}

#[test]
fn every_command_has_a_transcript_on_80_columns_and_without_a_terminal() {
    for size in ["80x24", "plain"] {
        let played = PLAYS.iter().filter(|(_, sizes)| sizes.contains(&size));
        let lines: Vec<String> = played.flat_map(|(play, _)| typed(play)).collect();
        let understood: Vec<Vec<&str>> = lines
            .iter()
            .filter(|line| matches!(parse(line), Ok(Some(_))))
            .map(|line| line.split_whitespace().collect())
            .collect();
        let missing: Vec<String> = grammar::rows()
            .filter(|row| {
                let fits = |words: &Vec<&str>| takes(row.parts, words).iter().any(|left| left.is_empty());
                !understood.iter().any(fits)
            })
            .map(|row| row.syntax())
            .collect();
        assert!(missing.is_empty(), "without a transcript in {size}:\n{}", missing.join("\n"));
    }
}

#[test]
fn every_transcript_is_of_a_play() {
    let mut there = BTreeSet::new();
    for (size, _) in SIZES {
        for entry in fs::read_dir(folder().join(size)).unwrap() {
            there.insert(format!("{size}/{}", entry.unwrap().file_name().to_string_lossy()));
        }
    }
    let played: BTreeSet<String> = PLAYS
        .iter()
        .flat_map(|(play, sizes)| sizes.iter().map(move |size| format!("{size}/{play}.txt")))
        .collect();
    assert_eq!(there, played);
}
