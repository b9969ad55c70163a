//! A kill -9 of the daemon in each phase, then a restart.

use std::fs;

use rand::RngExt;
use reinstate_api::{Code, Outcome, Phase};
use reinstate_tests::fault::{Fault, Kind};

use crate::scene::{AGENT, Scene, Stage, empty_run, names, random, until};
use crate::trial::Job;

#[test]
fn a_kill_before_the_commit_leaves_the_old_configuration_and_says_in_which_phase() {
    let scene = Scene::get();
    for phase in Phase::ALL.into_iter().filter(|phase| *phase < Phase::Committed) {
        let mut trial = scene.trial(Stage::Ready);
        trial.stop_in(phase, &scene);
        let agent = trial.root.join(AGENT);
        assert_eq!(agent.join("restore.lock").exists(), phase > Phase::Locking, "{phase}");
        trial.machine.restart_daemon().unwrap();
        let status = trial.machine.wait_until_idle().unwrap();
        let entry = status.last.expect("an interrupted job is on record");
        assert_eq!(entry.phase, phase);
        let Outcome::Failed { failures } = &entry.outcome else { panic!("{phase}: {entry:?}") };
        assert_eq!(failures[0].code, Code::Interrupted);
        assert!(failures[0].message.contains(phase.as_str()), "{}", failures[0].message);
        assert_eq!((entry.from, entry.to, status.active), (0, 0, 0));
        assert!(!trial.assert_old_or_new(&scene.old, &scene.new, 0, phase.as_str()));
        assert_eq!(names(&agent.join("generations")), ["0"], "{phase}");

        trial.machine.kill9();
        trial.machine.start().unwrap();
        trial.assert_is(&scene.old, &format!("booted after {phase}"));
        assert!(trial.play(&Job::restore(&scene)).outcome.is_success(), "again, after {phase}");
        trial.assert_is(&scene.new, &format!("restored after {phase}"));
        trial.assert_clean(phase.as_str());
    }
}

#[test]
fn a_kill_after_the_commit_ends_with_the_new_configuration() {
    let scene = Scene::get();
    for phase in Phase::ALL.into_iter().filter(|phase| *phase >= Phase::Committed) {
        let mut trial = match phase {
            Phase::Committed | Phase::Rebooting => {
                let trial = scene.trial(Stage::Ready);
                trial.stop_in(phase, &scene);
                trial
            }
            _ => scene.trial(Stage::Committed),
        };
        let lock = trial.root.join(AGENT).join("restore.lock");
        let pause = Kind::Pause(phase);
        match phase {
            Phase::Activating => {
                empty_run(&trial.root);
                let mut activation = trial.spawn("activate", Some(&Fault::new("activate", pause)));
                until("activation", || trial.state().job.unwrap().phase() == phase);
                activation.kill().unwrap();
                activation.wait().unwrap();
            }
            Phase::Finishing => {
                assert!(trial.activate(None));
                let mut daemon = trial.spawn("serve", Some(&Fault::new("serve", pause)));
                until("the end", || fs::read_to_string(&lock).unwrap().contains("finishing"));
                daemon.kill().unwrap();
                daemon.wait().unwrap();
            }
            _ => trial.assert_is(&scene.old, "nothing is edited before the boot"),
        }
        assert!(lock.exists(), "{phase}: the lock is held until health is decided");
        trial.machine.start().unwrap();
        trial.machine.wait_until_idle().unwrap();
        assert!(trial.assert_old_or_new(&scene.old, &scene.new, 0, phase.as_str()));
    }
}

#[test]
fn a_daemon_that_systemd_restarts_after_the_commit_goes_on_to_the_reboot() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Ready);
    trial.machine.start().unwrap();
    trial.machine.arm(Fault::new("serve", Kind::Pause(Phase::Committed)));
    trial.machine.kill9();
    trial.machine.restart_daemon().unwrap();
    let driver = trial.drive(&Job::restore(&scene));
    until("the commit", || trial.state().job.is_some_and(|job| job.phase() == Phase::Committed));
    trial.machine.kill9();
    driver.join().unwrap();
    trial.machine.restart_daemon().unwrap();
    trial.machine.wait_for_reboot(1).unwrap();
    trial.machine.wait_until_idle().unwrap();
    assert!(trial.assert_old_or_new(&scene.old, &scene.new, 0, "restarted by systemd"));
}

#[test]
fn a_snapshot_that_outlives_the_daemon_leaves_nothing_behind() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Ready);
    trial.machine.arm(Fault::below_daemon("snapshot", Kind::Hold(12)));
    trial.machine.start().unwrap();
    let driver = trial.drive(&Job::restore(&scene));
    let drafts = trial.root.join(AGENT).join("drafts");
    until("the snapshot", || names(&drafts).contains(&"snapshot-1".to_owned()));
    trial.machine.kill9();
    driver.join().unwrap();
    trial.machine.restart_daemon().unwrap();
    trial.machine.wait_until_idle().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(!trial.assert_old_or_new(&scene.old, &scene.new, 0, "an orphan"));
    assert_eq!(trial.history().len(), 1);
}

#[test]
fn a_snapshot_that_is_killed_ends_the_restore_and_leaves_nothing_behind() {
    let scene = Scene::get();
    let mut random = random();
    for _ in 0..4 {
        let step = random.random_range(0..60);
        let mut trial = scene.trial(Stage::Ready);
        trial.machine.arm(Fault::below_daemon("snapshot", Kind::Kill(step)));
        trial.machine.start().unwrap();
        let entry = trial.play(&Job::restore(&scene));
        assert!(matches!(entry.outcome, Outcome::Failed { .. }), "step {step}: {entry:?}");
        assert_eq!(entry.phase, Phase::Snapshotting, "step {step}");
        trial.assert_is(&scene.old, &format!("snapshot killed at step {step}"));
        trial.assert_clean(&format!("snapshot killed at step {step}"));
    }
}
