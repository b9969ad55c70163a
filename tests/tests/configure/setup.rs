//! The questions of the first login.

use reinstate_api::{Code, Setup};
use reinstate_tests::appliance::Appliance;
use serde_json::{Value, json};

use crate::scene::{NETWORK, Scene, code, in_service};

const DEVICE: &str = "etc/appliance/device.conf";

fn fresh() -> Appliance {
    Appliance::replacement().file(DEVICE, "UUID=4711\nROLE=standalone\n", 0o644)
}

fn answers(changes: Value) -> Value {
    json!({ "changes": changes, "setup": true })
}

#[test]
fn the_first_login_is_asked_once_and_its_answers_need_no_confirmation() {
    let scene = Scene::new(fresh());
    let setup: Setup = scene.get("/v1/setup");
    assert!(setup.needed && !setup.licence.is_empty());
    assert!(setup.password_rules[0].contains("at least 8 characters"), "{setup:?}");
    let password = json!({ "password": { "user": "admin", "password": "Corr3ct-horse" } });
    let address = json!({ "ipv4": { "manual": { "address": "192.168.45.46", "prefix": 24 } } });
    let without = scene.refused(&answers(json!([address])));
    assert_eq!(code(&without), Code::BadRequest);
    scene.ask(&answers(json!([password, address])));
    let status = scene.machine.wait_until_idle().unwrap();
    let entry = status.last.unwrap();
    assert!(entry.outcome.is_success(), "{entry:?}");
    assert!(entry.source.starts_with("configure setup; password admin; network ipv4 "), "{entry:?}");
    assert_eq!(scene.text(DEVICE), "UUID=4711\nROLE=standalone\nSETUP=done\n");
    assert!(scene.text(NETWORK).contains("192.168.45.46/24"));
    assert!(!scene.get::<Setup>("/v1/setup").needed);
    assert_eq!(code(&scene.refused(&answers(json!([password])))), Code::NotFound);
}

#[test]
fn answers_of_which_one_is_wrong_leave_the_first_login_as_it_was() {
    let scene = Scene::new(fresh());
    let password = json!({ "password": { "user": "admin", "password": "admin" } });
    assert_eq!(code(&scene.refused(&answers(json!([password])))), Code::PasswordRefused);
    assert!(scene.get::<Setup>("/v1/setup").needed);
}

#[test]
fn an_appliance_in_service_or_without_such_questions_asks_none() {
    let scene = Scene::new(in_service());
    assert!(!scene.get::<Setup>("/v1/setup").needed);
    let scene = Scene::new(fresh().without_profile("setup"));
    assert!(!scene.get::<Setup>("/v1/setup").needed);
    let password = json!({ "password": { "user": "admin", "password": "Corr3ct-horse" } });
    assert_eq!(code(&scene.refused(&answers(json!([password])))), Code::NotFound);
}
