//! Each kind of change changes what it says, and nothing else.

use std::collections::BTreeSet;
use std::fs;

use reinstate_api::{Code, JobKind};
use serde_json::{Value, json};

use crate::scene::{LIST, NETWORK, Scene, code, in_service};

pub const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIIbFIlXpFrGFAhBpJtn8SlWSkUu8VA6Mq6qUL0JhfFaF";
const KNOWN: &str = "etc/ssh/ssh_known_hosts";

fn paths(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn every_change_of_the_network_changes_its_own_file_and_is_live_without_a_restart() {
    let scene = Scene::new(in_service());
    let ipv4 = json!([{ "ipv4": { "manual": { "address": "198.51.100.7", "prefix": 25, "gateway": "198.51.100.1" } } }]);
    assert_eq!(scene.changed(ipv4), paths(&[NETWORK]));
    let text = scene.text(NETWORK);
    assert!(text.contains("Address=198.51.100.7/25\n") && text.contains("Gateway=198.51.100.1\n"), "{text}");
    assert!(text.contains("Address=2001:db8::10/64\nGateway") && !text.contains("192.0.2."), "{text}");
    let ipv6 = json!([{ "ipv6": { "manual": { "address": "2001:db8:1::7", "prefix": 56 } } }]);
    assert_eq!(scene.changed(ipv6), paths(&[NETWORK]));
    let text = scene.text(NETWORK);
    assert!(text.contains("2001:db8:1::7/56\n") && text.contains("198.51.100.7/25\n"), "{text}");
    assert!(!text.contains("2001:db8::"), "{text}");
    assert_eq!(scene.changed(json!([{ "ipv6": "disable" }])), paths(&[NETWORK]));
    assert_eq!(scene.changed(json!([{ "ipv4": "dhcp" }])), paths(&[NETWORK]));
    let text = scene.text(NETWORK);
    assert!(text.contains("DHCP=ipv4\n") && text.contains("LinkLocalAddressing=no\n"), "{text}");
    assert_eq!(scene.changed(json!([{ "dns-servers": ["192.0.2.53", "2001:db8::53"] }])), paths(&[NETWORK]));
    assert_eq!(scene.changed(json!([{ "search-domains": ["example.org"] }])), paths(&[NETWORK]));
    let text = scene.text(NETWORK);
    assert!(
        text.contains("DNS=192.0.2.53\nDNS=2001:db8::53\n") && text.contains("Domains=example.org\n"),
        "{text}"
    );
    let version: Value = scene.get("/v1/version");
    assert_eq!(version["management"], json!([]));
}

#[test]
fn a_host_name_is_changed_wherever_this_appliance_names_itself() {
    let scene = Scene::new(in_service());
    let changed = scene.changed(json!([{ "hostname": "edge.example.net" }]));
    assert_eq!(changed, paths(&["etc/hostname", "etc/hosts"]));
    assert_eq!(scene.text("etc/hostname"), "edge.example.net\n");
    assert!(scene.text("etc/hosts").contains("127.0.1.1 edge.example.net edge\n"));
    let version: Value = scene.get("/v1/version");
    assert_eq!(version["hostname"], json!("edge.example.net"));
    let configurations: Value = scene.get("/v1/configurations");
    let active = configurations.as_array().unwrap().iter().find(|one| one["active"] == json!(true)).unwrap();
    assert_eq!(active["hostname"], json!("edge.example.net"), "a restore of it would be of that name");
}

#[test]
fn an_access_list_is_written_for_sshd_and_an_empty_one_leaves_no_file() {
    let scene = Scene::new(in_service());
    let changed = scene.changed(json!([{ "ssh-access-list": ["192.0.2.0/24", "2001:db8::/32"] }]));
    let folder = LIST.rsplit_once('/').unwrap().0;
    assert!(
        changed.contains(LIST) && changed.iter().all(|path| path == LIST || path == folder),
        "{changed:?}"
    );
    assert!(scene.text(LIST).ends_with("AllowUsers *@192.0.2.0/24\nAllowUsers *@2001:db8::/32\n"));
    scene.done(json!([{ "ssh-access-list": [] }]));
    assert!(!scene.root().join(LIST).exists());
}

#[test]
fn an_access_list_beside_which_another_one_would_hold_is_refused_and_says_where() {
    let scene = Scene::new(reinstate_tests::appliance::Appliance::donor("fw-a"));
    let failure = scene.failed(json!([{ "ssh-access-list": ["192.0.2.0/24"] }]));
    assert_eq!(code(&failure), Code::ValidationFailed);
    assert!(failure.message.contains("10-access.conf, line 1"), "{failure}");
    assert!(failure.message.contains("AllowUsers admin alice") && !failure.hint.is_empty(), "{failure:?}");
}

#[test]
fn what_sshd_does_not_accept_is_not_activated() {
    let scene = Scene::new(in_service());
    let file = scene.root().join("etc/ssh/sshd_config");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "NoSuchWord yes\n").unwrap();
    let failure = scene.failed(json!([{ "ssh-access-list": ["192.0.2.0/24"] }]));
    assert_eq!(code(&failure), Code::ValidationFailed);
    assert!(failure.message.contains("NoSuchWord"), "{failure}");
}

