//! A crash at every durable step.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use reinstate_agent::job::MAX_BOOTS;
use reinstate_api::{Code, Status};
use reinstate_tests::fault::{Fault, Kind};

use crate::scene::{PATIENCE, Scene, Stage, each, random, until};
use crate::trial::{Job, Trial};

fn all(count: u64) -> Vec<u64> {
    (0..count).collect()
}

/// Every one of the last, and a sample of those before them.
fn tail_and_sample(count: u64, tail: u64, sample: usize, random: &mut impl Rng) -> Vec<u64> {
    let mut early = all(count.saturating_sub(tail));
    early.shuffle(random);
    early.truncate(sample);
    early.into_iter().chain(count.saturating_sub(tail)..count).collect()
}

fn activation_steps(scene: &Scene) -> u64 {
    let trial = scene.trial(Stage::Committed);
    trial.count(|kind| assert!(trial.activate(Some(kind))))
}

#[test]
fn an_activation_cut_at_any_step_is_made_whole_by_the_next_boot() {
    let scene = Scene::get();
    let steps = activation_steps(&scene);
    println!("activation: {steps} durable steps, each cut once");
    each(&all(steps), |step| {
        let why = format!("activation cut at step {step} of {steps}");
        let mut trial = scene.trial(Stage::Committed);
        assert!(!trial.activate(Some(Kind::Kill(step))), "{why}: it was not cut");
        trial.assert_marked_unless_whole(&scene, &why);
        trial.machine.start().unwrap();
        trial.machine.wait_until_idle().unwrap();
        assert!(trial.assert_old_or_new(&scene.old, &scene.new, 0, &why), "{why}: it was committed");
    });
}

