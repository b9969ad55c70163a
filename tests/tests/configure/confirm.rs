//! A change by which an admin may lose the appliance stays only where somebody confirms it.

use std::fs;

use reinstate_api::{CONFIGURE_WITHIN, Code, JobKind, Outcome};
use serde_json::{Value, json};

use crate::changes::KEY;
use crate::scene::{NETWORK, Scene, in_service};

fn address() -> Value {
    json!([{ "ipv4": { "manual": { "address": "198.51.100.7", "prefix": 24 } } }])
}

fn rolled_back(scene: &Scene) {
    let entry = scene.history().remove(0);
    let Outcome::RolledBack { failures } = &entry.outcome else { panic!("{entry:?}") };
    assert_eq!((entry.kind, failures[0].code), (JobKind::Configure, Code::Unconfirmed));
    assert!(failures[0].message.starts_with("the change of the configuration was not confirmed within"));
    let status = scene.status();
    assert_eq!((status.active, status.lock), (entry.to, None));
}

/// The time is over, for the daemon that starts next.
fn run_out(scene: &Scene) {
    let file = scene.root().join("var/lib/reinstate/state.toml");
    let text = fs::read_to_string(&file).unwrap();
    let line = text.lines().find(|line| line.starts_with("deadline = ")).unwrap();
    fs::write(&file, text.replace(line, "deadline = 1")).unwrap();
}

#[test]
fn an_address_that_nobody_confirms_is_taken_back_by_itself_without_a_restart() {
    let scene = Scene::new(in_service());
    let before = scene.picture();
    scene.ask(&json!({ "changes": address(), "confirm_within": 1 }));
    let job = scene.wait_for_confirm();
    assert!(job.notes.iter().any(|note| note.contains("within 1 min")), "{job:?}");
    assert!(scene.text(NETWORK).contains("198.51.100.7/24"), "it is live meanwhile");
    scene.machine.wait_until_idle().unwrap();
    rolled_back(&scene);
    assert_eq!((scene.picture().difference(&before), scene.machine.reboots()), (String::new(), 0));
}

#[test]
fn an_address_that_cannot_be_taken_back_in_time_is_taken_back_as_soon_as_it_can() {
    let scene = Scene::new(in_service());
    let before = scene.picture();
    scene.ask(&json!({ "changes": address(), "confirm_within": 1 }));
    scene.wait_for_confirm();
    std::thread::sleep(std::time::Duration::from_secs(55));
    let record = scene.root().join("var/lib/reinstate/state.toml");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "not now").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(8));
    assert!(scene.text(NETWORK).contains("198.51.100.7/24"));
    fs::write(&record, whole).unwrap();
    scene.machine.wait_until_idle().unwrap();
    rolled_back(&scene);
    assert_eq!((scene.picture().difference(&before), scene.machine.reboots()), (String::new(), 0));
}

#[test]
fn an_address_that_is_confirmed_stays_and_by_whom_is_on_record() {
    let scene = Scene::new(in_service());
    scene.ask(&json!({ "changes": address() }));
    let job = scene.wait_for_confirm();
    let until = job.confirm_until.unwrap().as_second() - job.started.as_second();
    let most = i64::from(CONFIGURE_WITHIN) * 60 + 60;
    assert!((i64::from(CONFIGURE_WITHIN) * 60 - 10..most).contains(&until), "{until} s");
    scene.confirm();
    let entry = scene.machine.wait_until_idle().unwrap().last.unwrap();
    assert!(entry.outcome.is_success() && entry.notes.iter().any(|note| note.starts_with("confirmed by ")));
    assert!(scene.text(NETWORK).contains("198.51.100.7/24"));
    assert_eq!(scene.call("POST", "/v1/confirm", &json!({})).0, 404);
}

#[test]
fn a_crash_while_it_waits_gives_no_more_time_and_a_power_cut_begins_it_anew() {
    let scene = Scene::new(in_service());
    let before = scene.picture();
    scene.ask(&json!({ "changes": address() }));
    scene.wait_for_confirm();
    scene.machine.kill9();
    run_out(&scene);
    scene.machine.restart_daemon().unwrap();
    scene.machine.wait_until_idle().unwrap();
    rolled_back(&scene);
    assert_eq!((scene.picture().difference(&before), scene.machine.reboots()), (String::new(), 0));

    let mut scene = scene;
    scene.ask(&json!({ "changes": address() }));
    scene.wait_for_confirm();
    scene.machine.power().cut();
    run_out(&scene);
    scene.machine.start().unwrap();
    scene.wait_for_confirm();
    assert!(scene.text(NETWORK).contains("198.51.100.7/24"));
    scene.confirm();
    assert!(scene.machine.wait_until_idle().unwrap().last.unwrap().outcome.is_success());
}

#[test]
fn who_may_log_in_from_where_is_confirmed_and_a_host_name_is_not_unless_it_is_asked_for() {
    let scene = Scene::new(in_service());
    scene.ask(&json!({ "changes": [{ "ssh-access-list": ["192.0.2.0/24"] }] }));
    scene.wait_for_confirm();
    scene.confirm();
    scene.machine.wait_until_idle().unwrap();
    scene.ask(&json!({ "changes": [{ "hostname": "edge" }] }));
    assert!(scene.machine.wait_until_idle().unwrap().last.unwrap().notes.is_empty());
    scene.ask(&json!({ "changes": [{ "hostname": "edge-2" }], "confirm_within": 3 }));
    scene.wait_for_confirm();
    scene.confirm();
    assert!(scene.machine.wait_until_idle().unwrap().last.unwrap().outcome.is_success());
}

#[test]
fn a_key_that_was_accepted_is_forgotten_only_once_its_deletion_stays() {
    let scene = Scene::new(in_service());
    let accepted = scene.root().join("var/lib/reinstate/known_hosts");
    let line = format!("new.example ssh-ed25519 {KEY}\n");
    fs::write(&accepted, &line).unwrap();
    let delete = json!([{ "trusted-host-delete": { "host": "new.example", "port": 22 } }]);
    let known = || fs::read_to_string(&accepted).unwrap();
    scene.ask(&json!({ "changes": delete, "confirm_within": 9 }));
    scene.wait_for_confirm();
    assert_eq!(known(), line);
    scene.machine.kill9();
    run_out(&scene);
    scene.machine.restart_daemon().unwrap();
    scene.machine.wait_until_idle().unwrap();
    rolled_back(&scene);
    assert_eq!(known(), line);

    scene.ask(&json!({ "changes": delete, "confirm_within": 9 }));
    scene.wait_for_confirm();
    scene.machine.kill9();
    scene.machine.restart_daemon().unwrap();
    scene.wait_for_confirm();
    scene.confirm();
    assert!(scene.machine.wait_until_idle().unwrap().last.unwrap().outcome.is_success());
    assert_eq!(known(), "", "a crash meanwhile is no reason to keep it");
}
