//! What the fuzz targets found worth keeping, and what they found.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;

use reinstate_tests::fuzz::{TARGETS, corpus};

#[test]
fn every_input_of_the_corpora_keeps_the_promise_of_its_target() {
    let folders: BTreeSet<_> = fs::read_dir(corpus())
        .unwrap()
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
    for (name, target) in TARGETS {
        let files: Vec<_> =
            fs::read_dir(corpus().join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in &files {
            let input = fs::read(file).unwrap();
            assert!(catch_unwind(|| target(&input)).is_ok(), "{}", file.display());
        }
        println!("{name}: {} inputs", files.len());
    }
}
