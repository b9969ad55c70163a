//! Edits by hand between the snapshot and the restart are in no generation.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use reinstate_agent::activate::ASIDE;

use crate::scene::{Scene, Stage};
use crate::trial::Job;

#[test]
fn what_was_edited_between_the_snapshot_and_the_restart_is_kept_aside_and_named() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Committed);
    let at = |path: &str| trial.root.join(path);
    fs::write(at("etc/hostname"), "edited\n").unwrap();
    fs::write(at("etc/appliance/pki/private/first.pem"), "a new key\n").unwrap();
    fs::write(at("etc/appliance/pki/added.pem"), "added\n").unwrap();
    fs::set_permissions(at("etc/appliance/pki/added.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    fs::remove_file(at("etc/appliance/pki/folder-then-file/inner.pem")).unwrap();
    trial.machine.start().unwrap();
    trial.machine.wait_until_idle().unwrap();
    assert!(trial.assert_old_or_new(&scene.old, &scene.new, 0, "edited by hand"));
    let entry = trial.history().remove(0);
    let aside = trial.root.join(ASIDE).join(entry.to.to_string());
    for (path, content) in [
        ("etc/hostname", "edited\n"),
        ("etc/appliance/pki/private/first.pem", "a new key\n"),
        ("etc/appliance/pki/added.pem", "added\n"),
    ] {
        assert_eq!(fs::read_to_string(aside.join(path)).unwrap(), content);
        assert_eq!(aside.join(path).metadata().unwrap().mode() & 0o7777, 0o600);
        let told = format!("/{path} was changed by hand; what it was is kept as {}", "/");
        assert!(entry.notes.iter().any(|note| note.starts_with(&told)), "{path}: {:?}", entry.notes);
    }
    assert_eq!(trial.root.join(ASIDE).metadata().unwrap().mode() & 0o777, 0o700);
    assert!(
        entry
            .notes
            .iter()
            .any(|note| note == "/etc/appliance/pki/folder-then-file/inner.pem was removed by hand"),
        "{:?}",
        entry.notes
    );
    let shown = String::from_utf8(trial.machine.shell("show restore", "").unwrap().stdout).unwrap();
    assert!(shown.contains("/etc/hostname was changed by hand"), "{shown}");
}

#[test]
fn where_nobody_edits_anything_nothing_is_kept_aside() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Ready);
    trial.machine.start().unwrap();
    let entry = trial.play(&Job::restore(&scene));
    assert!(!entry.notes.iter().any(|note| note.contains("by hand")), "{entry:?}");
    assert!(!trial.root.join(ASIDE).exists());
}

#[test]
fn of_the_last_four_jobs_edits_are_kept() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Committed);
    for number in [3, 5, 7, 9] {
        fs::create_dir_all(trial.root.join(ASIDE).join(number.to_string())).unwrap();
    }
    let target = trial.state().needed().into_iter().max().unwrap();
    fs::write(trial.root.join("etc/hostname"), "edited\n").unwrap();
    trial.machine.start().unwrap();
    trial.machine.wait_until_idle().unwrap();
    let mut kept: Vec<u64> = fs::read_dir(trial.root.join(ASIDE))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    kept.sort();
    let mut expected = [3, 5, 7, 9, target];
    expected.sort();
    assert_eq!(kept, expected[1..]);
}