#[test]
fn a_trusted_host_is_known_until_it_is_deleted_and_what_an_admin_accepted_goes_with_it() {
    let scene = Scene::new(in_service());
    let accepted = scene.root().join("var/lib/reinstate/known_hosts");
    fs::write(&accepted, format!("new.example ssh-ed25519 {KEY}\nother.example ssh-ed25519 {KEY}\n"))
        .unwrap();
    let before = scene.text(KNOWN);
    let host = |verb: &str, more: Value| {
        let mut value = json!({ "host": "new.example", "port": 22 });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{ format!("trusted-host-{verb}"): value }])
    };
    let changed = scene.changed(host("add", json!({ "algorithm": "ssh-ed25519", "key": KEY })));
    assert_eq!(changed, paths(&[KNOWN]));
    assert_eq!(scene.text(KNOWN), format!("{before}new.example ssh-ed25519 {KEY}\n"));
    assert_eq!(scene.changed(host("delete", json!({}))), paths(&[KNOWN]));
    assert_eq!(scene.text(KNOWN), before);
    assert_eq!(fs::read_to_string(accepted).unwrap(), format!("other.example ssh-ed25519 {KEY}\n"));
    // Known nowhere by now; the other one only because it was accepted.
    assert_eq!(code(&scene.failed(host("delete", json!({})))), Code::NotFound);
    scene.done(json!([{ "trusted-host-delete": { "host": "other.example", "port": 22 } }]));
    assert_eq!(fs::read_to_string(scene.root().join("var/lib/reinstate/known_hosts")).unwrap(), "");
    let wrong = json!({ "changes": host("add", json!({ "algorithm": "ssh-rsa", "key": KEY })) });
    assert_eq!(code(&scene.refused(&wrong)), Code::BadRequest);
}

#[test]
fn a_value_that_is_wrong_changes_nothing_and_starts_no_job() {
    let scene = Scene::new(in_service());
    for changes in [
        json!([]),
        json!([{ "hostname": "not_a_name" }]),
        json!([{ "hostname": "good" }, { "hostname": "a\nb" }]),
        json!([{ "ipv4": { "manual": { "address": "192.0.2.0", "prefix": 24 } } }]),
        json!([{ "ipv4": { "manual": { "address": "192.0.2.9", "prefix": 24, "gateway": "10.0.0.1" } } }]),
        json!([{ "ssh-access-list": ["192.0.2.7/24"] }]),
        json!([{ "no-such-change": 1 }]),
    ] {
        let failure = scene.refused(&json!({ "changes": changes }));
        assert_eq!(code(&failure), Code::BadRequest, "{changes}: {failure}");
    }
    let minutes = json!({ "changes": [{ "hostname": "good" }], "confirm_within": 1441 });
    assert!(scene.refused(&minutes).message.contains("1441 minutes, of 1 to 1440"));
}

#[test]
fn of_changes_that_are_asked_for_together_all_are_made_or_none() {
    let scene = Scene::new(in_service());
    let failure =
        scene.failed(json!([{ "hostname": "edge" }, { "user-delete": { "name": "nobody-known" } }]));
    assert_eq!(code(&failure), Code::NotFound);
    let both = json!([{ "hostname": "edge" }, { "dns-servers": ["192.0.2.53"] }]);
    let entry = scene.done(both);
    assert_eq!(entry.source, "configure network hostname edge; network dns servers 192.0.2.53");
    assert_eq!((entry.kind, &*entry.by), (JobKind::Configure, &*whoami()));
    assert_eq!(scene.history().len(), 2, "the one that failed is in the history too");
}

/// Whose account the tests run with.
fn whoami() -> String {
    let said = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_change_is_taken_back_by_a_rollback() {
    let scene = Scene::new(in_service());
    let before = scene.picture();
    scene.done(json!([{ "hostname": "edge" }]));
    assert_eq!(scene.call("POST", "/v1/rollback", &json!({})).0, 200);
    scene.agrees();
    scene.machine.wait_for_reboot(1).unwrap();
    scene.machine.wait_until_idle().unwrap();
    assert_eq!(scene.picture().difference(&before), "");
}
