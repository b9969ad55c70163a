//! Ways back, and restores one after the other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use crate::scene::{Scene, Stage};
use crate::trial::Job;

#[test]
fn of_two_restores_at_once_one_is_told_that_the_other_runs() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Ready);
    trial.machine.start().unwrap();
    let barrier = Barrier::new(2);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            let client = trial.machine.client();
            barrier.wait();
            Job::restore(&scene).ask(&client).unwrap()
        };
        let asked = [scope.spawn(ask), scope.spawn(ask)];
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let busy: Vec<_> = answers.iter().filter(|(status, _)| *status >= 400).collect();
    assert_eq!(busy.len(), 1, "{answers:?}");
    assert_eq!(busy[0].1["failures"][0]["code"], "busy", "{answers:?}");
    trial.machine.client().call("POST", "/v1/abort", None).unwrap();
    trial.machine.wait_until_idle().unwrap();
    trial.assert_is(&scene.old, "aborted");
    trial.assert_clean("aborted");
    assert_eq!(trial.history().len(), 1);
}

#[test]
fn the_same_backup_can_be_restored_twice_and_the_factory_is_still_there() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Restored);
    trial.machine.start().unwrap();
    assert!(trial.play(&Job::restore(&scene)).outcome.is_success());
    trial.assert_is(&scene.new, "in place");
    trial.assert_clean("in place");
    let entry = trial.play(&Job::factory());
    assert!(entry.outcome.is_success(), "{entry:?}");
    assert_eq!(entry.to, 0);
    trial.assert_is(&scene.old, "the factory's");
    trial.assert_clean("the factory's");
    let entry = trial.play(&Job::rollback());
    assert!(entry.outcome.is_success(), "{entry:?}");
    trial.assert_is(&scene.new, "back from the factory's");
}

#[test]
fn a_rollback_brings_back_exactly_what_was_and_the_next_one_returns() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Restored);
    trial.machine.start().unwrap();
    // What an admin has changed since the restore belongs to what a rollback leaves.
    fs::write(trial.root.join("etc/hostname"), "renamed\n").unwrap();
    let added = trial.root.join("etc/appliance/pki/certificates/added since.pem");
    fs::write(&added, vec![0, 255, 10]).unwrap();
    fs::set_permissions(&added, fs::Permissions::from_mode(0o604)).unwrap();
    std::os::unix::fs::chown(&added, Some(0), Some(42)).unwrap();
    fs::remove_file(trial.root.join("etc/systemd/network/30-guests.network")).unwrap();
    let edited = trial.picture();
    assert_ne!(edited.difference(&scene.new), "");
    for expected in [&scene.old, &edited, &scene.old, &edited] {
        let entry = trial.play(&Job::rollback());
        assert!(entry.outcome.is_success(), "{entry:?}");
        trial.assert_is(expected, "rolled back");
        trial.assert_clean("rolled back");
    }
}
