//! Disks that are full, read-only or broken; clocks that are wrong; folders and files that change meanwhile.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use reinstate_api::{Outcome, Status};
use reinstate_tests::fault::{Fault, Kind, Trouble};

use crate::scene::{AGENT, Scene, Stage, each, random, until};
use crate::trial::{Job, Trial};

/// Longer than whatever a daemon does that cannot go on.
const STUCK: Duration = Duration::from_secs(3);

/// So many of the steps, drawn by the seed; all where `REINSTATE_STEPS` is `all`.
fn some(steps: u64, number: usize) -> Vec<u64> {
    let mut all: Vec<u64> = (0..steps).collect();
    if std::env::var("REINSTATE_STEPS").as_deref() != Ok("all") {
        all.shuffle(&mut random());
        all.truncate(number);
    }
    all
}

fn happened(trial: &Trial) -> bool {
    fs::read_to_string(trial.machine.log()).unwrap().contains("fault: step")
}

fn assert_never_synced_again(trial: &Trial, why: &str) {
    let log = fs::read_to_string(trial.machine.log()).unwrap();
    assert!(!log.contains("is synced again"), "{why}: a failed sync was tried again:\n{}", trial.log());
}

/// Every trouble from some steps on; what happened to the disk was seen to happen where `run` has got so far.
fn trouble(verb: &'static str, steps: u64, stage: Stage, run: impl Fn(&mut Trial, Fault) + Sync) {
    let scene = Scene::get();
    for trouble in Trouble::ALL {
        let hit = std::sync::atomic::AtomicU64::new(0);
        let chosen = some(steps, 8);
        each(&chosen, |step| {
            let why = format!("{verb}: {trouble:?} from step {step} of {steps} on");
            let mut trial = scene.trial(stage);
            run(&mut trial, Fault::new(verb, Kind::Trouble(trouble, step)));
            trial.machine.power().cut();
            hit.fetch_add(happened(&trial).into(), std::sync::atomic::Ordering::Relaxed);
            assert_never_synced_again(&trial, &why);
            // Whatever it was is over.
            trial.machine.start().unwrap();
            trial.machine.wait_until_idle().unwrap();
            trial.assert_decided(&scene.old, &scene.new, &why);
        });
        let hit = hit.into_inner();
        println!("{verb}: {trouble:?} at {hit} of {} steps tried, of {steps}", chosen.len());
        assert!(hit > 0, "{verb}: {trouble:?} never happened");
    }
}

#[test]
fn a_disk_in_trouble_from_any_step_of_a_restore_on_leaves_the_old_or_the_new_configuration() {
    let scene = Scene::get();
    let job = Job::restore(&scene);
    let mut counted = scene.trial(Stage::Ready);
    let counter = counted.root.with_file_name("steps");
    counted.machine.arm(Fault::new("serve", Kind::Count(counter.clone())));
    counted.machine.start().unwrap();
    assert!(counted.play(&job).outcome.is_success());
    let steps = fs::metadata(counter).unwrap().len();
    trouble("serve", steps, Stage::Ready, |trial, fault| {
        assert!(trial.activate(None));
        let mut daemon = trial.spawn("serve", Some(&fault));
        let mut ended = || daemon.try_wait().unwrap().is_some();
        let begun = Instant::now();
        while trial.machine.status().is_err() && !ended() && begun.elapsed() < STUCK {
            std::thread::sleep(Duration::from_millis(5));
        }
        let driver = trial.drive(&job);
        let begun = Instant::now();
        let over = |status: Status| status.job.is_some_and(|job| job.outcome.is_some());
        let reboot = trial.root.join("run/reinstate/reboot");
        while !ended()
            && !reboot.exists()
            && !trial.machine.status().is_ok_and(over)
            && begun.elapsed() < STUCK
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = daemon.kill();
        daemon.wait().unwrap();
        driver.join().unwrap();
    });
}

#[test]
fn a_disk_in_trouble_from_any_step_of_the_activation_on_leaves_the_old_or_the_new_configuration() {
    let scene = Scene::get();
    let steps = scene.trial(Stage::Committed);
    let steps = steps.count(|kind| assert!(steps.activate(Some(kind))));
    trouble("activate", steps, Stage::Committed, |trial, fault| {
        trial.activate(Some(fault.kind));
        trial.assert_marked_unless_whole(&scene, "in trouble");
    });
}

