//! What is promised on every kind of appliance.

use std::collections::BTreeMap;
use std::process::{Child, Command};

use reinstate_tests::appliance::Appliance;
use reinstate_tests::compare::{Kind, NO_CONFIGURATION, Tree};
use reinstate_tests::promises::{self, Replacement};
use reinstate_tests::vm::Said;

use crate::scene::{FILE, PROGRAM, Scene};

/// By what an appliance is known: identity, address, policy, host keys, registration.
const KNOWN_BY: [&str; 6] = [
    "etc/hostname",
    "etc/appliance/device.conf",
    "etc/systemd/network/",
    "etc/nftables",
    "etc/ssh/ssh_host_",
    "etc/appliance/manager",
];

/// Whose logins are the appliance's own.
const PEOPLE: [&str; 2] = ["admin:", "alice:"];

struct Sandbox(Scene);

impl Sandbox {
    fn boot() -> Self {
        Self(Scene::new(Appliance::replacement()))
    }
}

/// Paths with what is in them, and accounts with their passwords.
fn picture(tree: &Tree) -> BTreeMap<String, Vec<u8>> {
    let mut picture = BTreeMap::new();
    for (path, node) in tree.iter() {
        let Kind::File(content) = &node.kind else { continue };
        if KNOWN_BY.iter().any(|known| path.starts_with(known)) && !path.ends_with(".link") {
            picture.insert(path.to_owned(), content.clone());
        }
        if path == "etc/shadow" {
            let text = String::from_utf8_lossy(content);
            let people = text.lines().filter(|line| PEOPLE.iter().any(|name| line.starts_with(name)));
            picture.insert(path.to_owned(), people.collect::<Vec<_>>().join("\n").into_bytes());
        }
    }
    picture
}

impl Replacement for Sandbox {
    type Picture = BTreeMap<String, Vec<u8>>;

    const HAS_MEMORY: bool = false;

    fn donor(&self) -> Self::Picture {
        picture(&self.0.donor.tree)
    }

    fn backup(&self) -> (String, Vec<u8>) {
        (FILE.to_owned(), self.0.donor.archive.clone())
    }

    fn picture(&self) -> Self::Picture {
        picture(&Tree::read(self.0.root(), &NO_CONFIGURATION).unwrap())
    }

    fn keep(&self, name: &str, content: &[u8]) {
        self.0.keep(name, content);
    }

    fn say(&self, command: &str, answers: &str) -> Said {
        let said = self.0.say(command, answers);
        Said { ok: said.status == Some(0), status: said.status, out: said.text, err: String::new() }
    }

    fn spawn(&self, command: &str) -> Child {
        self.0.spawn(command)
    }

    fn look(&self, command: &str) -> String {
        said(Command::new("sh").args(["-c", command]).current_dir(self.0.root()))
    }

    fn scan(&self) -> String {
        said(Command::new(PROGRAM).args(["reinstated", "--root"]).arg(self.0.root()).arg("scan"))
    }

    fn boot(&self) -> String {
        self.0.machine.reboots().to_string()
    }

    fn restarts(&mut self) {
        self.0.machine.wait_for_reboot(1).unwrap();
    }
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_replacement_becomes_its_donor() {
    promises::a_replacement_becomes_its_donor(&mut Sandbox::boot());
}

#[test]
fn a_backup_of_another_model_is_refused_with_both_values_and_nothing_changes() {
    promises::a_backup_of_another_model_is_refused(&Sandbox::boot());
}

#[test]
fn an_abort_changes_nothing() {
    promises::an_abort_changes_nothing(&Sandbox::boot());
}