/// Plays the job on a daemon that dies at a step, then boots; where the step's number is odd, the
/// daemon is restarted first. True where the daemon lived: it does not seal in the same number of
/// steps every time.
fn killed(trial: &mut Trial, job: &Job, step: u64) -> bool {
    assert!(trial.activate(None));
    let mut daemon = trial.spawn("serve", Some(&Fault::new("serve", Kind::Kill(step))));
    let reboot = trial.root.join("run/reinstate/reboot");
    let mut ended = || daemon.try_wait().unwrap().is_some();
    until("the daemon answers", || trial.machine.status().is_ok() || ended());
    let driver = trial.drive(job);
    let over = |status: Status| status.job.is_some_and(|job| job.outcome.is_some());
    let end = Instant::now() + PATIENCE;
    while !(ended() || reboot.exists() || trial.machine.status().is_ok_and(over)) {
        assert!(Instant::now() < end, "step {step}: no end: {:?}\n{}", trial.machine.status(), trial.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    let lived = !ended();
    let _ = daemon.kill();
    daemon.wait().unwrap();
    driver.join().unwrap();
    if step % 2 == 1 {
        trial.machine.restart_daemon().unwrap();
        trial.machine.kill9();
    }
    trial.machine.start().unwrap();
    trial.machine.wait_until_idle().unwrap();
    lived
}

fn daemon_steps(scene: &Scene, stage: Stage, job: &Job, fault: impl Fn(Kind) -> Fault) -> u64 {
    let mut trial = scene.trial(stage);
    let counter = trial.root.with_file_name("steps");
    trial.machine.arm(fault(Kind::Count(counter.clone())));
    trial.machine.start().unwrap();
    assert!(trial.play(job).outcome.is_success());
    std::fs::metadata(counter).unwrap().len()
}

#[test]
fn a_daemon_killed_at_any_step_of_a_restore_leaves_the_old_or_the_new_configuration() {
    let scene = Scene::get();
    let (job, mut random) = (Job::restore(&scene), random());
    let steps = daemon_steps(&scene, Stage::Ready, &job, |kind| Fault::new("serve", kind));
    let chosen = tail_and_sample(steps, 70, 50, &mut random);
    let (new, lived) = (AtomicU64::new(0), AtomicU64::new(0));
    each(&chosen, |step| {
        let mut trial = scene.trial(Stage::Ready);
        let it_lived = killed(&mut trial, &job, step);
        let why = format!("daemon killed at step {step} of {steps}");
        let is_new = trial.assert_old_or_new(&scene.old, &scene.new, 0, &why);
        assert!(is_new || !it_lived, "{why}: it lived");
        new.fetch_add(is_new.into(), Ordering::SeqCst);
        lived.fetch_add(it_lived.into(), Ordering::SeqCst);
    });
    let (new, lived) = (new.into_inner(), lived.into_inner());
    println!(
        "daemon: {steps} durable steps, killed at {} of {} chosen; the new configuration came of {new}",
        chosen.len() as u64 - lived,
        chosen.len()
    );
    assert!(new > lived && new < chosen.len() as u64, "both sides of the commit were tried");
}

#[test]
fn a_daemon_killed_at_any_step_of_finishing_ends_with_the_new_configuration() {
    let scene = Scene::get();
    let finish = |trial: &Trial, kind: Kind| {
        assert!(trial.activate(None));
        let mut daemon = trial.spawn("serve", Some(&Fault::new("serve", kind)));
        until("the end", || trial.state().job.is_none() || daemon.try_wait().unwrap().is_some());
        // What comes after the record is counted too.
        std::thread::sleep(Duration::from_millis(300));
        let _ = daemon.kill();
        daemon.wait().unwrap();
    };
    let trial = scene.trial(Stage::Committed);
    let steps = trial.count(|kind| finish(&trial, kind));
    println!("finishing: {steps} durable steps, each killed once");
    each(&all(steps), |step| {
        let why = format!("daemon killed at step {step} of {steps} of finishing");
        let mut trial = scene.trial(Stage::Committed);
        finish(&trial, Kind::Kill(step));
        trial.machine.start().unwrap();
        trial.machine.wait_until_idle().unwrap();
        assert!(trial.assert_old_or_new(&scene.old, &scene.new, 0, &why), "{why}");
    });
}

#[test]
fn a_second_crash_during_the_recovery_changes_nothing_about_the_end() {
    let scene = Scene::get();
    let mut random = random();
    let steps = activation_steps(&scene);
    let pairs: Vec<(u64, u64)> =
        (0..16).map(|_| (random.random_range(0..steps), random.random_range(0..steps))).collect();
    each(&all(16), |number| {
        let (first, second) = pairs[number as usize];
        let why = format!("activation cut at {first}, then at {second}, of {steps}");
        let mut trial = scene.trial(Stage::Committed);
        assert!(!trial.activate(Some(Kind::Kill(first))), "{why}");
        let begun = trial.boots();
        trial.activate(Some(Kind::Kill(second)));
        // One that was killed before it had marked is not on record as begun, and has changed nothing.
        if trial.boots() != begun {
            trial.assert_marked_unless_whole(&scene, &why);
        }
        trial.machine.start().unwrap();
        trial.machine.wait_until_idle().unwrap();
        assert!(trial.assert_old_or_new(&scene.old, &scene.new, 0, &why), "{why}");
    });

    let job = Job::restore(&scene);
    let pairs: Vec<(u64, u64)> =
        (0..16).map(|_| (random.random_range(10..150), random.random_range(0..25))).collect();
    each(&all(16), |number| {
        let (first, second) = pairs[number as usize];
        let why = format!("daemon killed at {first}, its successor at {second}");
        let mut trial = scene.trial(Stage::Ready);
        assert!(trial.activate(None));
        let mut daemon = trial.spawn("serve", Some(&Fault::new("serve", Kind::Kill(first))));
        until("the daemon answers", || {
            trial.machine.status().is_ok() || daemon.try_wait().unwrap().is_some()
        });
        let driver = trial.drive(&job);
        until("the first crash", || daemon.try_wait().unwrap().is_some() || trial.state().reboots() > 0);
        let _ = daemon.kill();
        daemon.wait().unwrap();
        driver.join().unwrap();
        let mut daemon = trial.spawn("serve", Some(&Fault::new("serve", Kind::Kill(second))));
        until("the second crash", || daemon.try_wait().unwrap().is_some() || trial.machine.status().is_ok());
        let _ = daemon.kill();
        daemon.wait().unwrap();
        trial.machine.start().unwrap();
        trial.machine.wait_until_idle().unwrap();
        trial.assert_old_or_new(&scene.old, &scene.new, 0, &why);
    });
}

#[test]
fn an_activation_that_never_ends_well_goes_back_to_the_old_configuration() {
    let scene = Scene::get();
    let middle = activation_steps(&scene) / 2;
    let mut trial = scene.trial(Stage::Committed);
    for _ in 0..MAX_BOOTS {
        assert!(!trial.activate(Some(Kind::Kill(middle))));
    }
    assert!(!trial.is(&scene.old) && !trial.is(&scene.new), "it was cut in the middle");
    trial.machine.start().unwrap();
    let status = trial.machine.wait_until_idle().unwrap();
    trial.assert_rolled_back(&scene.old, Code::ActivationFailed);
    assert_eq!((status.warnings, trial.machine.reboots()), (vec![], 0));
}

#[test]
fn a_change_of_the_configuration_is_made_wholly_or_not_at_all_whenever_it_is_killed() {
    let scene = Scene::get();
    let (job, mut random) = (Job::configure(), random());
    let mut changed = scene.trial(Stage::Restored);
    changed.machine.start().unwrap();
    assert!(changed.play(&job).outcome.is_success());
    assert_eq!(changed.machine.reboots(), 0);
    let changed = changed.picture();
    assert_ne!(changed.difference(&scene.new), "");
    let below = |kind| Fault::below_daemon("activate", kind);
    let daemon = daemon_steps(&scene, Stage::Restored, &job, |kind| Fault::new("serve", kind));
    let activation = daemon_steps(&scene, Stage::Restored, &job, below);
    each(&tail_and_sample(daemon, 30, 10, &mut random), |step| {
        let mut trial = scene.trial(Stage::Restored);
        killed(&mut trial, &job, step);
        let why = format!("configure: daemon killed at step {step} of {daemon}");
        trial.assert_old_or_new(&scene.new, &changed, 1, &why);
    });
    each(&tail_and_sample(activation, 6, 6, &mut random), |step| {
        let mut trial = scene.trial(Stage::Restored);
        trial.machine.arm(below(Kind::Kill(step)));
        trial.machine.start().unwrap();
        assert!(trial.play(&job).outcome.is_success());
        let why = format!("configure: activation killed at step {step} of {activation}");
        assert!(trial.assert_old_or_new(&scene.new, &changed, 1, &why), "{why}");
    });
}

#[test]
fn deleting_the_manager_is_done_wholly_or_not_at_all_whenever_it_is_killed() {
    let scene = Scene::get();
    let (job, mut random) = (Job::delete_manager(), random());
    let in_daemon = |kind| Fault::new("serve", kind);
    let below = |kind| Fault::below_daemon("activate", kind);
    let daemon = daemon_steps(&scene, Stage::Restored, &job, in_daemon);
    let activation = daemon_steps(&scene, Stage::Restored, &job, below);
    let daemon_chosen = tail_and_sample(daemon, 40, 10, &mut random);
    let activation_chosen = tail_and_sample(activation, 8, 12, &mut random);
    println!(
        "manager delete: daemon {daemon} steps, killed at {}; activation {activation} steps, killed at {}",
        daemon_chosen.len(),
        activation_chosen.len()
    );
    each(&daemon_chosen, |step| {
        let mut trial = scene.trial(Stage::Restored);
        killed(&mut trial, &job, step);
        let why = format!("manager delete: daemon killed at step {step} of {daemon}");
        trial.assert_old_or_new(&scene.new, &scene.unmanaged, 1, &why);
    });
    each(&activation_chosen, |step| {
        let mut trial = scene.trial(Stage::Restored);
        trial.machine.arm(below(Kind::Kill(step)));
        trial.machine.start().unwrap();
        assert!(trial.play(&job).outcome.is_success());
        let why = format!("manager delete: activation killed at step {step} of {activation}");
        assert!(trial.assert_old_or_new(&scene.new, &scene.unmanaged, 1, &why), "{why}");
    });
}
