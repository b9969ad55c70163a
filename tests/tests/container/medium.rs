//! Backups on media of each kind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reinstate_tests::container::apart;
use reinstate_tests::donor::ADDRESS;

use crate::donor::donor;
use crate::replacement::Replacement;

const LABEL: &str = "REINSTATE";

/// Makes an image of a folder, and gives what unpacks it without the kernel's help.
type Make = fn(&Path, &Path, &Path) -> [Command; 2];

/// Copies the backup from a medium of this kind, then restores it.
fn import(kind: &'static str, make: Make) {
    apart(kind, |site| {
        let donor = donor();
        let mut new = Replacement::boot(site);
        let missing = new.shell("backup import medium", "");
        assert_eq!(missing.status, Some(1), "{missing:?}");
        assert!(missing.out.contains("there is no medium with the label REINSTATE"), "{missing:?}");

        let place = tempfile::tempdir().unwrap();
        let [content, image, unpacked] = ["content", "image", "unpacked"].map(|name| place.path().join(name));
        fs::create_dir(&content).unwrap();
        fs::write(content.join(&donor.file), &donor.archive).unwrap();
        fs::create_dir(&unpacked).unwrap();
        let [mut make, mut unpack] = make(&content, &image, &unpacked);
        run(&mut make);
        let known = fs::read_to_string("/proc/filesystems").unwrap();
        let known = known.lines().any(|line| line.trim() == kind);
        let disk = new.container.insert(&image, LABEL);
        if !known {
            println!(
                "{kind}: not in this machine's kernel; its files are shown instead, its driver is not tried"
            );
            run(&mut unpack);
            shown_instead(&new, &unpacked);
        }
        let said = new.shell("backup import medium", "");
        assert!(said.ok && said.out.contains(&donor.file), "{said:?}");
        let copied = new.container.root().join("var/sf/backup").join(&donor.file);
        assert_eq!(fs::read(copied).unwrap(), donor.archive);
        let owner = new.container.look(&format!("stat -c %U /var/sf/backup/{}", donor.file));
        assert_eq!(owner, "reinstate\n");
        let mount = new.container.look("findmnt -nro FSTYPE,OPTIONS /run/reinstate/medium");
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(mount.trim().split([' ', ',']).any(|word| word == option), "{option}: {mount}");
        }
        if known {
            assert!(mount.starts_with(kind), "{mount}");
        }
        let said = new.shell(&format!("restore remote-manager-backup {}", donor.file), "Y\n");
        assert!(said.ok, "{said:?}");
        drop(disk);
        new.container.restarts();
        new.container.wait_for_ssh(ADDRESS);
        let shown = new.end_of_job();
        assert!(shown.contains(": succeeded"), "{shown}");
    });
}

/// The mount unit shows a folder in place of the device.
fn shown_instead(new: &Replacement, unpacked: &Path) {
    let folder = new.container.root().join("srv/medium");
    run(Command::new("cp").arg("-r").arg(unpacked).arg(folder));
    let what = "[Mount]\nWhat=/srv/medium\nType=none\nOptions=bind,ro,nosuid,nodev,noexec\n";
    new.container.drop_in("run-reinstate-medium.mount", what);
    new.container.look("systemctl daemon-reload");
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn empty(image: &Path) -> PathBuf {
    fs::File::create(image).unwrap().set_len(64 << 20).unwrap();
    image.to_owned()
}

/// A command of words and paths.
fn command(program: &str, words: &[&dyn AsRef<std::ffi::OsStr>]) -> Command {
    let mut command = Command::new(program);
    command.args(words.iter().map(|word| word.as_ref()));
    command
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn the_backup_on_a_disk_is_copied_and_restored() {
    import("ext4", |content, image, _| {
        let make = command("mke2fs", &[&"-q", &"-t", &"ext4", &"-L", &LABEL, &"-d", &content, &empty(image)]);
        [make, Command::new("false")]
    });
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn the_backup_on_a_disc_is_copied_and_restored() {
    import("iso9660", |content, image, unpacked| {
        let make = command(
            "xorriso",
            &[&"-as", &"mkisofs", &"-quiet", &"-R", &"-V", &LABEL, &"-o", &image, &content],
        );
        let unpack =
            command("xorriso", &[&"-osirrox", &"on", &"-indev", &image, &"-extract", &"/", &unpacked]);
        [make, unpack]
    });
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn the_backup_on_a_stick_is_copied_and_restored() {
    import("vfat", |content, image, unpacked| {
        let format = command("mkfs.vfat", &[&"-n", &LABEL, &empty(image)]).output().unwrap();
        assert!(format.status.success(), "{format:?}");
        let file = fs::read_dir(content).unwrap().next().unwrap().unwrap().path();
        let make = command("mcopy", &[&"-i", &image, &file, &"::/"]);
        let unpack = command("mcopy", &[&"-i", &image, &"-s", &"::/*", &unpacked]);
        [make, unpack]
    });
}
