//! The Debian package over an appliance that runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reinstate_tests::container::apart;
use reinstate_tests::donor::ADDRESS;

use crate::donor::donor;
use crate::replacement::Replacement;
use crate::rescue::DEAD;

const NEXT: &str = "99.0.0";

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn the_package_is_not_upgraded_while_a_restore_is_undecided_and_is_afterwards() {
    apart("package", |site| {
        let mut new = Replacement::boot(site);
        let package = next(&new.container.root().join("root"));
        let install = format!("dpkg -i /root/{} 2>&1", package.file_name().unwrap().to_string_lossy());
        let version = || new.container.look("dpkg-query -W -f '${Version} ${db:Status-Status}' reinstate");
        let installed = version();
        assert!(installed.ends_with(" installed"), "{installed}");

        new.restore(&donor().archive);
        new.container.wait_until_down();
        new.container.drop_in("reinstated.service", DEAD);
        new.container.start();
        new.container.wait_for_ssh(ADDRESS);
        let version = || new.container.look("dpkg-query -W -f '${Version} ${db:Status-Status}' reinstate");
        let said = new.container.said(&install, "");
        assert!(!said.ok, "{said:?}");
        for word in ["reinstate: not upgraded:", "is not complete yet", "show restore"] {
            assert!(said.out.contains(word), "'{word}' is not in {said:?}");
        }
        assert_eq!(version(), installed);

        new.container.mend("reinstated.service");
        new.container.look("systemctl restart reinstated.service");
        let shown = new.end_of_job();
        assert!(shown.contains(": succeeded"), "{shown}");
        let pid = new.container.look("systemctl show -p MainPID reinstated.service");
        let said = new.container.said(&install, "");
        assert!(said.ok, "{said:?}");
        assert_eq!(version(), format!("{NEXT} installed"));
        new.wait_for_agent();
        assert_ne!(
            new.container.look("systemctl show -p MainPID reinstated.service"),
            pid,
            "the new one runs"
        );
        assert!(new.end_of_job().contains(": succeeded"), "the record is kept");
        assert_eq!(new.container.look("systemctl --failed --plain --no-legend"), "");
    });
}

/// The package of these sources with a later version, in a folder.
fn next(folder: &Path) -> PathBuf {
    let deb = std::env::var_os("REINSTATE_PACKAGE").expect("a package: tests/containers makes it");
    let place = tempfile::tempdir().unwrap();
    let (tree, next) = (place.path().join("tree"), folder.join(format!("reinstate_{NEXT}.deb")));
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    run(Command::new("dpkg-deb").arg("--raw-extract").arg(deb).arg(&tree));
    let control = fs::read_to_string(tree.join("DEBIAN/control")).unwrap();
    let lines = control.lines().map(|line| match line.starts_with("Version:") {
        true => format!("Version: {NEXT}\n"),
        false => format!("{line}\n"),
    });
    fs::write(tree.join("DEBIAN/control"), lines.collect::<String>()).unwrap();
    run(Command::new("dpkg-deb").args(["-Znone", "--root-owner-group", "--build"]).arg(&tree).arg(&next));
    next
}
