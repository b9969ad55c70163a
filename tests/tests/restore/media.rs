//! Backups on a medium, and the one device whose backup will do.

use std::fs;

use reinstate_api::Code;
use reinstate_tests::appliance::Appliance;

use crate::scene::{FILE, Said, Scene};

const MEDIUM: &str = "run/reinstate/medium";

/// A replacement without a backup of its own, with these files on a medium.
fn with_medium(files: &[&str]) -> Scene {
    let scene = Scene::new(Appliance::replacement());
    fs::remove_file(scene.kept(FILE)).unwrap();
    let medium = scene.root().join(MEDIUM);
    fs::create_dir_all(&medium).unwrap();
    for file in files {
        fs::write(medium.join(file), &scene.donor.archive).unwrap();
    }
    scene
}

fn refused(said: &Said, code: &str, values: &[&str]) {
    assert_eq!(said.status, Some(1), "{said:?}");
    for value in values.iter().chain([&code]) {
        assert!(said.text.contains(value), "'{value}' is not in {said:?}");
    }
}

#[test]
fn the_only_backup_on_a_medium_is_copied_without_being_named_and_can_be_restored() {
    let scene = with_medium(&[FILE, "answers.toml", ".hidden.tar"]);
    let said = scene.say("backup import medium", "");
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.text.contains(FILE), "{said:?}");
    assert_eq!(fs::read(scene.kept(FILE)).unwrap(), scene.donor.archive);
    // Once more is no error: it is here.
    assert_eq!(scene.say("backup import medium", "").status, Some(0));
    scene.restore_here();
}

#[test]
fn of_several_backups_on_a_medium_one_must_be_named() {
    let scene = with_medium(&[FILE, "other.tar"]);
    refused(&scene.say("backup import medium", ""), "bad-request", &[FILE, "other.tar", "name the one"]);
    assert!(!scene.kept(FILE).exists());
    assert_eq!(scene.say("backup import medium other.tar", "").status, Some(0));
    assert!(scene.kept("other.tar").exists());
}

#[test]
fn what_is_not_on_the_medium_is_said_by_name() {
    refused(&with_medium(&[]).say("backup import medium", ""), "not-found", &["no backup"]);
    refused(&with_medium(&[FILE]).say("backup import medium b.tar", ""), "not-found", &["b.tar"]);
    let scene = Scene::new(Appliance::replacement());
    refused(&scene.say("backup import medium", ""), "not-found", &["no medium", "REINSTATE"]);
}

#[test]
fn a_medium_replaces_no_backup_and_its_links_are_not_followed() {
    let scene = with_medium(&[FILE]);
    fs::write(scene.kept(FILE), b"another").unwrap();
    refused(&scene.say("backup import medium", ""), "backup-exists", &["7 bytes"]);
    assert_eq!(fs::read(scene.kept(FILE)).unwrap(), b"another");
    std::os::unix::fs::symlink("/etc/passwd", scene.root().join(MEDIUM).join("link.tar")).unwrap();
    let said = scene.say("backup import medium link.tar", "");
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(!scene.kept("link.tar").exists());
}

#[test]
fn a_backup_of_another_device_than_the_one_insisted_on_is_refused() {
    let scene = Scene::new(Appliance::replacement());
    let other = "00000000-0000-4000-8000-000000000001";
    let refused = scene.refused(&format!("restore remote-manager-backup {FILE} device {other}"), "Y\n");
    refused.alone(Code::DeviceMismatch, &[other]);
}
