//! Restores that succeed and leave an appliance that is not healthy, or that never come to their end.

use std::fs;
use std::time::Duration;

use reinstate_agent::job::{MAX_BOOTS, MAX_REBOOTS};
use reinstate_api::{Code, Phase};

use crate::scene::{Scene, Stage, empty_run, replacement, until};
use crate::trial::Job;

#[test]
fn a_missing_management_address_takes_the_restore_back_once() {
    let scene = Scene::get();
    // The address is read where no backup brings it.
    let profile = "[management]\naddresses = { file = \"/etc/appliance/address\", key = \"Address\" }\n\
                   [health]\nunits = []\ndeadline = 1\n";
    let appliance = replacement().profile_override(profile).file(
        "etc/appliance/address",
        "Address=192.168.45.45/24\n",
        0o644,
    );
    let mut trial = scene.trial_of(&appliance);
    trial.machine.start().unwrap();
    let old = trial.picture();
    let entry = trial.play(&Job::restore(&scene));
    assert!(entry.outcome.failures()[0].message.contains("192.0.2.10/24"), "{entry:?}");
    assert!(entry.outcome.failures()[0].message.contains("192.168.45.45/24"), "{entry:?}");
    trial.assert_rolled_back(&old, Code::Unhealthy);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(trial.machine.reboots(), 2, "there and back, and no more");
}

#[test]
fn a_critical_unit_that_fails_takes_the_restore_back_once() {
    let scene = Scene::get();
    let marker = tempfile::tempdir().unwrap();
    let marker = marker.path().join("marker");
    let shown = marker.display();
    let profile = format!(
        "[validators]\nimage = [\"/usr\", \"/etc/ld.so.cache\", \"{shown}\"]\n\
         [health]\nunits = [\"systemd-networkd.service\"]\ndeadline = 1\n"
    );
    let network = format!(
        "name = \"network\"\nversion = 1\npaths = [\"/etc/systemd/network/\"]\n\
         except = [\"/etc/systemd/network/*.link\"]\nrestore = \"replace\"\n\
         units = [\"systemd-networkd.service\"]\nvalidate = [\"/usr/bin/test\", \"!\", \"-e\", \"{shown}\"]\n"
    );
    let appliance = replacement().profile_override(&profile).domain_override("network", &network);
    let mut trial = scene.trial_of(&appliance);
    trial.machine.start().unwrap();
    let old = trial.picture();
    trial.drive(&Job::restore(&scene)).join().unwrap();
    until("the commit", || trial.state().job.is_some_and(|job| job.phase() >= Phase::Committed));
    fs::write(&marker, "").unwrap();
    trial.machine.wait_until_idle().unwrap();
    let entry = &trial.history()[0];
    assert!(entry.outcome.failures()[0].message.contains("systemd-networkd.service"), "{entry:?}");
    trial.assert_rolled_back(&old, Code::Unhealthy);
    // The old one is not healthy either now: that is no reason to go anywhere.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(trial.machine.reboots(), 2, "there and back, and no more");
}

#[test]
fn an_agent_that_never_starts_after_the_activation_is_taken_back_by_the_boots() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Committed);
    let mut boots = 0;
    while boots == 0 || trial.is(&scene.new) {
        assert!(trial.activate(None));
        boots += 1;
        assert!(boots <= 10, "it never goes back");
    }
    println!("the old configuration was back after {boots} boots, {MAX_BOOTS} of them undecided");
    assert_eq!(boots, MAX_BOOTS + 2, "the activation, {MAX_BOOTS} chances, the way back");
    trial.assert_is(&scene.old, "taken back");
    for _ in 0..MAX_BOOTS + 1 {
        assert!(trial.activate(None));
        trial.assert_is(&scene.old, "it stays there");
    }
    trial.machine.start().unwrap();
    trial.machine.wait_until_idle().unwrap();
    trial.assert_rolled_back(&scene.old, Code::Unhealthy);
}

#[test]
fn a_reboot_that_never_comes_is_asked_for_a_few_times_only() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Committed);
    let asked = trial.root.join("run/reinstate/reboot");
    empty_run(&trial.root);
    for start in 1..=MAX_REBOOTS + 2 {
        let mut daemon = trial.spawn("serve", None);
        until("the daemon answers", || trial.machine.status().is_ok());
        if start <= MAX_REBOOTS {
            until("a reboot is asked for", || asked.exists());
            fs::remove_file(&asked).unwrap();
        } else {
            std::thread::sleep(Duration::from_millis(1500));
            assert!(!asked.exists(), "start {start}");
            let status = trial.machine.status().unwrap();
            let notes = status.job.unwrap().notes.join("\n");
            assert!(notes.contains("restart the appliance by hand"), "{notes}");
            assert!(status.lock.is_some());
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        trial.assert_is(&scene.old, "nothing is edited before a boot");
    }
    trial.machine.start().unwrap();
    trial.machine.wait_until_idle().unwrap();
    assert!(trial.assert_old_or_new(&scene.old, &scene.new, 0, "restarted by hand"));
}

#[test]
fn a_restore_after_which_the_appliance_cannot_be_looked_at_is_taken_back() {
    let scene = Scene::get();
    // The model is read from a file that the backup lacks.
    let profile = "[identity]\nmodel = { file = \"/etc/appliance/pki/model\" }\n[health]\ndeadline = 1\n";
    let appliance =
        replacement().profile_override(profile).file("etc/appliance/pki/model", "MODEL=VFW-100\n", 0o644);
    let mut trial = scene.trial_of(&appliance);
    trial.machine.start().unwrap();
    let old = trial.picture();
    let entry = trial.play(&Job::restore(&scene));
    assert!(entry.outcome.failures()[0].message.contains("health cannot be told"), "{entry:?}");
    trial.assert_rolled_back(&old, Code::Unhealthy);
}
