//! A restore that has to be confirmed stays only where somebody says so in time.

use std::fs;

use reinstate_agent::job::Confirmation;
use reinstate_api::{Code, Outcome, Phase, Status};
use serde_json::json;

use crate::scene::{AGENT, Scene, Stage, until};
use crate::trial::{Job, Trial};

/// Restored, healthy, and waiting.
fn waiting(scene: &Scene, minutes: u32) -> Trial {
    let mut trial = scene.trial(Stage::Ready);
    trial.machine.start().unwrap();
    trial.drive(&Job::restore_within(scene, minutes)).join().unwrap();
    trial.machine.wait_for_reboot(1).unwrap();
    wait(&trial);
    trial
}

fn wait(trial: &Trial) {
    let waits = |status: Status| status.job.is_some_and(|job| job.confirm_until.is_some());
    until("the wait for a confirmation", || trial.machine.status().is_ok_and(waits));
}

fn confirmation(trial: &Trial) -> Confirmation {
    trial.state().job.and_then(|job| job.confirmation).expect("it has to be confirmed")
}

fn say(trial: &Trial, command: &str) -> (String, Option<i32>) {
    let output = trial.machine.shell(command, "").unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn a_restore_that_is_confirmed_in_time_stays_and_by_whom_is_on_record() {
    let scene = Scene::get();
    let trial = waiting(&scene, 5);
    trial.assert_is(&scene.new, "it is live meanwhile");
    assert_eq!(
        trial.machine.status().unwrap().lock.map(|lock| lock.phase),
        Some(Phase::Finishing),
        "the lock"
    );
    let greeting = trial.greeting();
    assert!(greeting.contains("`restore confirm`"), "{greeting}");
    let (said, status) = say(&trial, "restore confirm");
    assert_eq!((said.as_str(), status), ("Confirmed. What is active stays.\n", Some(0)));
    let status = trial.machine.wait_until_idle().unwrap();
    let entry = status.last.unwrap();
    assert!(entry.outcome.is_success() && entry.notes.iter().any(|note| note.starts_with("confirmed by ")));
    trial.assert_is(&scene.new, "confirmed");
    trial.assert_clean("confirmed");
    let (said, status) = say(&trial, "restore confirm");
    assert!(said.contains("[not-found]") && status == Some(1), "{said}");
}

#[test]
fn a_restore_that_nobody_confirms_is_taken_back_once_and_says_why() {
    let scene = Scene::get();
    let trial = waiting(&scene, 1);
    let deadline = confirmation(&trial).deadline;
    assert!(deadline.is_some());
    // Neither a crash of the agent nor what it does then gives more time.
    trial.machine.kill9();
    trial.machine.restart_daemon().unwrap();
    wait(&trial);
    assert_eq!(confirmation(&trial).deadline, deadline);
    trial.machine.kill9();
    let file = trial.root.join(AGENT).join("state.toml");
    let text = fs::read_to_string(&file).unwrap();
    let over = text.replace(&format!("deadline = {}", deadline.unwrap()), "deadline = 1");
    assert_ne!(text, over);
    fs::write(&file, over).unwrap();
    trial.machine.restart_daemon().unwrap();
    trial.machine.wait_for_reboot(2).unwrap();
    trial.machine.wait_until_idle().unwrap();
    trial.assert_rolled_back(&scene.old, Code::Unconfirmed);
    let (said, _) = say(&trial, "show restore");
    assert!(said.contains("rolled back") && said.contains("was not confirmed within 1 min"), "{said}");
}

#[test]
fn the_time_for_a_confirmation_begins_anew_with_a_boot() {
    let scene = Scene::get();
    let mut trial = waiting(&scene, 5);
    let before = confirmation(&trial).deadline.unwrap();
    trial.machine.power().cut();
    std::thread::sleep(std::time::Duration::from_millis(1200));
    trial.machine.start().unwrap();
    wait(&trial);
    assert!(confirmation(&trial).deadline.unwrap() > before);
    assert_eq!(say(&trial, "restore confirm").1, Some(0));
    assert!(matches!(trial.machine.wait_until_idle().unwrap().last.unwrap().outcome, Outcome::Succeeded));
}

#[test]
fn a_time_for_the_confirmation_that_is_out_of_range_is_refused_with_the_range() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Ready);
    trial.machine.start().unwrap();
    for minutes in [0, 1441] {
        let (status, answer) = Job::restore_within(&scene, minutes).ask(&trial.machine.client()).unwrap();
        assert_eq!((status, &answer["failures"][0]["code"]), (400, &json!("bad-request")), "{answer}");
        let message = answer["failures"][0]["message"].as_str().unwrap();
        assert!(message.contains(&minutes.to_string()) && message.contains("1 to 1440"), "{message}");
        let (said, _) = say(&trial, &format!("restore remote-manager-backup x.tar confirm-within {minutes}"));
        assert!(said.starts_with("Syntax error: Illegal parameter"), "{said}");
    }
    assert_eq!(trial.history(), []);
}
