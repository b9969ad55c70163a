//! A place for containers that nobody else sees: mounts and a network of the test's own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use super::image;
use crate::appliance::{install_profile, reference_profile};
use crate::must;
use crate::vm::SERVER;

/// Interfaces in the order of the bus; the bridge that the other end is on, where there is one.
const LINKS: [(&str, Option<&str>); 4] =
    [("management0", Some("management")), ("failover0", Some("failover")), ("data0", None), ("data1", None)];

/// Mounts, links and whatever is started here go with the thread that made it. This machine is at [`SERVER`].
pub struct Site {
    /// What containers said is kept here.
    folder: PathBuf,
    /// In memory; not seen from outside.
    place: TempDir,
    containers: AtomicU32,
}

/// Runs a test where containers can be: in a thread with mounts and a network of its own.
pub fn apart<T: Send>(name: &str, test: impl FnOnce(&Site) -> T + Send) -> T {
    let done = std::thread::scope(|threads| {
        let thread = threads.spawn(|| {
            let site = Site::enter(name);
            test(&site)
        });
        thread.join()
    });
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Site {
    fn enter(name: &str) -> Self {
        let folder = crate::target("container").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let (disk, offset) = image::disk();
        let place = tempfile::tempdir().unwrap();
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("namespaces need root");
        must(Command::new("mount").args(["--make-rprivate", "/"]));
        for memory in [place.path(), Path::new("/run")] {
            must(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs"]).arg(memory));
        }
        let site = Self { folder, place, containers: AtomicU32::new(0) };
        fs::create_dir(site.image()).unwrap();
        let options = format!("loop,ro,offset={offset}");
        must(Command::new("mount").args(["-t", "ext4", "-o", &options]).arg(disk).arg(site.image()));
        fs::create_dir(site.place("package")).unwrap();
        if let Some(package) = std::env::var_os("REINSTATE_PACKAGE") {
            must(Command::new("dpkg-deb").arg("--extract").arg(package).arg(site.place("package")));
            // The agent reads the profile that it came with.
            install_profile(&site.place("package"), &reference_profile()).unwrap();
        }
        ip("link set lo up");
        for bridge in LINKS.iter().filter_map(|(_, bridge)| *bridge) {
            ip(&format!("link add {bridge} type bridge"));
            ip(&format!("link set {bridge} up"));
        }
        ip(&format!("address add {SERVER}/24 dev management"));
        site
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// This machine's address on the management link.
    pub fn address(&self) -> Ipv4Addr {
        SERVER
    }

    /// What every container's files are laid over: the image's, and over them, where there is a package `REINSTATE_PACKAGE`, that one's
    /// agent, shell and units with this tree's profile: a change is tried without a new image.
    pub(super) fn layers(&self) -> String {
        format!("{}:{}", self.place("package").display(), self.image().display())
    }

    fn image(&self) -> PathBuf {
        self.place("image")
    }

    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A number for a container's links.
    pub(super) fn number(&self) -> u32 {
        self.containers.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes a container's network away: as long as it is there, the kernel answers for who has gone.
    pub(super) fn unlink(&self, name: &str) {
        if Path::new("/run/netns").join(name).exists() {
            ip(&format!("netns delete {name}"));
        }
    }

    /// A network namespace as a machine finds it that is switched on: interfaces without an address. What was there
    /// under this name is gone.
    pub(super) fn links(&self, name: &str, number: u32, mac: impl Fn(&str) -> Option<String>) {
        self.unlink(name);
        ip(&format!("netns add {name}"));
        for (place, (interface, bridge)) in LINKS.into_iter().enumerate() {
            let end = format!("box{number}-{place}");
            // The last namespace's end goes a little later than the namespace.
            let _ = Command::new("ip").args(["link", "delete", &end]).output();
            let mac = mac(interface).map(|mac| format!(" address {mac}")).unwrap_or_default();
            ip(&format!("link add {end} type veth peer name {interface}{mac} netns {name}"));
            if let Some(bridge) = bridge {
                ip(&format!("link set {end} master {bridge}"));
            }
            ip(&format!("link set {end} up"));
        }
    }

    /// Sets one of the kernel's values of a container's network: `net.ipv4.ip_forward`.
    pub(super) fn set(&self, name: &str, key: &str, value: &str) {
        let file = format!("/proc/sys/{}", key.replace('.', "/"));
        let write = ["sh", "-c", "echo \"$1\" >\"$2\"", "sh", value, &file];
        must(Command::new("ip").args(["netns", "exec", name]).args(write));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // The folder is removed where it is empty: outside.
        let _ = Command::new("umount").args(["-l", "-R"]).arg(self.place.path()).output();
    }
}

/// One command of iproute2.
pub fn ip(command: &str) {
    must(Command::new("ip").args(command.split(' ')));
}
