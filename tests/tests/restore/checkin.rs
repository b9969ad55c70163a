//! After a restore: the manager is told, whatever it does, and nothing waits for it.

use std::fs;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use reinstate_api::{CheckIn, Code};
use reinstate_tests::appliance::{Appliance, Enrolment};
use reinstate_tests::manager::{Manager, Mood};
use serde_json::json;

use crate::scene::{Donor, Scene};

/// A replacement with the backup of a donor that is enrolled so.
fn scene(enrolment: &Enrolment) -> Scene {
    let donor = Donor::of(&Appliance::donor("fw-a").managed(enrolment));
    Scene::of(Arc::new(donor), Appliance::replacement())
}

fn enrolled(manager: &Manager) -> Enrolment {
    Enrolment::with(manager, "fw-a").unwrap()
}

/// Waits until the status' check-in is as `done` says.
fn wait(scene: &Scene, what: &str, done: impl Fn(&CheckIn) -> bool) -> CheckIn {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let checkin = scene.status().checkin;
        if let Some(checkin) = checkin.as_ref().filter(|checkin| done(checkin)) {
            return checkin.clone();
        }
        assert!(Instant::now() < until, "{what}: not within 60 s: {checkin:?}");
        sleep(Duration::from_millis(20));
    }
}

fn wait_for_failure(scene: &Scene, code: Code) -> CheckIn {
    wait(scene, code.as_str(), |checkin| checkin.failure.as_ref().is_some_and(|why| why.code == code))
}

fn restart_daemon(scene: &Scene) {
    scene.machine.kill9();
    scene.machine.restart_daemon().unwrap();
}

#[test]
fn the_manager_is_told_once_with_the_restored_certificate_of_which_device_is_back() {
    let manager = Manager::open_with(Mood::Answer(204)).unwrap();
    let enrolment = enrolled(&manager);
    let scene = scene(&enrolment);
    scene.restore_here();
    let told = manager.wait_for(1).remove(0);
    let device = Appliance::donor("fw-a").device().clone();
    let path = format!("/api/v1/devices/{}", device.uuid);
    assert_eq!((told.method.as_str(), &told.path), ("PUT", &path));
    assert_eq!(told.certificate, enrolment.der().unwrap());
    assert_eq!(told.body["device"], json!(device));
    assert_eq!(told.body["software"]["version"], "7.4.1");
    assert_eq!(told.body["restore"], json!(scene.history()[0].id));
    assert_eq!(told.body["state"], "out-of-date");

    let checkin = wait(&scene, "the answer", |checkin| checkin.accepted.is_some());
    assert_eq!(checkin.accepted.unwrap().answer, "204 No Content");
    for command in ["show managers", "show restore"] {
        let said = scene.say(command, "");
        assert!(said.text.contains("Check-in                  : accepted, "), "{command}: {said:?}");
    }
    restart_daemon(&scene);
    assert!(scene.status().checkin.unwrap().accepted.is_some(), "it is on record");
    sleep(Duration::from_millis(500));
    assert_eq!(manager.connections(), 1, "nothing more is owed");

    let key = enrolment.key.lines().nth(1).unwrap();
    for place in [scene.machine.log(), &scene.root().join("var/lib/reinstate/state.toml")] {
        let text = fs::read_to_string(place).unwrap();
        assert!(!text.contains(key), "the key is in {}", place.display());
    }
    assert!(!serde_json::to_string(&scene.status()).unwrap().contains(key));
}

#[test]
fn a_manager_that_never_answers_holds_nothing_and_is_told_after_any_number_of_restarts() {
    let manager = Manager::open_with(Mood::Silent).unwrap();
    let scene = scene(&enrolled(&manager));
    // The restore succeeds and its lock is gone.
    scene.restore_here();
    manager.wait_for_connections(1);
    assert_eq!(scene.say("backup create", "").status, Some(0), "jobs go on");
    assert!(!scene.root().join("var/lib/reinstate/restore.lock").exists());
    let connections = manager.connections();
    restart_daemon(&scene);
    manager.wait_for_connections(connections + 1);
    assert_eq!(scene.status().checkin.unwrap().accepted, None);
    manager.set(Mood::Answer(200));
    restart_daemon(&scene);
    wait(&scene, "the answer", |checkin| checkin.accepted.is_some());
}

