//! People and their passwords.

use std::collections::BTreeSet;

use reinstate_api::Code;
use serde_json::{Value, json};

use crate::scene::{Scene, code, in_service};

const GOOD: &str = "Corr3ct-horse";

fn user(verb: &str, value: Value) -> Value {
    json!([{ format!("user-{verb}"): value }])
}

fn files(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("etc/{name}")).collect()
}

/// The system's own crypt(3) makes this hash of the password.
fn lets_in(scene: &Scene, name: &str, password: &str) -> bool {
    let shadow = scene.text("etc/shadow");
    let line = shadow.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    let hash = line.split(':').nth(1).unwrap();
    let script = "print crypt($ARGV[0], $ARGV[1])";
    let said = std::process::Command::new("perl").args(["-e", script, password, hash]).output().unwrap();
    said.stdout == hash.as_bytes()
}

fn other_lines(text: &str, name: &str) -> Vec<String> {
    text.lines().filter(|line| !line.contains(name)).map(str::to_owned).collect()
}

#[test]
fn a_new_password_lets_in_and_is_nowhere_in_the_clear() {
    let scene = Scene::new(in_service());
    let before = scene.text("etc/shadow");
    let changed = scene.changed(json!([{ "password": { "user": "alice", "password": GOOD } }]));
    assert_eq!(changed, files(&["shadow"]));
    assert!(lets_in(&scene, "alice", GOOD) && !lets_in(&scene, "alice", "Corr3ct-horsf"));
    assert_eq!(other_lines(&scene.text("etc/shadow"), "alice"), other_lines(&before, "alice"));
    scene.nowhere_in_the_clear(GOOD);
    assert_eq!(scene.history()[0].source, "configure password alice");
}

#[test]
fn a_password_that_breaks_a_rule_is_refused_by_its_name() {
    let scene = Scene::new(in_service());
    for (password, says) in
        [("Sh0rt!", "of at least 8"), ("alllowercase", "of at least 3"), ("xAlice99", "the user's name")]
    {
        let body = json!({ "changes": [{ "password": { "user": "alice", "password": password } }] });
        let failure = scene.refused(&body);
        assert_eq!(code(&failure), Code::PasswordRefused);
        assert!(failure.message.contains(says) && !failure.message.contains(password), "{failure}");
        scene.nowhere_in_the_clear(password);
    }
}

#[test]
fn a_user_comes_gets_another_access_and_goes_without_a_trace() {
    let scene = Scene::new(in_service());
    let before = scene.picture();
    let all = files(&["group", "gshadow", "passwd", "shadow"]);
    let add = user("add", json!({ "name": "bob", "access": "basic", "password": GOOD }));
    assert_eq!(scene.changed(add.clone()), all);
    assert!(scene.text("etc/passwd").ends_with("bob:x:1002:1002::/:/usr/bin/reinstate-shell\n"));
    assert!(lets_in(&scene, "bob", GOOD));
    assert!(scene.text("etc/group").contains("reinstate-operator:x:28:bob\n"));
    assert_eq!(code(&scene.failed(add)), Code::BadRequest);
    let access = user("access", json!({ "name": "bob", "access": "config" }));
    assert_eq!(scene.changed(access), files(&["group", "gshadow"]));
    assert!(scene.text("etc/group").contains("reinstate-admin:x:27:admin,bob\n"));
    assert!(scene.text("etc/group").contains("reinstate-operator:x:28:\n"));
    assert_eq!(scene.changed(user("delete", json!({ "name": "bob" }))), all);
    assert_eq!(scene.picture().difference(&before), "");
    scene.done(user("add", json!({ "name": "carol", "access": "basic", "password": GOOD })));
    // Whoever was bob may still be there, and is known by the number.
    assert!(scene.text("etc/passwd").ends_with("carol:x:1003:1003::/:/usr/bin/reinstate-shell\n"));
}

#[test]
fn the_last_user_with_config_access_is_neither_deleted_nor_demoted() {
    let scene = Scene::new(in_service());
    let delete = user("delete", json!({ "name": "admin" }));
    let demote = user("access", json!({ "name": "admin", "access": "basic" }));
    for changes in [&delete, &demote] {
        let failure = scene.failed(changes.clone());
        assert_eq!(code(&failure), Code::Forbidden);
        assert!(failure.message.contains("nobody would have config access"), "{failure}");
    }
    scene.done(user("access", json!({ "name": "alice", "access": "config" })));
    scene.done(json!([{ "password": { "user": "alice", "password": GOOD } }]));
    scene.done(delete);
    assert!(!scene.text("etc/passwd").contains("admin:x:1000"));
}

#[test]
fn accounts_of_the_system_are_nobodys_to_change() {
    let scene = Scene::new(in_service());
    for changes in [
        json!([{ "password": { "user": "root", "password": GOOD } }]),
        user("delete", json!({ "name": "sshd" })),
        user("access", json!({ "name": "root", "access": "config" })),
    ] {
        assert_eq!(code(&scene.failed(changes)), Code::NotFound);
    }
    let add = user("add", json!({ "name": "sshd", "access": "basic", "password": GOOD }));
    assert_eq!(code(&scene.failed(add)), Code::BadRequest);
}
