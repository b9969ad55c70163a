//! What the fuzz targets found worth keeping, and what they found.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;

use std::sync::Arc;

use jiff::Timestamp;
use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::lock::LockFile;
use reinstate_api::{Code, Lock, Phase};
use reinstate_tests::fuzz::{TARGETS, corpus};
use uuid::Uuid;

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

#[test]
fn a_lock_that_comes_second_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let file = LockFile::new(Folder::open(place.path(), Arc::new(Direct)).unwrap());
    let lock = |id| Lock {
        id: Uuid::from_u128(id),
        device: "a".into(),
        hostname: "fw-a".into(),
        by: "admin".into(),
        since: Timestamp::UNIX_EPOCH,
        phase: Phase::Locking,
        without: Vec::new(),
    };
    file.take(&lock(1)).unwrap();
    assert_eq!(file.take(&lock(2)).unwrap_err().code, Code::LockHeld);
    assert_eq!(file.read(), Ok(Some(lock(1))));
    let names: Vec<_> = fs::read_dir(place.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["restore.lock"]);
}