#[test]
fn a_restore_on_a_read_only_disk_is_refused_and_says_so() {
    let scene = Scene::get();
    let trial = scene.trial(Stage::Ready);
    assert!(trial.activate(None));
    let fault = Fault::new("serve", Kind::Trouble(Trouble::ReadOnly, 0));
    let mut daemon = trial.spawn("serve", Some(&fault));
    until("an answer, or an end that says why", || {
        trial.machine.status().is_ok() || daemon.try_wait().unwrap().is_some()
    });
    if trial.machine.status().is_ok() {
        let (code, answer) = Job::restore(&scene).ask(&trial.machine.client()).unwrap();
        assert!(code >= 400 && answer.to_string().contains("Read-only file system"), "{answer}");
    }
    let _ = daemon.kill();
    daemon.wait().unwrap();
    assert!(happened(&trial) && trial.log().contains("Read-only file system"), "{}", trial.log());
    trial.assert_is(&scene.old, "read-only");
}

#[test]
fn a_clock_that_is_wrong_by_years_before_or_after_the_restart_changes_nothing_about_a_restore() {
    let scene = Scene::get();
    for (before, after) in [("-20y", "+20y"), ("+20y", "-20y")] {
        let mut trial = scene.trial(Stage::Ready);
        trial.machine.set_clock(Some(before));
        trial.machine.start().unwrap();
        trial.machine.set_clock(Some(after));
        let entry = trial.play(&Job::restore(&scene));
        assert!(entry.outcome.is_success(), "{entry:?}");
        let years = (entry.ended.as_second() - entry.started.as_second()) / (365 * 24 * 3600);
        assert!(years.abs() >= 39, "the clock was set: {entry:?}");
        trial.assert_is(&scene.new, "with the clock set");
        trial.assert_clean("with the clock set");
        let back = trial.play(&Job::rollback());
        assert!(back.outcome.is_success(), "{back:?}");
        assert_eq!(trial.history()[0].id, back.id, "newest first, whatever the clock said");
        trial.assert_is(&scene.old, "back with the clock set");
    }
}

#[test]
fn a_backup_folder_that_was_made_a_link_is_not_followed() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Ready);
    let folder = trial.root.join(reinstate_api::BACKUP_FOLDER);
    let elsewhere = trial.root.with_file_name("elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    trial.machine.start().unwrap();
    let entry = trial.play(&Job::restore(&scene));
    let Outcome::Failed { failures } = &entry.outcome else { panic!("{entry:?}") };
    assert!(failures[0].message.contains(reinstate_api::BACKUP_FOLDER), "{failures:?}");
    let (code, answer) =
        trial.machine.client().call("POST", "/v1/backups", Some(&serde_json::json!({}))).unwrap();
    assert!(code >= 400, "{answer}");
    assert_eq!(crate::scene::names(&elsewhere), [scene.file.as_str()], "nothing was written there");
    trial.assert_is(&scene.old, "a link");
    trial.assert_clean("a link");
}

#[test]
fn an_archive_that_is_swapped_while_it_is_read_gives_one_of_both_or_is_refused() {
    let scene = Scene::get();
    for in_place in [false, true] {
        let mut trial = scene.trial(Stage::Ready);
        let file = trial.root.join(reinstate_api::BACKUP_FOLDER).join(&scene.file);
        // The archive is open by then: the tree of the draft is being made.
        trial.machine.arm(Fault::new("serve", Kind::Hold(20)));
        trial.machine.start().unwrap();
        let driver = trial.drive(&Job::restore(&scene));
        until("staging", || trial.root.join(AGENT).join("drafts/restore").exists());
        let whole = fs::read(&file).unwrap();
        let other = vec![0x55; whole.len()];
        match in_place {
            true => fs::write(&file, other).unwrap(),
            false => {
                let new = file.with_extension("new");
                fs::write(&new, other).unwrap();
                fs::rename(new, &file).unwrap();
            }
        }
        driver.join().unwrap();
        trial.machine.wait_until_idle().unwrap();
        let is_new = trial.assert_decided(&scene.old, &scene.new, "swapped");
        assert!(is_new || in_place, "what is open already is read to its end");
    }
}
