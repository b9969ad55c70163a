//! Every check of the machine against the backup, each failing alone: nothing is changed.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use reinstate_api::{Code, Lock, Phase, Status};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::forge;
use reinstate_tests::relay::Relay;
use reinstate_tests::sshd::{Sshd, SshdOptions};
use serde_json::json;

use crate::scene::{FILE, Scene};

const MANAGER: &str = "manager.example.net";

fn refused_alone(replacement: Appliance, code: Code, values: &[&str]) {
    Scene::new(replacement).refused_here().alone(code, values);
}

#[test]
fn a_backup_of_another_model_is_refused() {
    refused_alone(Appliance::replacement().model("VFW-200"), Code::ModelMismatch, &["VFW-100", "VFW-200"]);
}

#[test]
fn another_number_of_network_modules_is_refused() {
    let replacement = Appliance::replacement().network_modules(2);
    refused_alone(replacement, Code::NetworkModulesMismatch, &["the backup's is 0", "this appliance's is 2"]);
}

#[test]
fn an_interface_in_another_slot_is_refused() {
    let replacement = Appliance::replacement().without_interface("0000:1b:00.0").interface(
        "0000:1c:00.0",
        "vmxnet3",
        "eth3",
        "00:50:56:00:00:01",
    );
    refused_alone(replacement, Code::InterfacesMismatch, &["data1", "0000:1b:00.0", "0000:1c:00.0"]);
}

#[test]
fn an_interface_of_another_type_is_refused() {
    let replacement =
        Appliance::replacement().interface("0000:13:00.0", "virtio_net", "eth2", "52:54:00:00:00:01");
    refused_alone(replacement, Code::InterfacesMismatch, &["data0", "vmxnet3", "virtio_net"]);
}

#[test]
fn a_missing_interface_is_refused() {
    let replacement = Appliance::replacement().without_interface("0000:1b:00.0");
    refused_alone(replacement, Code::InterfacesMismatch, &["data1", "vmxnet3 at 0000:1b:00.0", "has none"]);
}

#[test]
fn another_version_is_refused() {
    refused_alone(Appliance::replacement().version("7.4.2"), Code::VersionMismatch, &["7.4.1", "7.4.2"]);
}

#[test]
fn another_build_is_refused() {
    refused_alone(Appliance::replacement().build_number("173"), Code::BuildMismatch, &["172", "173"]);
}

#[test]
fn another_patch_level_is_refused_and_the_vendor_says_how_to_get_there() {
    let scene = Scene::new(Appliance::replacement().patch("3"));
    let refused = scene.refused_here();
    let failure = refused.alone(Code::PatchMismatch, &["the backup's is 2", "this appliance's is 3"]);
    assert!(failure.hint.contains("Install the backup's version"), "{}", failure.hint);
}

#[test]
fn a_missing_hotfix_is_refused_by_name() {
    let replacement = Appliance::replacement().without_hotfix("HF-7.4.1.2-004");
    refused_alone(
        replacement,
        Code::HotfixMismatch,
        &["missing here: HF-7.4.1.2-004", "too many here: none"],
    );
}

#[test]
fn an_extra_hotfix_is_refused_by_name() {
    let replacement = Appliance::replacement().hotfix("HF-7.4.1.2-009");
    refused_alone(
        replacement,
        Code::HotfixMismatch,
        &["missing here: none", "too many here: HF-7.4.1.2-009"],
    );
}

#[test]
fn an_unsupported_hypervisor_is_refused() {
    let replacement = Appliance::replacement().hypervisor("Xen");
    refused_alone(replacement, Code::HypervisorUnsupported, &["Xen", "VMware, Inc.", "QEMU"]);
}

#[test]
fn a_registration_under_another_device_uuid_is_refused_until_it_is_deleted() {
    let donor = Appliance::donor("fw-a");
    let other = "0b8e2a55-7b1c-4f0a-9d31-5a7f0c9e1d22";
    let scene = Scene::new(Appliance::replacement().registered(MANAGER, other));
    let refused = scene.refused_here();
    let failure = refused.alone(Code::RegisteredOtherDevice, &[&donor.device().uuid, other]);
    assert!(failure.hint.contains("configure manager delete"), "{}", failure.hint);
    delete_manager_and_restore(&scene);
}

