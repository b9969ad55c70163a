//! What others see of an appliance that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Command;

use reinstate_tests::vm::{Ssh, Vm};

/// What others see of an appliance that runs. Two that are alike cannot be told apart by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// `nft list ruleset`, without the numbers of what has passed.
    rules: Vec<String>,
    hostname: String,
    /// As `ssh-keyscan` gets them.
    host_keys: BTreeSet<String>,
    /// Who may log in by SSH, of those that were tried.
    logins: BTreeMap<String, bool>,
}

impl Picture {
    /// Tries each of `accounts`, a name and a password.
    pub fn of(vm: &Vm, address: impl Into<IpAddr>, accounts: &[(&str, &str)]) -> Self {
        let address = address.into();
        let host_keys = host_keys(vm, address);
        let rules = vm.look(address, "nft list ruleset").lines().map(without_counts).collect();
        let hostname = vm.look(address, "hostnamectl hostname; uname -n; cat /etc/hostname");
        let logins = accounts.iter().map(|(name, password)| {
            vm.wait_for_ssh(address);
            let said = Ssh::with_password(name, vm.door(address), password).said("show version", "");
            (format!("{name} with '{password}'"), said.ok)
        });
        Self { logins: logins.collect(), rules, hostname, host_keys }
    }

    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    pub fn may_log_in(&self, name: &str, password: &str) -> bool {
        self.logins[&format!("{name} with '{password}'")]
    }
}

/// Every key that its SSH server has.
fn host_keys(vm: &Vm, address: IpAddr) -> BTreeSet<String> {
    // A server keeps off who has just failed to log in.
    vm.wait_for_ssh(address);
    let door = vm.door(address);
    let scan = Command::new("ssh-keyscan")
        .args(["-T", "60", "-t", "ed25519,ecdsa,rsa", "-p", &door.port().to_string(), &door.ip().to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(scan.stdout).unwrap();
    let keys: BTreeSet<_> =
        text.lines().filter_map(|line| line.split_once(' ')).map(|(_, key)| key.to_owned()).collect();
    assert!(!keys.is_empty(), "no key at {door}: {}", String::from_utf8_lossy(&scan.stderr));
    keys
}

/// `counter packets 12 bytes 720` counts what has passed.
fn without_counts(line: &str) -> String {
    let mut words = Vec::new();
    let mut skip = false;
    for word in line.split(' ') {
        if !std::mem::replace(&mut skip, matches!(word, "packets" | "bytes")) {
            words.push(word);
        }
    }
    words.join(" ")
}

#[test]
fn rules_differ_by_what_they_do_and_not_by_what_has_passed() {
    let line = |n: u32| format!("\t\ttcp dport 22 counter packets {n} bytes {} accept", 60 * n);
    assert_eq!(without_counts(&line(1)), without_counts(&line(17)));
    assert_ne!(without_counts(&line(1)), without_counts(&line(1).replace("22", "23")));
}
