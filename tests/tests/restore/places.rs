//! Backups from the local folder: regular files by their names, and nothing else.

use std::os::unix::fs::symlink;

use reinstate_api::Code;
use reinstate_tests::appliance::Appliance;
use serde_json::{Value, json};

use crate::scene::{FILE, Scene};

fn ask(scene: &Scene, file: &str) -> (u16, Value) {
    let body = json!({ "source": { "backup": file } });
    scene.machine.client().call("POST", "/v1/restore", Some(&body)).unwrap()
}

#[test]
fn a_name_that_leads_out_of_the_backup_folder_is_refused_by_shell_and_api() {
    let scene = Scene::new(Appliance::replacement());
    let before = scene.untouched();
    for name in ["../x", "../../../etc/shadow", "/etc/shadow", "a/b.tar", "..", "."] {
        let said = scene.say(&format!("restore remote-manager-backup backup {name}"), "Y\n");
        assert_ne!(said.status, Some(0), "{name}: {said:?}");
        assert!(said.text.contains("Syntax error: Illegal parameter"), "{name}: {said:?}");
        let (status, answer) = ask(&scene, name);
        assert_eq!((status, &answer["failures"][0]["code"]), (400, &json!("bad-request")), "{name}");
    }
    for name in ["", ".hidden", "-x", "x.tar.part", "a\\b", "a\nb"] {
        let (status, answer) = ask(&scene, name);
        assert_eq!((status, &answer["failures"][0]["code"]), (400, &json!("bad-request")), "{name:?}");
    }
    assert_eq!(scene.status().job, None, "a job was started");
    assert_eq!(before.differences(&scene.untouched()), Vec::<String>::new());
}

#[test]
fn a_symbolic_link_in_the_backup_folder_is_not_followed() {
    let scene = Scene::new(Appliance::replacement());
    symlink(scene.served(FILE), scene.kept("link.tar")).unwrap();
    let refused = scene.refused("restore remote-manager-backup backup link.tar", "Y\n");
    let [failure] = &refused.failures[..] else { panic!("{:#?}", refused.failures) };
    assert!(failure.message.contains("link.tar"), "{failure}");
}

#[test]
fn a_folder_and_a_missing_file_are_no_backups() {
    let scene = Scene::new(Appliance::replacement());
    std::fs::create_dir(scene.kept("folder.tar")).unwrap();
    let refused = scene.refused("restore remote-manager-backup backup folder.tar", "Y\n");
    let [failure] = &refused.failures[..] else { panic!("{:#?}", refused.failures) };
    assert!(failure.message.contains("folder.tar"), "{failure}");
    let refused = scene.refused("restore remote-manager-backup backup missing.tar", "Y\n");
    refused.alone(Code::NotFound, &["missing.tar", "/var/sf/backup"]);
}
