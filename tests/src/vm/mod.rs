//! Virtual machines of the image under QEMU, without help of the hardware: each with a fresh disk over the image, four links,
//! a console, and gone when it is dropped.
//!
//! A guest reaches nothing but one port of this machine, and only its SSH servers are reached from here. Everything that it said is kept
//! below `target/vm`.

mod arguments;
mod console;
mod disk;
mod hardware;
mod login;
mod medium;
mod qmp;
mod recording;
mod ssh;
mod wire;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::outside::{self, Reached};

pub use console::Console;
pub(crate) use disk::largest_partition;
use disk::overlay;
pub use disk::{NOT_MOUNTED, raw_copy, try_with_root, with_root};
pub use hardware::{Bus, Firmware, Hardware, Link};
pub use login::{FACTORY_PASSWORD, PROMPT};
pub use medium::{Format, Medium};
pub use qmp::Qmp;
pub use recording::{Entry, Fate, Recording, Write};
pub(crate) use ssh::run;
pub use ssh::{Askpass, Key, Said, Ssh};
pub use wire::{Announcement, announcements};

/// An emulated machine that shares two processors with others.
pub const BOOT: Duration = Duration::from_secs(600);

const PAUSE: Duration = Duration::from_millis(100);

/// Where the guest finds the host's port.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 45, 100);

/// As it leaves the factory.
pub const FACTORY_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 45, 45);

/// The products of the image's build: `REINSTATE_IMAGE`, or where the build puts them.
pub fn image(file: &str) -> PathBuf {
    let folder = std::env::var_os("REINSTATE_IMAGE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/image"), PathBuf::from);
    let path = folder.join(file);
    assert!(path.exists(), "{} is missing: tests/vm builds it", path.display());
    path.canonicalize().unwrap()
}

/// A folder for what a test leaves behind, emptied.
pub fn kept(name: &str) -> PathBuf {
    let folder = crate::target("vm").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Waits until `look` gives something.
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not happen within {} s", within.as_secs());
        sleep(PAUSE);
    }
}

/// One machine, off or on.
pub struct Vm {
    hardware: Hardware,
    /// Logs, transcript, what was seen on the wire.
    folder: PathBuf,
    /// Sockets and keys: their paths have to be short.
    place: TempDir,
    disk: PathBuf,
    /// Guest address → port of this machine that leads to its SSH server.
    ports: Vec<(Ipv4Addr, u16)>,
    boots: u32,
    running: Option<Running>,
    console: Console,
}

struct Running {
    child: Child,
    qmp: Qmp,
}

impl Vm {
    /// A machine that is off, its disk a copy of the image that remembers only what differs.
    pub fn new(folder: &Path, hardware: Hardware) -> Self {
        let folder = folder.join(&hardware.name);
        fs::create_dir_all(&folder).unwrap();
        let place = tempfile::tempdir().unwrap();
        let disk = folder.join("disk.qcow2");
        overlay(&hardware.image, &disk);
        let ports = hardware.addresses.iter().map(|address| (*address, free_port())).collect();
        let console = Console::new(&folder.join("serial.log"));
        if let Firmware::Uefi = hardware.firmware {
            fs::copy(hardware::UEFI_VARIABLES, place.path().join("variables.fd")).unwrap();
        }
        Self { hardware, folder, place, disk, ports, boots: 0, running: None, console }
    }

    /// Switches it on.
    pub fn start(&mut self) {
        self.run(None);
    }

    /// Goes on where [`Vm::save`] stopped, on the same hardware.
    pub fn resume(&mut self, state: &Path) {
        self.run(Some(state));
        self.qmp().wait_until_running_can_go_on();
        self.qmp().call("cont", Value::Null);
    }

