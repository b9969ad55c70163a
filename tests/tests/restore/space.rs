//! No space and no inodes: file systems that are really too small, in a mount namespace of their own.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use reinstate_api::{Code, Phase};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::sshd::{Sshd, SshdOptions};

use crate::scene::{Donor, FILE, PROGRAM, Scene};

/// A replacement whose `folder` is a file system of its own, with these options of tmpfs.
pub fn with_file_system(folder: &str, options: &str) -> Scene {
    assert!(nix::unistd::geteuid().is_root(), "a small file system needs root: run the tests as root");
    Scene::run_by(Donor::usual(), Appliance::replacement(), |place, root| {
        script(place, root, folder, options)
    })
}

fn script(place: &Path, root: &Path, folder: &str, options: &str) -> PathBuf {
    let at = root.join(folder);
    fs::create_dir_all(&at).unwrap();
    let path = place.join("program");
    // Only the agent sees the mount, and it goes with the agent.
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = reinstated ] || exec {PROGRAM} \"$@\"\nexec unshare --mount sh -c \
         'mount -t tmpfs -o {options} small {at} && exec {PROGRAM} \"$@\"' sh \"$@\"\n",
        at = at.display()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn too_little_space_is_refused_with_what_is_needed_and_what_is_free() {
    let scene = with_file_system("var/lib/reinstate", "size=8m,nr_inodes=10000");
    let refused = scene.refused_here();
    let failure = refused.alone(Code::NoSpace, &["bytes are needed", "are free"]);
    let numbers = numbers(&failure.message);
    assert!(numbers[0] > 16 << 20 && numbers[1] <= 8 << 20, "{failure}");
}

#[test]
fn too_few_inodes_are_refused_with_what_is_needed_and_what_is_free() {
    let scene = with_file_system("var/lib/reinstate", "size=64m,nr_inodes=300");
    let refused = scene.refused_here();
    let failure = refused.alone(Code::NoInodes, &["are needed", "are free"]);
    let numbers = numbers(&failure.message);
    assert!(numbers[0] > numbers[1] && numbers[1] < 300, "{failure}");
}

#[test]
fn a_download_that_does_not_fit_is_refused_before_its_first_byte() {
    let scene = with_file_system("var/sf/backup", "size=8m");
    let authorized_keys = vec![scene.public_key()];
    let server = Sshd::start(&SshdOptions { authorized_keys, ..SshdOptions::default() });
    let given = format!("fingerprint {}", server.fingerprint());
    let refused = scene.refused(&scene.from(server.address(), server.user(), FILE, &given), "Y\n");
    refused.alone(Code::NoSpace, &["/var/sf/backup", "bytes are needed", "are free"]);
    assert_eq!(crate::scene::names(&scene.daemons_root().join("var/sf/backup")), Default::default());
}

#[test]
fn a_disk_that_fills_up_while_the_question_is_open_ends_in_one_error_and_leaves_nothing_behind() {
    let scene = with_file_system("var/lib/reinstate", "size=40m,nr_inodes=10000");
    let before = scene.untouched();
    assert_eq!(scene.say(&format!("restore remote-manager-backup {FILE}"), "").status, Some(1));
    scene.wait_for_confirm();
    let filler = scene.daemons_root().join("var/lib/reinstate/filler");
    let mut file = fs::File::create(&filler).unwrap();
    let full = (0..).find_map(|_| file.write_all(&[1; 4096]).err()).unwrap();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    // The record of the job needs a page at every step.
    file.set_len(file.metadata().unwrap().len() - (64 << 10)).unwrap();
    let said = scene.say("show restore", "Y\n");
    assert_eq!(said.status, Some(1), "{said:?}");
    fs::remove_file(&filler).unwrap();
    let refused = scene.failed(&before);
    refused.alone(Code::NoSpace, &["No space left on device"]);
    assert_eq!(scene.history()[0].phase, Phase::Snapshotting);
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
}
