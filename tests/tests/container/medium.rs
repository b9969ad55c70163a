//! Backups on media of each kind.

use std::fs;
use std::path::Path;
use std::process::Command;

use reinstate_tests::container::apart;
use reinstate_tests::donor::ADDRESS;
use reinstate_tests::must;
use reinstate_tests::vm::{Format, Medium};

use crate::donor::donor;
use crate::replacement::Replacement;

const LABEL: &str = "REINSTATE";

/// Copies the backup from a medium of this kind, then restores it. `unpack` gives what reads it without the kernel's help, into a folder.
fn import(kind: &'static str, format: Format, unpack: fn(&Path, &Path) -> Command) {
    apart(kind, |site| {
        let donor = donor();
        let mut new = Replacement::boot(site);
        // What is there so early, a new appliance takes by itself.
        let over = "journalctl -b -o cat -u reinstate-zero-touch.service | grep -q 'neither a medium nor a credential'";
        new.container.look(&format!("until {over}; do sleep 0.2; done"));
        let missing = new.shell("backup import medium", "");
        assert_eq!(missing.status, Some(1), "{missing:?}");
        assert!(missing.out.contains("there is no medium with the label REINSTATE"), "{missing:?}");

        let medium = Medium::new(site.folder(), format, &[(&donor.file, &donor.archive)]);
        let known = fs::read_to_string("/proc/filesystems").unwrap();
        let known = known.lines().any(|line| line.trim() == kind);
        let disk = new.container.insert(&medium.path, LABEL);
        if !known {
            println!(
                "{kind}: not in this machine's kernel; its files are shown instead, its driver is not tried"
            );
            let folder = new.container.root().join("srv/medium");
            fs::create_dir(&folder).unwrap();
            must(&mut unpack(&medium.path, &folder));
            shown_instead(&new);
        }
        let said = new.shell("backup import medium", "");
        assert!(said.ok && said.out.contains(&donor.file), "{said:?}");
        let copied = new.container.root().join("var/sf/backup").join(&donor.file);
        assert_eq!(fs::read(copied).unwrap(), donor.archive);
        let owner = new.container.look(&format!("stat -c %U /var/sf/backup/{}", donor.file));
        assert_eq!(owner, "reinstate\n");
        assert!(!new.container.said("findmnt /run/reinstate/medium", "").ok, "it can be taken out");
        let mount =
            "systemctl start run-reinstate-medium.mount && findmnt -nro FSTYPE,OPTIONS /run/reinstate/medium";
        let mount = new.container.look(mount);
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
fn shown_instead(new: &Replacement) {
    let what = "[Mount]\nWhat=/srv/medium\nType=none\nOptions=bind,ro,nosuid,nodev,noexec\n";
    new.container.drop_in("run-reinstate-medium.mount", what);
    new.container.look("systemctl daemon-reload");
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn the_backup_on_a_disk_is_copied_and_restored() {
    import("ext4", Format::Ext4, |_, _| unreachable!("the image's own file system"));
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn the_backup_on_a_disc_is_copied_and_restored() {
    import("iso9660", Format::Disc, |medium, folder| {
        let mut unpack = Command::new("xorriso");
        unpack.args(["-osirrox", "on", "-indev"]).arg(medium).args(["-extract", "/"]).arg(folder);
        unpack
    });
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn the_backup_on_a_stick_is_copied_and_restored() {
    import("vfat", Format::Fat, |medium, folder| {
        let mut unpack = Command::new("mcopy");
        unpack.arg("-i").arg(medium).args(["-s", "::/*"]).arg(folder);
        unpack
    });
}
