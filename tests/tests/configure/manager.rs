//! The registration with a manager.

use std::fs;

use reinstate_api::{Code, Manager};
use serde_json::{Value, json};

use crate::scene::{Scene, code, in_service};

const KEY: &str = "registration-secret-4711";
const FILE: &str = "etc/appliance/manager-registration.key";

fn add(more: Value) -> Value {
    let mut value = json!({ "host": "manager.example.net", "key": KEY });
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([{ "manager-add": value }])
}

#[test]
fn a_manager_is_added_as_pending_and_the_key_is_sealed() {
    let scene = Scene::new(in_service().unregistered());
    let changed = scene.changed(add(json!({ "nat_id": "site-7" })));
    let expected = ["etc/appliance/manager-registration.key", "etc/appliance/manager.conf"];
    assert_eq!(changed.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let conf = "HOST=manager.example.net\nNAME=manager.example.net\nSTATE=Pending\nNAT_ID=site-7\n";
    assert_eq!(scene.text("etc/appliance/manager.conf"), conf);
    // What reads it, reads it; on the disk it is a link into memory.
    assert_eq!(scene.text(FILE), format!("{KEY}\n"));
    assert!(fs::symlink_metadata(scene.root().join(FILE)).unwrap().is_symlink());
    scene.nowhere_in_the_clear(KEY);
    let managers: Vec<Manager> = scene.get("/v1/managers");
    assert_eq!(managers.len(), 1);
    assert_eq!(scene.history()[0].source, "configure manager add manager.example.net site-7");
}

#[test]
fn a_second_manager_is_refused_until_the_first_is_deleted() {
    let scene = Scene::new(in_service());
    let failure = scene.refused(&json!({ "changes": add(json!({})) }));
    assert_eq!(code(&failure), Code::RegisteredOtherManager);
    assert!(failure.hint.contains("configure manager delete"), "{failure:?}");
    let (status, answer) = scene.call("DELETE", "/v1/manager", &json!({}));
    assert_eq!(status, 200, "{answer}");
    scene.agrees();
    scene.machine.wait_until_idle().unwrap();
    assert!(!scene.root().join("etc/appliance/manager.conf").exists());
    scene.done(add(json!({})));
    assert_eq!(scene.text(FILE), format!("{KEY}\n"));
}
