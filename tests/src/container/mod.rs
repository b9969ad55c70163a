//! Containers of the image's own root file system under systemd-nspawn: a real systemd with the image's units, in a second where a
//! machine takes ten. What a container has not (firmware, cards on a bus) is shown to it as files.
//!
//! Each is an overlay in memory over the image, in mounts and a network of the test's own, and gone when it is dropped. It takes no
//! power cuts: nothing in it is ever on a disk. What it said is kept below `target/container`.

mod disk;
mod image;
mod process;
mod site;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::appliance::Appliance;
use crate::must;
use crate::outside::{self, Reached};
use crate::vm::{Console, Key, Said, Ssh, until};
use process::{Boot, Process, RESTART};

pub use disk::Disk;
pub use site::{Site, apart, ip};

/// A boot, or another step of a machine that shares two processors with others.
pub const BOOT: Duration = Duration::from_secs(120);

/// Slots on the bus, in its order, and what the interfaces there are.
const CARDS: [(&str, &str); 4] = [
    ("0000:03:00.0", "management0"),
    ("0000:0b:00.0", "failover0"),
    ("0000:13:00.0", "data0"),
    ("0000:1b:00.0", "data1"),
];

/// What the kernel has an interface's address from.
const CARD: &str = "vmxnet3";

/// What a container takes for its hardware; all that a test does not set is usual.
#[derive(Clone)]
pub struct Hardware {
    pub name: String,
    /// Of this appliance only the hardware is used: serial, UUID, hypervisor, cards.
    pub appliance: Appliance,
    /// What systemd's services get, by name.
    pub credentials: Vec<(String, String)>,
    key: Arc<Key>,
}

impl Hardware {
    /// `number` makes serial, UUID and MAC addresses its own.
    pub fn new(name: &str, number: u8) -> Self {
        let mut appliance = Appliance::replacement().seed(number.into());
        for (place, (slot, interface)) in CARDS.into_iter().enumerate() {
            let mac = format!("52:54:00:46:{number:02x}:{place:02x}");
            appliance = appliance.interface(slot, CARD, interface, &mac);
        }
        let key = Arc::new(Key::new());
        let credentials = vec![("ssh.authorized_keys.root".into(), key.public().to_owned())];
        Self { name: name.to_owned(), appliance, credentials, key }
    }

    fn mac(&self, interface: &str) -> Option<String> {
        let interfaces = &self.appliance.hardware().interfaces;
        interfaces.iter().find(|card| card.kernel == interface).map(|card| card.mac.clone())
    }
}

/// What the agent's package has the kernel do.
const KERNEL: &str = "usr/lib/sysctl.d/50-reinstate.conf";

/// One container, off or on.
pub struct Container<'a> {
    site: &'a Site,
    hardware: Hardware,
    number: u32,
    folder: PathBuf,
    place: PathBuf,
    running: Option<Process>,
    console: Console,
}

impl<'a> Container<'a> {
    /// A container that is off, its file system the image's.
    pub fn new(site: &'a Site, hardware: Hardware) -> Self {
        let (folder, place) = (site.folder().join(&hardware.name), site.place(&hardware.name));
        for path in [&folder, &place, &place.join("upper"), &place.join("work"), &place.join("root")] {
            fs::create_dir_all(path).unwrap();
        }
        let at = |name: &str| place.join(name).display().to_string();
        let options = format!("lowerdir={},upperdir={},workdir={}", site.layers(), at("upper"), at("work"));
        must(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(at("root")));
        hardware.appliance.build_hardware(&place.join("hardware")).unwrap();
        // There is no disk to mount or to check.
        fs::write(place.join("root/etc/fstab"), "").unwrap();
        let console = Console::new(&folder.join("console.log"));
        Self { site, number: site.number(), hardware, folder, place, running: None, console }
    }

    /// Switches it on.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "{} is on already", self.hardware.name);
        self.site.links(&self.hardware.name, self.number, |interface| self.hardware.mac(interface));
        // In it the kernel's values are read-only, so systemd-sysctl does nothing there.
        let values = fs::read_to_string(self.root().join(KERNEL)).unwrap_or_default();
        for (key, value) in values.lines().filter_map(|line| line.split_once(" = ")) {
            self.site.set(&self.hardware.name, key, value);
        }
        let boot = Boot {
            name: &self.hardware.name,
            place: &self.place.to_string_lossy(),
            root: &self.root(),
            hardware: &self.place.join("hardware"),
            credentials: &self.hardware.credentials,
            log: &self.folder.join("nspawn.log"),
        };
        self.running = Some(Process::start(&boot, &mut self.console));
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// To be changed while it is off.
    pub fn hardware_mut(&mut self) -> &mut Hardware {
        assert!(self.running.is_none(), "{} is on", self.hardware.name);
        &mut self.hardware
    }

    /// Its file system, without what it has mounted itself.
    pub fn root(&self) -> PathBuf {
        self.place.join("root")
    }

    pub fn console(&mut self) -> &mut Console {
        &mut self.console
    }

