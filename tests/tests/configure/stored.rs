//! Stored configurations.

use std::collections::BTreeSet;

use reinstate_api::{Configuration, DomainChange};
use serde_json::json;

use crate::scene::{Scene, in_service};

fn list(scene: &Scene) -> Vec<Configuration> {
    scene.get("/v1/configurations")
}

fn verb(scene: &Scene, method: &str, which: &str, verb: &str, body: serde_json::Value) -> (u16, String) {
    let (status, answer) = scene.call(method, &format!("/v1/configurations/{which}{verb}"), &body);
    (status, answer["failures"][0]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn each_change_can_be_gone_back_to_by_number_or_by_name() {
    let mut scene = Scene::new(in_service());
    let first = scene.done(json!([{ "hostname": "one" }]));
    let picture = scene.picture();
    scene.done(json!([{ "hostname": "two" }]));
    scene.done(json!([{ "hostname": "three" }]));
    let all = list(&scene);
    let one = all.iter().find(|one| one.number == first.to).unwrap();
    assert_eq!((&*one.hostname, &*one.origin), ("one", "configure network hostname one"));
    assert_eq!(all.iter().filter(|one| one.active).count(), 1);
    let number = first.to.to_string();
    assert_eq!(verb(&scene, "POST", &number, "/rename", json!({ "to": "before-two" })).0, 200);
    let changes: Vec<DomainChange> = scene.get("/v1/configurations/before-two/diff");
    let changed: BTreeSet<_> = changes.iter().flat_map(|change| change.changed.clone()).collect();
    assert_eq!(changed, BTreeSet::from(["/etc/hostname".to_owned(), "/etc/hosts".to_owned()]));
    assert_eq!(verb(&scene, "POST", "before-two", "/activate", json!({})).0, 200);
    scene.agrees();
    scene.machine.wait_for_reboot(1).unwrap();
    let entry = scene.machine.wait_until_idle().unwrap().last.unwrap();
    assert_eq!(entry.source, format!("generation {number} (before-two)"));
    assert_eq!(scene.picture().difference(&picture), "");
    scene.machine.stop();
    scene.machine.start().unwrap();
    assert!(list(&scene).iter().any(|one| one.name == "before-two" && one.active));
}

#[test]
fn one_that_is_damaged_is_listed_as_that_among_the_others() {
    let scene = Scene::new(in_service());
    scene.done(json!([{ "hostname": "one" }]));
    let before = list(&scene);
    let damaged = before.iter().find(|one| one.previous).unwrap().number;
    let record = format!("var/lib/reinstate/generations/{damaged}/generation.toml");
    std::fs::write(scene.root().join(record), "no record").unwrap();
    for (before, after) in before.into_iter().zip(list(&scene)) {
        match after.number == damaged {
            true => assert!(after.previous && after.origin.starts_with("damaged: "), "{after:?}"),
            false => assert_eq!(after, before),
        }
    }
}

#[test]
fn a_name_is_taken_once_and_is_no_number() {
    let scene = Scene::new(in_service());
    scene.done(json!([{ "hostname": "one" }]));
    let rename = |which: &str, to: &str| verb(&scene, "POST", which, "/rename", json!({ "to": to }));
    assert_eq!(rename("1", "office").0, 200);
    assert_eq!(rename("office", "office").0, 200);
    assert_eq!(rename("2", "office"), (400, "bad-request".into()));
    for wrong in ["", "7", "7th", "a b", "a/b", "-x", &"a".repeat(65)] {
        assert_eq!(rename("1", wrong), (400, "bad-request".into()), "{wrong}");
    }
    assert_eq!(rename("99", "x"), (404, "not-found".into()));
    assert_eq!(rename("nothing", "x"), (404, "not-found".into()));
    assert_eq!(rename("office", "home").0, 200);
    assert_eq!(verb(&scene, "DELETE", "office", "", json!({})).0, 404);
}

#[test]
fn what_is_needed_is_not_deleted_and_the_rest_is() {
    let scene = Scene::new(in_service());
    for name in ["one", "two"] {
        scene.done(json!([{ "hostname": name }]));
    }
    let status = scene.status();
    for number in [0, status.active, status.previous.unwrap()] {
        assert_eq!(verb(&scene, "DELETE", &number.to_string(), "", json!({})), (409, "busy".into()));
    }
    scene.ask(&json!({ "changes": [{ "hostname": "three" }], "confirm_within": 5 }));
    scene.wait_for_confirm();
    assert_eq!(verb(&scene, "DELETE", "1", "", json!({})), (409, "busy".into()), "a job runs");
    scene.confirm();
    scene.machine.wait_until_idle().unwrap();
    assert!(scene.generations().contains(&1));
    assert_eq!(verb(&scene, "DELETE", "1", "", json!({})).0, 200);
    assert!(!scene.generations().contains(&1));
    assert_eq!(verb(&scene, "DELETE", "1", "", json!({})), (404, "not-found".into()));
}

#[test]
fn the_last_ones_stay_and_those_with_a_name_and_no_more() {
    let scene = Scene::new(in_service());
    scene.done(json!([{ "hostname": "first" }]));
    assert_eq!(verb(&scene, "POST", "2", "/rename", json!({ "to": "keep-me" })).0, 200);
    for number in 0..9 {
        scene.done(json!([{ "hostname": format!("fw-{number}") }]));
    }
    let there = scene.generations();
    // The factory's, the active and the previous one, the named one, and ten more.
    assert_eq!(there.len(), 14, "{there:?}");
    assert!(there.contains(&0) && there.contains(&2) && !there.contains(&1), "{there:?}");
}