#[test]
fn a_manager_that_comes_up_later_is_told_then() {
    let mut manager = Manager::closed().unwrap();
    let scene = scene(&enrolled(&manager));
    scene.restore_here();
    let why = wait_for_failure(&scene, Code::HostUnreachable).failure.unwrap();
    assert!(why.message.contains(&manager.port().to_string()), "{why}");
    manager.open(Mood::Answer(200)).unwrap();
    manager.wait_for(1);
    wait(&scene, "the answer", |checkin| checkin.accepted.is_some());
}

#[test]
fn what_is_wrong_with_certificates_is_said_and_tried_again() {
    let manager = Manager::open_with(Mood::Answer(200)).unwrap();
    let other = Manager::closed().unwrap();
    let good = enrolled(&manager);
    let wrong = [
        (Enrolment { ca: other.authority().to_owned(), ..good.clone() }, Code::ManagerUntrusted),
        (
            Enrolment { certificate: enrolled(&other).certificate, ..good.clone() },
            // Here already: it is not the key's.
            Code::ManagerCredentials,
        ),
        (
            Enrolment { ca: manager.authority().to_owned(), ..enrolled(&other) }.at(&manager),
            Code::ManagerCredentials,
        ),
        (Enrolment { certificate: "no certificate\n".into(), ..good }, Code::ManagerCredentials),
    ];
    std::thread::scope(|threads| {
        for (enrolment, code) in wrong {
            threads.spawn(move || {
                let scene = scene(&enrolment);
                scene.restore_here();
                wait_for_failure(&scene, code);
                let said = scene.say("show managers", "");
                assert!(said.text.contains(&format!("[{code}]")), "{said:?}");
                wait(&scene, "another attempt", |checkin| checkin.attempts > 1);
            });
        }
    });
    assert!(manager.told().is_empty(), "{:?}", manager.told());
}

#[test]
fn an_answer_of_no_is_told_as_it_is_and_asked_again_at_leisure() {
    let manager = Manager::open_with(Mood::Answer(404)).unwrap();
    let scene = scene(&enrolled(&manager));
    scene.restore_here();
    let pause = |checkin: &CheckIn| checkin.next.unwrap().as_second() - checkin.last.unwrap().as_second();
    let checkin = wait_for_failure(&scene, Code::ManagerRefused);
    let why = checkin.failure.clone().unwrap();
    assert!(why.message.ends_with("answered 404 Not Found: the manager says why"), "{why}");
    assert!(pause(&checkin) > 7 * 60, "{checkin:?}");
    // What is the server's trouble passes sooner.
    for (mood, code) in [(Mood::Answer(500), Code::ManagerRefused), (Mood::Drop, Code::ConnectionLost)] {
        manager.set(mood);
        restart_daemon(&scene);
        let checkin = wait_for_failure(&scene, code);
        assert!(pause(&checkin) <= 40, "{checkin:?}");
    }
}

#[test]
fn a_manager_that_was_deleted_is_owed_nothing() {
    let manager = Manager::closed().unwrap();
    let scene = scene(&enrolled(&manager));
    scene.restore_here();
    wait_for_failure(&scene, Code::HostUnreachable);
    assert_eq!(scene.say("configure manager delete", "Y\n").status, Some(0));
    let until = Instant::now() + Duration::from_secs(60);
    while scene.status().checkin.is_some() {
        assert!(Instant::now() < until, "it is owed still: {:?}", scene.status().checkin);
        sleep(Duration::from_millis(20));
    }
    assert!(scene.say("show managers", "").text.contains("No managers configured."));
    restart_daemon(&scene);
    assert_eq!(scene.status().checkin, None);
}