#[test]
fn a_registration_with_another_manager_is_refused_until_it_is_deleted() {
    let donor = Appliance::donor("fw-a");
    let scene =
        Scene::new(Appliance::replacement().registered("other-manager.example.net", &donor.device().uuid));
    let refused = scene.refused_here();
    let failure = refused.alone(Code::RegisteredOtherManager, &[MANAGER, "other-manager.example.net"]);
    assert!(failure.hint.contains("configure manager delete"), "{}", failure.hint);
    delete_manager_and_restore(&scene);
}

/// The manager is a name that does not resolve: nobody is asked.
fn delete_manager_and_restore(scene: &Scene) {
    let said = scene.say("configure manager delete", "Y\n");
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.text.contains("ghost"), "{said:?}");
    assert!(scene.say("show managers", "").text.contains("No managers configured."));
    scene.restore_here();
    let said = scene.say("show managers", "").text;
    assert!(said.contains(MANAGER) && said.contains("Completed"), "{said}");
}

#[test]
fn the_same_registration_is_an_in_place_restore_and_goes_through() {
    let donor = Appliance::donor("fw-a");
    Scene::new(Appliance::replacement().registered(MANAGER, &donor.device().uuid)).restore_here();
}

#[test]
fn a_file_name_of_another_role_is_refused() {
    let scene = Scene::new(Appliance::replacement());
    let file = "fw-a_secondary_20260105080000.tar";
    scene.keep(file, &scene.donor.archive);
    let refused = scene.refused(&format!("restore remote-manager-backup backup {file}"), "Y\n");
    refused.alone(Code::RoleMismatch, &["secondary", "standalone", file]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let scene = Scene::new(
        Appliance::replacement()
            .model("VFW-200")
            .network_modules(1)
            .without_interface("0000:1b:00.0")
            .version("7.4.2")
            .build_number("180")
            .patch("9")
            .hotfix("HF-7.4.2-001")
            .hypervisor("Xen")
            .registered("other-manager.example.net", "0b8e2a55-7b1c-4f0a-9d31-5a7f0c9e1d22")
            .without("usr/lib/reinstate/domains.d/pki.toml"),
    );
    let file = "fw-a_primary_20260105080000.tar";
    scene.keep(file, &scene.donor.archive);
    let refused = scene.refused(&format!("restore remote-manager-backup backup {file}"), "Y\n");
    let expected = BTreeSet::from([
        Code::ModelMismatch,
        Code::NetworkModulesMismatch,
        Code::InterfacesMismatch,
        Code::VersionMismatch,
        Code::BuildMismatch,
        Code::PatchMismatch,
        Code::HotfixMismatch,
        Code::HypervisorUnsupported,
        Code::RegisteredOtherDevice,
        Code::RegisteredOtherManager,
        Code::RoleMismatch,
        Code::DomainUnknown,
    ]);
    assert_eq!(refused.codes(), expected);
    assert_eq!(refused.failures.len(), expected.len());
}

#[test]
fn a_second_restore_is_refused_while_one_waits_for_its_answer() {
    let scene = Scene::new(Appliance::replacement());
    let command = format!("restore remote-manager-backup {FILE}");
    // Nobody answers: the shell ends, the job waits.
    assert_eq!(scene.say(&command, "").status, Some(1));
    let first = scene.wait_for_confirm();
    let untouched = scene.untouched();
    let said = scene.say(&command, "Y\n");
    assert_eq!(said.status, Some(1));
    let id = first.id.to_string();
    for part in ["[busy]", &id, "awaiting-answer"] {
        assert!(said.text.contains(part), "{part} is not in {said:?}");
    }
    let body = json!({ "source": { "backup": FILE } });
    let (status, answer) = scene.machine.client().call("POST", "/v1/restore", Some(&body)).unwrap();
    assert_eq!((status, &answer["failures"][0]["code"]), (409, &json!("busy")));
    assert_eq!(untouched.differences(&scene.untouched()), Vec::<String>::new());
    assert_eq!(scene.job().id, first.id, "the first job is still the one that waits");
    assert_eq!(scene.say("show restore", "Y\n").status, Some(0));
    scene.restored(1);
}

#[test]
fn a_restore_lock_of_another_restore_is_respected_and_its_holder_named() {
    let scene = Scene::new(Appliance::replacement());
    let lock = Lock {
        id: "7d3c1a52-8f0e-4b43-9a53-0c7f5f0f6a10".parse().unwrap(),
        device: "0b8e2a55-7b1c-4f0a-9d31-5a7f0c9e1d22".into(),
        hostname: "fw-b".into(),
        by: "alice".into(),
        since: "2026-01-05T08:00:00Z".parse().unwrap(),
        phase: Phase::Snapshotting,
        without: Vec::new(),
    };
    let file = scene.root().join("var/lib/reinstate/restore.lock");
    let text = toml::to_string(&lock).unwrap();
    fs::write(&file, &text).unwrap();
    let before = scene.untouched();
    let said = scene.say(&format!("restore remote-manager-backup {FILE}"), "Y\n");
    assert_eq!(said.status, Some(1));
    for part in ["[lock-held]", "fw-b", "alice", "2026-01-05", "snapshotting"] {
        assert!(said.text.contains(part), "{part} is not in {said:?}");
    }
    let Status { job, lock: held, .. } = scene.status();
    let outcome = job.unwrap().outcome.unwrap();
    assert_eq!(outcome.failures().iter().map(|f| f.code).collect::<Vec<_>>(), [Code::LockHeld]);
    assert_eq!(scene.history()[0].outcome, outcome);
    assert_eq!(held, Some(lock));
    assert_eq!(before.differences(&scene.untouched()), Vec::<String>::new());
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_wrong_model_is_refused_within_two_seconds_although_a_gibibyte_is_still_to_come_at_1_mb_a_second() {
    let scene = Scene::new(Appliance::replacement().model("VFW-200"));
    // Another one of that name would be refused as well.
    fs::remove_file(scene.kept(FILE)).unwrap();
    let archive = &scene.donor.archive;
    scene.serve(FILE, &archive[..forge::end_of(archive, 1).unwrap()]);
    fs::File::options().write(true).open(scene.served(FILE)).unwrap().set_len(1 << 30).unwrap();
    let authorized_keys = vec![scene.public_key()];
    let server = Sshd::start(&SshdOptions { authorized_keys, ..SshdOptions::default() });
    let relay = Relay::to(server.address());
    relay.limit(1_000_000);
    let given = format!("fingerprint {}", server.fingerprint());
    let before = scene.untouched();
    let begun = Instant::now();
    let said = scene.say(&scene.from(relay.address(), server.user(), FILE, &given), "");
    let took = begun.elapsed();
    assert_eq!(said.status, Some(1));
    scene.failed(&before).alone(Code::ModelMismatch, &["VFW-100", "VFW-200"]);
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    assert!(relay.sent() < 4 << 20, "{} bytes were fetched", relay.sent());
    assert!(!scene.kept(&format!("{FILE}.part")).exists(), "what is of no use stays");
}

#[test]
fn a_check_runs_everything_shows_every_change_and_changes_nothing() {
    let scene = Scene::new(Appliance::replacement());
    let before = scene.untouched();
    let said = scene.say(&format!("restore remote-manager-backup {FILE} check"), "");
    assert_eq!(said.status, Some(0), "{said:?}");
    for part in [
        "The check found nothing against this restore. Nothing was changed.",
        "etc/nftables.d/20-forward.nft",
        "etc/systemd/network/90-first-installation.network",
        "etc/swanctl/x509/site-b.pem",
    ] {
        assert!(said.text.contains(part), "{part} is not in\n{}", said.text);
    }
    assert!(!said.text.contains("(Y/N)"), "{said:?}");
    unchanged(&scene, &before);
    let last = scene.history().remove(0);
    assert!(last.outcome.is_success());
    assert_eq!(last.phase, Phase::Validating);
    assert_eq!((last.from, last.to), (0, 0));
    // What it said would happen is what happens.
    scene.restore_here();
}

#[test]
fn a_check_of_what_a_validator_refuses_fails_and_changes_nothing() {
    let scene = Scene::new(Appliance::replacement());
    let mut forge = forge::Forge::open(&scene.donor.archive).unwrap();
    forge.put("firewall", "etc/nftables.d/10-input.nft", "table inet appliance {\n").unwrap();
    scene.keep(FILE, &forge.write().unwrap());
    let refused = scene.refused(&format!("restore remote-manager-backup {FILE} check"), "");
    refused.alone(Code::ValidationFailed, &["firewall", "/usr/sbin/nft"]);
}

fn unchanged(scene: &Scene, before: &reinstate_tests::compare::Tree) {
    assert_eq!(before.differences(&scene.untouched()), Vec::<String>::new());
    assert_eq!(scene.status().lock, None);
    assert_eq!(scene.machine.reboots(), 0);
}
