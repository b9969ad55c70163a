//! Machines on a link: each a network namespace of the test's own that goes with the value, or with the test.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::must;

/// A link that does not come up within this time does not work.
const UP: Duration = Duration::from_secs(10);

/// A machine with a network of its own, and nothing in it.
pub struct Host {
    /// Holds the namespace, and ends when its standard input does.
    holder: Child,
}

impl Host {
    /// Only root may.
    pub fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "a network namespace needs root: run the tests as root");
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo here; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "here\n");
        Self { holder }
    }

    /// A program on this machine.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace())).arg(program.as_ref());
        command
    }

    /// `ip` with these words has to succeed.
    pub fn ip(&self, words: &str) {
        must(self.command("ip").args(words.split_whitespace()));
    }

    /// What `ip` says.
    pub fn look(&self, words: &str) -> String {
        let output = self.command("ip").args(words.split_whitespace()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sets one of the kernel's values below `net`: `ipv4/conf/all/proxy_arp`.
    pub fn set(&self, key: &str, value: u32) {
        must(self.command("sh").args(["-c", &format!("echo {value} >/proc/sys/net/{key}")]));
    }

    /// A cable between two machines, or from one to itself: `(name, MAC)` of each end. Both ends are up.
    pub fn connect(&self, (name, mac): (&str, &str), other: &Host, (its, its_mac): (&str, &str)) {
        let there = other.holder.id();
        self.ip(&format!(
            "link add name {name} address {mac} type veth peer name {its} address {its_mac} netns {there}"
        ));
        for (host, name) in [(self, name), (other, its)] {
            host.ip(&format!("link set dev {name} up"));
        }
        for (host, name) in [(self, name), (other, its)] {
            let until = Instant::now() + UP;
            // With its own IPv6 address it hears what is sent to all.
            while !host.look(&format!("-6 -o address show dev {name}")).contains("fe80") {
                assert!(Instant::now() < until, "{name} does not come up");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Waits until duplicate address detection on an interface is over: until then its addresses answer nobody.
    pub fn settle(&self, name: &str) {
        let until = Instant::now() + UP;
        while !self.look(&format!("-6 -o address show dev {name} tentative")).is_empty() {
            assert!(Instant::now() < until, "{name} does not get its addresses");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes a script that runs a program on this machine.
    pub fn script(&self, folder: &Path, program: &str) -> PathBuf {
        let path = folder.join("on-host");
        let text = format!("#!/bin/sh\nexec nsenter --net={} {program} \"$@\"\n", self.namespace());
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
