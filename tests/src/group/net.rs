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

/// One interface of a member.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name inside.
    pub name: String,
    /// One of the kernel's own choice where it is not given.
    pub mac: Option<String>,
    /// With prefix length.
    pub addresses: Vec<String>,
}

/// A member's interfaces.
#[derive(Clone, Debug)]
pub struct Ports {
    pub management: Port,
    pub failover: Port,
}

impl Net {
    pub fn new(members: &[Ports]) -> Self {
        let switch = Namespace::new();
        for bridge in ["mgmt", "fail"] {
            switch.ip(&format!("link add {bridge} type bridge"));
            switch.ip(&format!("link set {bridge} up"));
        }
        let mut net = Self { switch, members: Vec::new() };
        for (number, ports) in members.iter().enumerate() {
            let namespace = net.plug(number, ports);
            net.members.push(namespace);
        }
        net
    }

    fn plug(&self, number: usize, ports: &Ports) -> Namespace {
        let namespace = Namespace::new();
        for (bridge, Port { name, mac, addresses }) in
            [("mgmt", &ports.management), ("fail", &ports.failover)]
        {
            let (port, inside) = (format!("{bridge}{number}"), namespace.path());
            let mac = mac.as_ref().map_or_else(String::new, |mac| format!("address {mac} "));
            self.switch.ip(&format!("link add {port} type veth peer name {name} {mac}netns {inside}"));
            self.switch.ip(&format!("link set {port} master {bridge} up"));
            for address in addresses {
                namespace.ip(&format!("address add {address} dev {name}"));
            }
            namespace.ip(&format!("link set {name} up"));
        }
        namespace
    }

    /// Another machine on a member's cables.
    pub fn replace(&mut self, number: usize, ports: &Ports) {
        for bridge in ["mgmt", "fail"] {
            self.switch.ip(&format!("link del {bridge}{number}"));
        }
        self.members[number] = self.plug(number, ports);
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
