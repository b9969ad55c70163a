//! What is left to do by hand after a restore.

use std::io::Write;
use std::process::{Command, Stdio};

use reinstate_tests::appliance::Appliance;

use crate::scene::{PROGRAM, Scene};

/// What an admin sees who logs in and types these lines.
fn login(scene: &Scene, lines: &str) -> String {
    let socket = scene.root().join(reinstate_api::SOCKET);
    let mut shell = Command::new(PROGRAM);
    shell.args(["shell", "--socket"]).arg(socket).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    shell.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap()
}

const LIST: [&str; 4] = [
    "To be done after the restore of ",
    "  - Licence this unit, and return the old unit's licences.\n",
    "  - vpn: /etc/swanctl/x509/site-b.pem was taken off; enrol it again\n",
    "`configure tasks acknowledge` ends this reminder.\n",
];

#[test]
fn each_login_shows_what_is_left_to_do_until_an_admin_acknowledges_it() {
    let scene = Scene::new(Appliance::replacement());
    assert!(!login(&scene, "exit\n").contains(LIST[0]));
    assert_eq!(scene.say("configure tasks acknowledge", "").status, Some(1), "there is nothing yet");
    scene.restore_here();
    for _ in 0..2 {
        let text = login(&scene, "exit\n");
        for part in LIST {
            assert!(text.contains(part), "{part}: {text}");
        }
        scene.machine.kill9();
        scene.machine.restart_daemon().unwrap();
    }
    assert!(scene.say("show restore", "").text.contains(LIST[1]));

    assert_eq!(scene.say("configure tasks acknowledge", "").status, Some(0));
    scene.machine.kill9();
    scene.machine.restart_daemon().unwrap();
    let text = login(&scene, "exit\n");
    assert!(!text.contains(LIST[1]) && text.contains("Last restore: succeeded"), "{text}");
    let by = scene.history().remove(0).by;
    let said = scene.say("show restore", "");
    assert!(
        said.text.contains(LIST[1]) && said.text.contains(&format!("Acknowledged by {by}, ")),
        "{said:?}"
    );
    assert!(scene.history()[0].notes.last().unwrap().ends_with(&format!("acknowledged by {by}")));
    let again = scene.say("configure tasks acknowledge", "");
    assert_eq!(again.status, Some(1), "{again:?}");
    assert!(again.text.contains("[not-found]"), "{again:?}");
}

#[test]
fn the_way_back_leaves_nothing_of_the_restore_to_do() {
    let scene = Scene::new(Appliance::replacement());
    scene.restore_here();
    assert!(scene.status().tasks.is_some());
    assert_eq!(scene.say("restore rollback", "Y\n").status, Some(0));
    scene.machine.wait_for_reboot(2).unwrap();
    let status = scene.machine.wait_until_idle().unwrap();
    assert_eq!((status.tasks, status.checkin), (None, None));
    assert!(!login(&scene, "exit\n").contains(LIST[0]));
}
