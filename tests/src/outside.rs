//! What others see of an appliance that runs. Two that are alike cannot be told apart by it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::vm::Ssh;

/// An appliance that runs and is reached by a network.
pub trait Reached {
    /// What a root shell says.
    fn look(&self, address: IpAddr, command: &str) -> String;
    fn door(&self, address: IpAddr) -> SocketAddr;
    fn wait_for_ssh(&self, address: IpAddr);
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// `nft list ruleset`, without the numbers of what has passed.
    rules: Vec<String>,
    hostname: String,
    addresses: String,
    /// As `ssh-keyscan` gets them.
    host_keys: BTreeSet<String>,
    /// Who may log in by SSH, of those that were tried.
    logins: BTreeMap<String, bool>,
}

impl Picture {
    /// Tries each of `accounts`, a name and a password.
    pub fn of(appliance: &impl Reached, address: impl Into<IpAddr>, accounts: &[(&str, &str)]) -> Self {
        let address = address.into();
        let look = |command: &str| appliance.look(address, command);
        let host_keys = host_keys(appliance, address);
        let rules = look("nft list ruleset").lines().map(without_counts).collect();
        let hostname = look("hostnamectl hostname; uname -n; cat /etc/hostname");
        let addresses = look("ip -br address show dev management0 scope global | tr -s ' '");
        let logins = accounts.iter().map(|(name, password)| {
            // A server keeps off who has just failed to log in.
            appliance.wait_for_ssh(address);
            let said = Ssh::with_password(name, appliance.door(address), password).said("show version", "");
            (login(name, password), said.ok)
        });
        Self { logins: logins.collect(), rules, hostname, addresses, host_keys }
    }

    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    pub fn may_log_in(&self, name: &str, password: &str) -> bool {
        self.logins[&login(name, password)]
    }
}

fn login(name: &str, password: &str) -> String {
    format!("{name} with '{password}'")
}

/// Whether an SSH server says its name at this door.
pub(crate) fn answers(door: SocketAddr, patience: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&door, patience) else { return false };
    let mut start = [0; 4];
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.read_exact(&mut start).is_ok() && start == *b"SSH-"
}

/// Every key that its SSH server has.
fn host_keys(appliance: &impl Reached, address: IpAddr) -> BTreeSet<String> {
    appliance.wait_for_ssh(address);
    let door = appliance.door(address);
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
