//! The sandbox as a newcomer runs it, and the machines that it is made of.

use std::path::Path;
use std::process::{Command, Output};

use reinstate_tests::appliance::{Appliance, reference_profile};
use reinstate_tests::machine::Machine;

const BINARY: &str = env!("CARGO_BIN_EXE_sandbox");
const CHECK: &str = "restore remote-manager-backup location {location} backup {file} check";

fn sandbox(arguments: &[&str], temporary: &Path) -> (Output, String) {
    let output = Command::new(BINARY)
        .args(arguments)
        .env("TMPDIR", temporary)
        .output()
        .expect("the sandbox is there: it was built for this test");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

#[test]
fn the_sandbox_answers_the_questions_of_a_command_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let (output, text) = sandbox(&["--run", CHECK], temporary.path());
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Nothing was changed"), "{text}");
    let left = std::fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(left, 0, "{text}");
}

#[test]
fn the_sandbox_fails_where_one_of_its_commands_fails() {
    let temporary = tempfile::tempdir().unwrap();
    let missing = CHECK.replace("{file}", "fw-b_20260101000000.tar");
    let (output, text) = sandbox(&["--run", &missing, "--run", "show version"], temporary.path());
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("fw-b_20260101000000.tar"), "{text}");
}

#[test]
fn a_checker_that_is_not_installed_is_left_out_and_said_so() {
    let temporary = tempfile::tempdir().unwrap();
    let profile = temporary.path().join("vendor");
    for part in ["profile.d", "domains.d"] {
        std::fs::create_dir_all(profile.join(part)).unwrap();
        for file in std::fs::read_dir(reference_profile().join(part)).unwrap() {
            let file = file.unwrap();
            let text = std::fs::read_to_string(file.path()).unwrap();
            let text = text.replace("/usr/sbin/nft", "/usr/sbin/no-such-checker");
            std::fs::write(profile.join(part).join(file.file_name()), text).unwrap();
        }
    }
    let profile = profile.to_str().unwrap();
    let (output, text) = sandbox(&["--profile", profile, "--run", CHECK], temporary.path());
    assert!(output.status.success(), "{text}");
    assert!(text.contains("/usr/sbin/no-such-checker is not installed: domain 'firewall'"), "{text}");
}

#[test]
fn a_vendor_s_tree_is_copied_and_its_replacement_has_another_serial() {
    let temporary = tempfile::tempdir().unwrap();
    let tree = temporary.path().join("tree");
    Appliance::donor("edge-1").build(&tree).unwrap();
    let keep = temporary.path().join("kept");
    let arguments = ["--root", tree.to_str().unwrap(), "--keep", keep.to_str().unwrap(), "--run", CHECK];
    let (output, text) = sandbox(&arguments, temporary.path());
    assert!(output.status.success(), "{text}");
    let serial = |root: &Path| std::fs::read_to_string(root.join("sys/class/dmi/id/product_serial")).unwrap();
    assert_eq!(serial(&tree), serial(&keep.join("donor")));
    assert_ne!(serial(&tree), serial(&keep.join("replacement")));
    assert!(!tree.join("var/lib/reinstate").exists());
}

#[test]
fn a_machine_comes_back_after_a_crash_and_after_a_power_cut() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("fw");
    Appliance::replacement().build(&root).unwrap();
    let mut machine = Machine::new(BINARY, &root);
    machine.start().unwrap();
    assert!(machine.start().is_err(), "it runs already");

    machine.kill9();
    assert!(machine.status().is_err());
    machine.restart_daemon().unwrap();
    assert_eq!(machine.status().unwrap().active, 0);

    machine.power().cut();
    assert_eq!(machine.daemon(), None);
    machine.start().unwrap();
    let said = machine.shell("show version", "").unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{text}");
    assert!(text.contains("Version 7.4.1 (Build 172)"), "{text}");
    machine.stop();
    assert_eq!((machine.daemon(), machine.reboots()), (None, 0));
}

#[test]
fn a_machine_boots_again_when_its_agent_asks_for_it() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("fw");
    Appliance::replacement().build(&root).unwrap();
    let mut machine = Machine::new(BINARY, &root);
    machine.start().unwrap();
    let before = machine.daemon();
    std::fs::write(root.join("run/reinstate/reboot"), "").unwrap();
    std::fs::write(root.join("run/left-over"), "").unwrap();
    machine.wait_for_reboot(1).unwrap();
    assert_ne!(machine.daemon(), before);
    assert!(!root.join("run/left-over").exists());
    assert_eq!(machine.wait_until_idle().unwrap().job, None);
}
