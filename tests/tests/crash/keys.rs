//! Private keys: sealed on the disk, clear in memory only.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::scene::{AGENT, Scene, Stage, empty_run};

#[test]
fn after_every_boot_the_keys_are_in_memory_as_they_were_on_the_old_unit() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Restored);
    for boot in 0..2 {
        trial.machine.start().unwrap();
        let picture = trial.picture();
        let sealed = picture.sealed();
        assert_eq!(
            sealed,
            ["etc/appliance/manager.key", "etc/appliance/pki/private/audit.pem"],
            "boot {boot}"
        );
        for path in sealed {
            let (here, there) = (&picture.0[path], &scene.donor.0[path]);
            let word = |text: &str, number| text.split(' ').nth(number).unwrap().to_owned();
            assert_eq!(word(here, 1), word(there, 1), "the mode of {path}");
            assert_eq!(word(here, 3), word(there, 3), "the content of {path}");
        }
        // Owners travel as names: the group has another number here.
        let groups = fs::read_to_string(trial.root.join("etc/group")).unwrap();
        let group = groups.lines().find(|line| line.starts_with("ssl-cert:")).unwrap();
        let number: u32 = group.split(':').nth(2).unwrap().parse().unwrap();
        let key = trial.root.join("run/reinstate/secrets/etc/appliance/pki/private/audit.pem");
        let meta = key.metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, number, 0o640));

        let clear = fs::read(&key).unwrap();
        let mut stored = Vec::new();
        collect(&trial.root.join(AGENT), &mut stored);
        let window = &clear[clear.len() / 2..clear.len() / 2 + 24];
        assert!(
            stored.iter().all(|bytes| bytes.windows(24).all(|piece| piece != window)),
            "a key is on the disk"
        );
        trial.machine.stop();
    }

    empty_run(&trial.root);
    let off = trial.picture();
    let dangling = off.0.values().filter(|what| what.starts_with("dangling")).count();
    assert_eq!(dangling, 2, "without memory there are no keys");
    assert!(trial.activate(None));
    trial.assert_is(&scene.new, "activation brings them back");
}

fn collect(folder: &std::path::Path, into: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.symlink_metadata().unwrap() {
            meta if meta.is_dir() => collect(&path, into),
            meta if meta.is_file() => into.push(fs::read(&path).unwrap()),
            _ => {}
        }
    }
}
