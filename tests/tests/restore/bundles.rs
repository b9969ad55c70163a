//! Bundles of a cluster, made by tar as a manager makes them: shown, taken apart, and refused as archives.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use reinstate_api::{BackupEntry, Code, Role};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::relay::Relay;
use reinstate_tests::sshd::{Sshd, SshdOptions};
use serde_json::json;

use crate::scene::{FILE, Said, Scene, names};

const BUNDLE: &str = "edge.20260105080000.tar.gz";
const A: &str = "fw-a_20260105080000.tar";
/// Not a backup that this appliance could use, yet a whole one: in a bundle its name is another node's.
const B: &str = "fw-b_20260105080000.tar";

/// A replacement with nothing but this in its backup folder.
fn with(name: &str, bundle: &[u8], scene: Scene) -> Scene {
    fs::remove_file(scene.kept(FILE)).unwrap();
    scene.keep(name, bundle);
    scene
}

fn with_bundle() -> Scene {
    let scene = Scene::new(Appliance::replacement());
    let bundle = bundle(&[(A, &scene.donor.archive), (B, &scene.donor.archive)]);
    with(BUNDLE, &bundle, scene)
}

/// What `tar -cz` makes of these archives.
fn bundle(archives: &[(&str, &[u8])]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in archives {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(folder.path()).arg("-cz").args(archives.iter().map(|(name, _)| name));
    let output = tar.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn done(said: &Said, values: &[&str]) {
    assert_eq!(said.status, Some(0), "{said:?}");
    holds(said, values);
}

fn refused(said: &Said, code: Code, values: &[&str]) {
    assert_eq!(said.status, Some(1), "{said:?}");
    holds(said, &[&format!("[{code}]")]);
    holds(said, values);
}

fn holds(said: &Said, values: &[&str]) {
    for value in values {
        assert!(said.text.contains(value), "'{value}' is not in {said:?}");
    }
}

fn kept(scene: &Scene) -> Vec<String> {
    names(&scene.root().join(reinstate_api::BACKUP_FOLDER)).into_iter().collect()
}

#[test]
fn a_bundle_is_listed_with_its_nodes_and_a_damaged_one_with_its_problem() {
    let scene = with_bundle();
    let mut damaged = fs::read(scene.kept(BUNDLE)).unwrap();
    let crc = damaged.len() - 8;
    damaged[crc] ^= 1;
    scene.keep("damaged.tar.gz", &damaged);
    let said = scene.say("show backups", "");
    done(&said, &[BUNDLE, "edge", "bundle of archives", "backup extract BUNDLE [NODE]"]);
    for (file, word) in [(A, "standalone"), (B, "standalone"), ("damaged.tar.gz", "not usable: ")] {
        let line = said.text.lines().find(|line| line.contains(file)).unwrap();
        assert!(line.contains(word), "{line}");
    }
    let listed: Vec<BackupEntry> = scene.machine.client().get("/v1/backups").unwrap();
    let entry = listed.iter().find(|entry| entry.file == BUNDLE).unwrap();
    let archives = &entry.bundle.as_ref().unwrap().archives;
    let seen: Vec<_> = archives.iter().map(|one| (&*one.file, &*one.hostname, one.role, one.bytes)).collect();
    let size = scene.donor.archive.len() as u64;
    assert_eq!(seen, [(A, "fw-a", Role::Standalone, size), (B, "fw-a", Role::Standalone, size)]);
    assert!(archives.iter().all(|one| one.created.is_some() && one.problem.is_empty()), "{archives:?}");
    assert_eq!(kept(&scene), ["damaged.tar.gz", BUNDLE], "nothing is unpacked");
}

#[test]
fn one_node_is_taken_out_of_a_bundle_and_restored() {
    let scene = with_bundle();
    done(&scene.say(&format!("backup extract {BUNDLE} {A}"), ""), &[A, "is here now"]);
    assert_eq!(fs::read(scene.kept(A)).unwrap(), scene.donor.archive);
    assert_eq!(kept(&scene), [BUNDLE, A]);
    assert_eq!(fs::metadata(scene.kept(A)).unwrap().permissions().mode() & 0o7777, 0o640);
    done(&scene.say(&format!("backup extract {BUNDLE} fw-b"), ""), &[B, "is here now"]);
    scene.restore_here();
}

#[test]
fn all_nodes_are_taken_out_and_once_more_is_no_error() {
    let scene = with_bundle();
    let answer = scene.machine.client().call("POST", "/v1/backups/extract", Some(&json!({"bundle": BUNDLE})));
    let bytes = scene.donor.archive.len();
    let files = json!([{"file": A, "bytes": bytes}, {"file": B, "bytes": bytes}]);
    assert_eq!(answer.unwrap(), (200, json!({"files": files, "there": []})));
    done(&scene.say(&format!("backup extract {BUNDLE}"), ""), &["is here already", A, B]);
    assert_eq!(kept(&scene), [BUNDLE, A, B]);
}

#[test]
fn what_cannot_be_taken_out_is_said_and_nothing_stays() {
    let scene = with_bundle();
    scene.keep(B, b"another");
    let extract = |more: &str| scene.say(&format!("backup extract {more}"), "");
    refused(&extract(BUNDLE), Code::BackupExists, &[B, "7 bytes"]);
    // Both manifests say fw-a.
    refused(&extract(&format!("{BUNDLE} fw-a")), Code::BadRequest, &["2 archives", A, B]);
    refused(&extract(&format!("{BUNDLE} fw-c")), Code::NotFound, &["'fw-c'", A, B]);
    refused(&extract("none.tar.gz"), Code::NotFound, &["none.tar.gz", "show backups"]);
    for body in [json!({"bundle": "../x.tar"}), json!({"bundle": BUNDLE, "to": "/etc"}), json!({})] {
        let (status, answer) =
            scene.machine.client().call("POST", "/v1/backups/extract", Some(&body)).unwrap();
        assert_eq!((status, &answer["failures"][0]["code"]), (400, &json!("bad-request")), "{body}");
    }
    assert_eq!(kept(&scene), [BUNDLE, B]);
    assert_eq!(fs::read(scene.kept(B)).unwrap(), b"another");
}

#[test]
fn nothing_is_taken_out_of_a_bundle_while_a_restore_runs() {
    let scene = with_bundle();
    scene.keep("one.tar", &scene.donor.archive);
    assert_eq!(scene.say("restore remote-manager-backup one.tar", "").status, Some(1));
    scene.wait_for_confirm();
    refused(&scene.say(&format!("backup extract {BUNDLE}"), ""), Code::Busy, &["awaiting-answer"]);
    assert_eq!(kept(&scene), [BUNDLE, "one.tar"]);
}

#[test]
fn archives_that_do_not_fit_are_refused_before_their_first_byte() {
    let scene = crate::space::with_file_system("var/sf/backup", "size=20m");
    let folder = scene.daemons_root().join("var/sf/backup");
    let bundle = bundle(&[(A, &scene.donor.archive), (B, &scene.donor.archive)]);
    fs::write(folder.join(BUNDLE), bundle).unwrap();
    fs::write(folder.join("filler"), vec![1; 4 << 20]).unwrap();
    let said = scene.say(&format!("backup extract {BUNDLE}"), "");
    refused(&said, Code::NoSpace, &["/var/sf/backup", "bytes are needed", "are free"]);
    assert_eq!(names(&folder).into_iter().collect::<Vec<_>>(), [BUNDLE, "filler"]);
}

#[test]
fn a_restore_that_is_given_a_bundle_says_what_is_in_it_and_how_to_take_it_out() {
    let scene = with_bundle();
    let told = scene.refused(&format!("restore remote-manager-backup backup {BUNDLE}"), "Y\n");
    let failure = told.alone(Code::ArchiveBundle, &[BUNDLE, "of the cluster edge", A, B]);
    assert!(failure.hint.contains(&format!("backup extract {BUNDLE}")), "{failure:?}");
    assert_eq!(kept(&scene), [BUNDLE]);
}

/// A server with the bundle, behind a relay that counts what it sends.
fn server(scene: &Scene) -> (Sshd, Relay) {
    let authorized_keys = vec![scene.public_key()];
    let server = Sshd::start(&SshdOptions { authorized_keys, ..SshdOptions::default() });
    let relay = Relay::to(server.address());
    (server, relay)
}

#[test]
fn a_bundle_on_a_server_is_fetched_refused_and_taken_apart_without_being_fetched_again() {
    let scene = with_bundle();
    let bytes = fs::read(scene.kept(BUNDLE)).unwrap();
    fs::remove_file(scene.kept(BUNDLE)).unwrap();
    scene.serve(BUNDLE, &bytes);
    let (server, relay) = server(&scene);
    let given = format!("fingerprint {}", server.fingerprint());
    let told = scene.refused(&scene.from(relay.address(), server.user(), BUNDLE, &given), "Y\n");
    told.alone(Code::ArchiveBundle, &[BUNDLE, "of the cluster edge", A, B]);
    assert!(told.said.text.contains("is a bundle of archives"), "{:?}", told.said);
    assert_eq!(kept(&scene), [BUNDLE]);
    assert_eq!(fs::read(scene.kept(BUNDLE)).unwrap(), bytes);
    done(&scene.say(&format!("backup extract {BUNDLE} {A}"), ""), &["is here now"]);
    scene.restore_here();
}

#[test]
fn a_bundle_on_a_server_replaces_no_other_and_a_damaged_one_does_not_stay() {
    let scene = with_bundle();
    let bytes = fs::read(scene.kept(BUNDLE)).unwrap();
    scene.keep(BUNDLE, b"another");
    scene.serve(BUNDLE, &bytes);
    scene.serve("damaged.tar.gz", &bytes[..bytes.len() - 1]);
    let (server, relay) = server(&scene);
    let given = format!("fingerprint {}", server.fingerprint());
    let told = scene.refused(&scene.from(relay.address(), server.user(), BUNDLE, &given), "Y\n");
    told.alone(Code::BackupExists, &[BUNDLE, "7 bytes"]);
    let told = scene.refused(&scene.from(relay.address(), server.user(), "damaged.tar.gz", &given), "Y\n");
    told.alone(Code::ArchiveInvalid, &["is cut"]);
    assert_eq!(kept(&scene), [BUNDLE]);
    assert_eq!(fs::read(scene.kept(BUNDLE)).unwrap(), b"another");
}

#[test]
fn a_bundle_on_a_medium_is_copied_and_taken_apart() {
    let scene = with_bundle();
    let medium = scene.root().join("run/reinstate/medium");
    fs::create_dir_all(&medium).unwrap();
    fs::rename(scene.kept(BUNDLE), Path::new(&medium).join(BUNDLE)).unwrap();
    done(&scene.say("backup import medium", ""), &[BUNDLE]);
    done(&scene.say(&format!("backup extract {BUNDLE} {A}"), ""), &[A, "is here now"]);
    assert_eq!(kept(&scene), [BUNDLE, A]);
}