    fn run(&mut self, state: Option<&Path>) {
        assert!(self.running.is_none(), "{} is on already", self.hardware.name);
        self.boots += 1;
        let arguments = self.arguments(state);
        fs::write(self.folder.join("command"), format!("{} {}\n", hardware::PROGRAM, arguments.join(" ")))
            .unwrap();
        let log = fs::File::options().create(true).append(true).open(self.folder.join("qemu.log")).unwrap();
        for socket in ["serial", "qmp", "failover", "data0", "data1"] {
            let _ = fs::remove_file(self.place.path().join(socket));
        }
        let mut child = Command::new(hardware::PROGRAM)
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {}: {error}: tests/vm installs it", hardware::PROGRAM)
            });
        let [serial, qmp] = ["serial", "qmp"].map(|name| {
            let path = self.place.path().join(name);
            until(&format!("QEMU's socket '{name}'"), Duration::from_secs(30), || {
                let ended = child.try_wait().unwrap();
                assert!(ended.is_none(), "QEMU has ended: {}", self.log());
                UnixStream::connect(&path).ok()
            })
        });
        self.console.attach(serial.try_clone().unwrap(), serial);
        self.running = Some(Running { child, qmp: Qmp::new(qmp) });
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("qemu.log")).unwrap_or_default()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn disk(&self) -> &Path {
        &self.disk
    }

    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// To be changed while it is off.
    pub fn hardware_mut(&mut self) -> &mut Hardware {
        assert!(self.running.is_none(), "{} is on", self.hardware.name);
        &mut self.hardware
    }

    /// The serial console.
    pub fn console(&mut self) -> &mut Console {
        &mut self.console
    }

    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.running.as_mut().expect("the machine is on").qmp
    }

    /// Plugs a disk in while the machine runs.
    pub fn insert(&mut self, medium: &Medium) {
        let file = json!({ "driver": "file", "filename": medium.path });
        let node = json!({ "driver": "raw", "node-name": "inserted", "read-only": true, "file": file });
        self.qmp().call("blockdev-add", node);
        let card =
            json!({ "driver": "virtio-blk-pci", "id": "inserted", "drive": "inserted", "bus": "free-place" });
        self.qmp().call("device_add", card);
    }

    /// Plugs the management interface's cable in, or pulls it.
    pub fn plug(&mut self, is_in: bool) {
        self.qmp().call("set_link", json!({ "name": "management", "up": is_in }));
    }

    /// Slows what is written to the disk down, from now on; 0 takes the brake off.
    pub fn throttle(&mut self, writes_per_second: u64) {
        let all = ["bps", "bps_rd", "bps_wr", "iops", "iops_rd"].map(|key| (key.to_owned(), json!(0)));
        let mut limits: serde_json::Map<String, Value> = all.into_iter().collect();
        limits.insert("device".into(), json!("boot"));
        limits.insert("iops_wr".into(), json!(writes_per_second));
        self.qmp().call("block_set_io_throttle", Value::Object(limits));
    }

    /// Flushes of the disk since it was switched on: how often something was made durable.
    pub fn flushes(&mut self) -> u64 {
        let stats = self.qmp().call("query-blockstats", Value::Null);
        let disks = stats.as_array().cloned().unwrap_or_default();
        let all = disks.iter().filter_map(|disk| disk["stats"]["flush_operations"].as_u64());
        all.max().unwrap_or(0)
    }

    /// Pulls the plug: what was not flushed may be lost.
    pub fn cut(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = kill(Pid::from_raw(running.child.id() as i32), Signal::SIGKILL);
            running.child.wait().unwrap();
        }
    }

    /// Waits until the guest has switched itself off.
    pub fn wait_until_off(&mut self) {
        let running = self.running.as_mut().expect("the machine is on");
        until("the end of the machine", BOOT, || running.child.try_wait().unwrap());
        self.running = None;
    }

    /// Asks the guest to switch itself off, and waits until it has.
    pub fn power_off(&mut self, address: impl Into<IpAddr>) {
        // The answer may not arrive any more.
        let _ = self.ssh(address).said("systemctl poweroff", "");
        self.wait_until_off();
    }

    /// Writes the machine's memory to a file, then ends it; its disk goes with it.
    pub fn save(&mut self, state: &Path) {
        let qmp = self.qmp();
        qmp.call("stop", Value::Null);
        qmp.call("migrate", json!({ "uri": format!("exec:cat > '{}'", state.display()) }));
        until("the end of the saving", BOOT, || {
            let migration = qmp.call("query-migrate", Value::Null);
            assert_ne!(migration["status"], "failed", "{migration}");
            (migration["status"] == "completed").then_some(())
        });
        qmp.send("quit");
        self.wait_until_off();
    }

    /// Where a guest address's SSH server is found from here.
    pub fn door(&self, address: impl Into<IpAddr>) -> SocketAddr {
        let address = address.into();
        if self.hardware.link != Link::Forwarded {
            return (address, 22).into();
        }
        let port = self.ports.iter().find(|(known, _)| IpAddr::from(*known) == address);
        let port = port.unwrap_or_else(|| panic!("{address} is not forwarded")).1;
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// Whether an SSH server says its name behind a guest address. A forwarded port itself is always open.
    pub fn answers(&self, address: impl Into<IpAddr>) -> bool {
        outside::answers(self.door(address), Duration::from_secs(5))
    }

    pub fn wait_for_ssh(&self, address: impl Into<IpAddr>) {
        let address = address.into();
        let what = format!("SSH on {address} of {}", self.hardware.name);
        until(&what, BOOT, || self.answers(address).then_some(()));
    }

    /// Root's way in, only to look: the key is the machine's, not the image's.
    pub fn ssh(&self, address: impl Into<IpAddr>) -> Ssh {
        Ssh::with_key("root", self.door(address), self.hardware.key.path())
    }

    /// What a root shell at this address says.
    pub fn look(&self, address: impl Into<IpAddr>, command: &str) -> String {
        let said = self.ssh(address).patient(command, "");
        assert!(said.ok, "`{command}` in {}: {}{}", self.hardware.name, said.out, said.err);
        said.out
    }

    /// The addresses that its management interface said were its own, after so many announcements. Those of the link alone
    /// follow from the MAC address.
    pub fn own_addresses(&self, after: usize) -> BTreeSet<IpAddr> {
        let mac = self.hardware.mac_of(0);
        let own = self.announced().into_iter().skip(after).filter(|said| said.mac == mac);
        let is_local = |address: &IpAddr| matches!(address, IpAddr::V6(six) if six.is_unicast_link_local());
        own.map(|said| said.address).filter(|address| !is_local(address)).collect()
    }

    /// What was said on the management link since it was switched on, in order.
    pub fn announced(&self) -> Vec<Announcement> {
        announcements(&self.pcap())
    }

    fn pcap(&self) -> PathBuf {
        self.folder.join(format!("management-{}.pcap", self.boots))
    }
}

impl Reached for Vm {
    fn look(&self, address: IpAddr, command: &str) -> String {
        self.look(address, command)
    }

    fn door(&self, address: IpAddr) -> SocketAddr {
        self.door(address)
    }

    fn wait_for_ssh(&self, address: IpAddr) {
        self.wait_for_ssh(address);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.cut();
        let _ = fs::remove_file(&self.disk);
        if std::thread::panicking() {
            eprintln!("the end of {}:\n{}", self.hardware.name, self.console.tail());
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A program that others may run.
pub fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}
