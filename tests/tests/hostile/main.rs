//! Hostile archives, each alone and between the members of a valid backup.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod archives;
mod other;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use reinstate_tests::compare::Tree;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hostile");

/// Runs over a folder: the line of each file by its name, the last line, and the exit status.
fn staged(corpus: &Path) -> (BTreeMap<String, String>, String, Option<i32>) {
    let output = Command::new(PROGRAM).arg("--corpus").arg(corpus).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<&str> = text.lines().collect();
    let last = lines.pop().unwrap_or_default().to_owned();
    let each = lines.into_iter().filter_map(|line| line.split_once("  "));
    (each.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect(), last, output.status.code())
}

#[test]
fn whatever_stands_in_a_backup_is_refused_or_staged_as_listed_and_nothing_else_is_touched() {
    let place = tempfile::tempdir().unwrap();
    let corpus = place.path().join("corpus");
    fs::create_dir(&corpus).unwrap();
    // Absolute names and links lead here.
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "alive\n").unwrap();
    let outside = outside.to_str().unwrap();

    let mut files = archives::all(outside);
    files.extend(other::all());
    for (name, bytes, _) in &files {
        fs::write(corpus.join(name), bytes).unwrap();
    }
    let before = Tree::read(place.path(), &[]).unwrap();
    let (lines, last, status) = staged(&corpus);
    assert_eq!(before.differences(&Tree::read(place.path(), &[]).unwrap()), Vec::<String>::new());

    assert_eq!(lines.len(), files.len());
    for (name, _, wanted) in &files {
        let line = &lines[*name];
        assert!(line.starts_with("plain refused "), "{name}: {line}");
        assert!(!line.contains("broken"), "{name}: {line}");
        assert!(line.contains(" ms  ") && line.ends_with(" KiB"), "{name}: {line}");
        assert!(line.contains(wanted), "'{wanted}' is not in {name}: {line}");
    }
    assert!(last.starts_with(&format!("{} files: ", files.len())), "{last}");
    assert!(last.ends_with(", 0 broken"), "{last}");
    assert_eq!(status, Some(0));
}

#[test]
fn a_folder_that_is_not_there_and_a_word_that_is_not_understood_are_told() {
    let missing = Command::new(PROGRAM).args(["--corpus", "/no/such/folder"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/folder"));
    for words in [&["--corpse", "x"][..], &[]] {
        let output = Command::new(PROGRAM).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage:"));
    }
}