    /// Waits until it wants to restart, and switches it on again.
    pub fn restarts(&mut self) {
        self.wait_until_down();
        self.start();
    }

    /// Waits until it wants to restart: between two boots, it is off.
    pub fn wait_until_down(&mut self) {
        self.ends_with(RESTART);
    }

    /// Waits until it has switched itself off.
    pub fn wait_until_off(&mut self) {
        self.ends_with(0);
    }

    fn ends_with(&mut self, wanted: i32) {
        let running = self.running.as_mut().expect("the container is on");
        let ended = until("the end of the container", BOOT, || running.ended());
        self.running = None;
        assert_eq!(ended.code(), Some(wanted), "{} ended: {}", self.hardware.name, self.console.tail());
    }

    /// Asks it to restart, and switches it on again.
    pub fn reboot(&mut self) {
        self.look("systemctl reboot --no-block");
        self.restarts();
    }

    pub fn power_off(&mut self) {
        self.look("systemctl poweroff --no-block");
        self.wait_until_off();
    }

    /// Has a unit be another one from the next boot or `daemon-reload` on.
    pub fn drop_in(&self, unit: &str, text: &str) {
        let path = self.drop_in_of(unit);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Takes back what [`Container::drop_in`] did.
    pub fn mend(&self, unit: &str) {
        fs::remove_file(self.drop_in_of(unit)).unwrap();
        self.look("systemctl daemon-reload");
    }

    fn drop_in_of(&self, unit: &str) -> PathBuf {
        self.root().join(format!("etc/systemd/system/{unit}.d/90-test.conf"))
    }

    /// Shows a disk to it, as a kernel does that finds one, and its label, as udev does.
    pub fn insert(&self, disk: &Path, label: &str) -> Disk {
        let disk = Disk::attach(disk);
        let init = self.running.as_ref().and_then(Process::init).expect("the container is on");
        let node = disk.node.display();
        let [major, minor] = disk.number.map(|number| number.to_string());
        must(Command::new("nsenter").args(["--target", &init.to_string(), "--mount", "mknod"]).args([
            &node.to_string(),
            "b",
            &major,
            &minor,
        ]));
        self.look(&format!("mkdir -p /dev/disk/by-label && ln -sf {node} /dev/disk/by-label/{label}"));
        disk
    }

    /// Where its SSH server is at one of its addresses.
    pub fn door(&self, address: impl Into<IpAddr>) -> SocketAddr {
        (address.into(), 22).into()
    }

    /// Whether an SSH server says its name at an address.
    pub fn answers(&self, address: impl Into<IpAddr>) -> bool {
        outside::answers(self.door(address), Duration::from_secs(2))
    }

    pub fn wait_for_ssh(&self, address: impl Into<IpAddr>) {
        let address = address.into();
        let what = format!("SSH on {address} of {}", self.hardware.name);
        until(&what, BOOT, || self.answers(address).then_some(()));
    }

    /// Root's way in by the network, only to look.
    pub fn ssh(&self, address: impl Into<IpAddr>) -> Ssh {
        Ssh::with_key("root", self.door(address), self.hardware.key.path())
    }

    /// Waits until systemd has started everything, or given it up.
    pub fn wait_for_boot(&self) {
        until(&format!("the boot of {}", self.hardware.name), BOOT, || {
            let said = self.said("systemctl is-system-running --wait", "");
            ["running", "degraded"].contains(&said.out.trim()).then_some(())
        });
    }

    /// What a command says in it, with all of its standard input; no network is needed.
    pub fn said(&self, command: &str, input: impl AsRef<[u8]>) -> Said {
        crate::vm::run(self.enter(command), input.as_ref())
    }

    /// A command in it with its input and output open.
    pub fn spawn(&self, command: &str) -> Child {
        self.enter(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn enter(&self, command: &str) -> Command {
        let running = self.running.as_ref().expect("the container is on");
        let init = until("the start of the container", BOOT, || running.init());
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &init.to_string(), "--all", "--root", "--wd", "env", "-i"]);
        enter.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]);
        enter.args(["sh", "-c", command]);
        enter
    }

    /// What a root shell in it says.
    pub fn look(&self, command: &str) -> String {
        let said = self.said(command, "");
        assert!(said.ok, "`{command}` in {}: {}{}", self.hardware.name, said.out, said.err);
        said.out
    }
}

impl Reached for Container<'_> {
    fn look(&self, _: IpAddr, command: &str) -> String {
        self.look(command)
    }

    fn door(&self, address: IpAddr) -> SocketAddr {
        self.door(address)
    }

    fn wait_for_ssh(&self, address: IpAddr) {
        self.wait_for_ssh(address);
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of {}:\n{}", self.hardware.name, self.console.tail());
            if self.running.as_ref().is_some_and(|running| running.init().is_some()) {
                let journal = self.said("journalctl -b --no-pager -n 2000 -o short-monotonic", "");
                let _ = fs::write(self.folder.join("journal.log"), journal.out);
            }
        }
        self.running = None;
        self.site.unlink(&self.hardware.name);
        let _ = Command::new("umount").arg("-l").arg(self.root()).output();
    }
}
