//! Networks of a test's own: a namespace for each member, two bridges between them. Nothing of it is
//! left when the test ends, however it ends: the namespaces live as long as their file descriptors.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

use crate::must;

/// A network namespace.
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// An empty one, its loopback up.
    pub fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces need root");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = Self { file: made.join().unwrap() };
        namespace.ip("link set lo up");
        // An address is there at once.
        namespace.run(|| {
            for part in ["all", "default"] {
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{part}/accept_dad"), "0");
            }
        });
        namespace
    }

    /// As a path that `ip` and `nsenter` take, for as long as the test lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs something inside, in a thread of its own; what it starts is inside too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }

    pub fn ip(&self, words: &str) {
        self.run(|| must(Command::new("ip").args(words.split_whitespace())));
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

/// What joins the members: a bridge for management, and one for the failover link.
pub struct Net {
    switch: Namespace,
    members: Vec<Namespace>,
}

/// The member's interfaces: their names inside, and their addresses with prefix length.
pub struct Ports<'a> {
    pub management: (&'a str, Vec<String>),
    pub failover: (&'a str, Vec<String>),
}

impl Net {
    pub fn new(members: &[Ports<'_>]) -> Self {
        let switch = Namespace::new();
        for bridge in ["mgmt", "fail"] {
            switch.ip(&format!("link add {bridge} type bridge"));
            switch.ip(&format!("link set {bridge} up"));
        }
        let mut net = Self { switch, members: Vec::new() };
        members.iter().for_each(|ports| net.add(ports));
        net
    }

    /// One more member.
    pub fn add(&mut self, ports: &Ports<'_>) {
        let (number, namespace) = (self.members.len(), Namespace::new());
        for (bridge, (name, addresses)) in [("mgmt", &ports.management), ("fail", &ports.failover)] {
            let port = format!("{bridge}{number}");
            let inside = namespace.path();
            self.switch.ip(&format!("link add {port} type veth peer name {name} netns {inside}"));
            self.switch.ip(&format!("link set {port} master {bridge} up"));
            for address in addresses {
                namespace.ip(&format!("address add {address} dev {name}"));
            }
            namespace.ip(&format!("link set {name} up"));
        }
        self.members.push(namespace);
    }

    pub fn member(&self, number: usize) -> &Namespace {
        &self.members[number]
    }

    /// Pulls both of a member's cables, or puts them back.
    pub fn link(&self, number: usize, up: bool) {
        for bridge in ["mgmt", "fail"] {
            self.switch.ip(&format!("link set {bridge}{number} {}", if up { "up" } else { "down" }));
        }
    }
}
