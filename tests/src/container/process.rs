//! What runs a container: systemd-nspawn in a PID namespace and a control group of its own, so that nothing outlives it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::vm::{Console, until};

/// How nspawn ends when what runs in it wants a restart.
pub const RESTART: i32 = 133;

/// The folder where a container finds its hardware.
const HARDWARE: &str = "/run/hardware";

/// Stands for the firmware: what the kernel shows of this machine's hardware gives way to the container's, then systemd starts.
const FIRMWARE: &str = "set -eu
for part in class bus devices; do
    mount -t overlay overlay -o ro,lowerdir=$0/sys/$part:/sys/$part /sys/$part
done
for whole in class/net bus/pci/devices; do
    mount --bind $0/sys/$whole /sys/$whole
done
exec /usr/lib/systemd/systemd
";

/// Puts itself into the control group, then becomes the rest.
const ENTER: &str = "echo 0 >\"$0/cgroup.procs\" && exec \"$@\"";

pub struct Process {
    child: Child,
    group: PathBuf,
}

/// What a boot is made of.
pub struct Boot<'a> {
    pub name: &'a str,
    /// No two containers have the same.
    pub place: &'a str,
    pub root: &'a Path,
    pub hardware: &'a Path,
    pub credentials: &'a [(String, String)],
    pub log: &'a Path,
}

impl Process {
    pub fn start(boot: &Boot, console: &mut Console) -> Self {
        let group = own_group().join(format!("reinstate-tests{}", boot.place.replace('/', "-")));
        fs::create_dir_all(&group).unwrap();
        let log = fs::File::options().create(true).append(true).open(boot.log).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", ENTER]).arg(&group);
        // With this thread goes unshare, with that its child, and with the first process of a PID namespace all others.
        command.args(["setpriv", "--pdeathsig", "KILL"]);
        command.args(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=interactive"]);
        command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
        command.args(["--capability=CAP_NET_ADMIN,CAP_NET_RAW"]);
        command.arg(format!("--machine={}", boot.name));
        command.arg(format!("--network-namespace-path=/run/netns/{}", boot.name));
        command.arg(format!("--directory={}", boot.root.display()));
        command.arg(format!("--bind-ro={}:{HARDWARE}", boot.hardware.display()));
        for (name, value) in boot.credentials {
            command.arg(format!("--set-credential={name}:{value}"));
        }
        command.args(["/bin/sh", "-c", FIRMWARE, HARDWARE]);
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap_or_else(
                |error| panic!("cannot start a container: {error}: tests/containers installs it"),
            );
        console.attach(child.stdout.take().unwrap(), child.stdin.take().unwrap());
        Self { child, group }
    }

    /// How it has ended; None where it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// The first process in the container, as it is known out here.
    pub fn init(&self) -> Option<u32> {
        let group = self.group.join("payload/init.scope/cgroup.procs");
        fs::read_to_string(group).ok()?.lines().next()?.parse().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Who is in this group was started here.
        let _ = fs::write(self.group.join("cgroup.kill"), "1");
        if !std::thread::panicking() {
            until("the end of a container", Duration::from_secs(30), || removed(&self.group).then_some(()));
        } else {
            std::thread::sleep(Duration::from_secs(1));
            removed(&self.group);
        }
    }
}

/// A control group goes when nobody is in it, and none below it is there.
fn removed(group: &Path) -> bool {
    let Ok(entries) = fs::read_dir(group) else { return true };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        removed(&entry.path());
    }
    fs::remove_dir(group).is_ok()
}

/// The control group that this process is in, of version 2.
fn own_group() -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let at = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (at, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then(|| at.to_owned())
    });
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    Path::new(&at.expect("containers need control groups of version 2")).join(own)
}
