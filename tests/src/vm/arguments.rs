//! QEMU's command line for a machine.

use std::path::Path;

use super::hardware::{Bus, Firmware, Link, UEFI_CODE};
use super::{Format, SERVER, Vm, script};

/// Names of the links, in the order of the cards on the bus.
const LINKS: [&str; 4] = ["management", "failover", "data0", "data1"];

/// The first card's place on the bus; the others follow.
const FIRST_SLOT: u8 = 0x10;

/// Joins one connection to a port of this machine. Whichever side ends first ends both.
const JOIN: &str = "#!/bin/bash
exec 3<>\"/dev/tcp/127.0.0.1/$1\" || exit
{ cat <&3; kill 0; } &
cat >&3
kill 0
";

impl Vm {
    pub(super) fn arguments(&self, state: Option<&Path>) -> Vec<String> {
        let hardware = &self.hardware;
        let mut all = Arguments(Vec::new());
        all.push("-name", &hardware.name);
        // With a thread for each processor, code that a guest's kernel changes while it runs is at times executed half changed.
        all.push("-accel", "tcg,thread=single,tb-size=512");
        all.push("-machine", "q35");
        let hidden = if hardware.is_vmware() { ",-hypervisor" } else { "" };
        all.push("-cpu", format!("max{hidden}"));
        all.push("-smp", "2");
        all.push("-m", hardware.memory.to_string());
        all.flag("-nodefaults");
        all.push("-display", "none");
        all.push("-vga", "std");
        all.push("-device", "virtio-rng-pci");
        self.firmware(&mut all);
        self.identity(&mut all);
        self.disks(&mut all);
        self.links(&mut all);
        let place = self.place.path().display();
        for (socket, option) in [("serial", "-serial"), ("qmp", "-qmp")] {
            all.push("-chardev", format!("socket,id={socket},path={place}/{socket},server=on,wait=off"));
            match option {
                "-serial" => all.push(option, "chardev:serial"),
                _ => all.push("-mon", "chardev=qmp,mode=control"),
            }
        }
        if let Some(state) = state {
            all.flag("-S");
            all.push("-incoming", format!("exec:cat '{}'", state.display()));
        }
        all.0
    }

    fn firmware(&self, all: &mut Arguments) {
        if let Firmware::Uefi = self.hardware.firmware {
            let variables = self.place.path().join("variables.fd");
            all.push("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={UEFI_CODE}"));
            all.push("-drive", format!("if=pflash,unit=1,format=raw,file={}", variables.display()));
        }
    }

    fn identity(&self, all: &mut Arguments) {
        let hardware = &self.hardware;
        let [manufacturer, product, serial] =
            [&hardware.manufacturer, &hardware.product, &hardware.serial].map(|text| escaped(text));
        all.push(
            "-smbios",
            format!(
                "type=1,manufacturer={manufacturer},product={product},serial={serial},uuid={}",
                hardware.uuid
            ),
        );
        for (name, value) in &hardware.credentials {
            let value = escaped(value);
            all.push("-smbios", format!("type=11,value=io.systemd.credential:{name}={value}"));
        }
    }

    fn disks(&self, all: &mut Arguments) {
        let disk = escaped(&self.disk.display().to_string());
        let disk = match &self.hardware.recording {
            None => format!("format=qcow2,file={disk}"),
            Some(recording) => {
                std::fs::write(recording, "").unwrap();
                let recording = escaped(&recording.display().to_string());
                format!(
                    "driver=blklogwrites,file.driver=qcow2,file.file.filename={disk},log.filename={recording}"
                )
            }
        };
        all.push("-drive", format!("id=boot,if=none,cache=writeback,{disk}"));
        if let Bus::Vmware = self.hardware.bus {
            all.push("-device", "pvscsi,id=scsi,bus=pcie.0,addr=0x8");
            all.push("-device", "scsi-hd,bus=scsi.0,drive=boot,bootindex=1");
        } else {
            all.push("-device", "virtio-blk-pci,bus=pcie.0,addr=0x8,drive=boot,bootindex=1");
        }
        // Where a disk is plugged in later.
        all.push("-device", "pcie-root-port,id=free-place,bus=pcie.0,addr=0x9,chassis=1");
        if let Some(medium) = &self.hardware.medium {
            let path = escaped(&medium.path.display().to_string());
            all.push("-drive", format!("id=medium,if=none,format=raw,readonly=on,file={path}"));
            let drive = if medium.format == Format::Disc { "ide-cd,bus=ide.0" } else { "virtio-blk-pci" };
            all.push("-device", format!("{drive},drive=medium"));
        }
    }

    /// Four cards, each on a link of its own; the first one's link has this machine on it, and so may the second one's.
    fn links(&self, all: &mut Arguments) {
        let hardware = &self.hardware;
        let card = if hardware.bus == Bus::Virtio { "virtio-net-pci" } else { "vmxnet3" };
        for ((number, link), slot) in (0..).zip(LINKS).zip(FIRST_SLOT..) {
            let other_end = match (number, &hardware.link, &hardware.failover) {
                (0, Link::Forwarded, _) => format!("user,id={link},{}", self.forwards()),
                (0, Link::Tap(name), _) | (1, _, Some(name)) => {
                    format!("tap,id={link},ifname={name},script=no,downscript=no,vnet_hdr=off")
                }
                // Nobody is at the other end: what is sent is gone.
                _ => nobody(&self.place.path().display().to_string(), link),
            };
            all.push("-netdev", other_end);
            let mac = hardware.mac_of(number);
            all.push("-device", format!("{card},bus=pcie.0,addr={slot:#x},netdev={link},mac={mac},romfile="));
        }
        let pcap = escaped(&self.pcap().display().to_string());
        all.push("-object", format!("filter-dump,id=wire,netdev=management,file={pcap}"));
    }

    fn forwards(&self) -> String {
        let mut user = "restrict=on,ipv6=off,net=192.168.45.0/24,host=192.168.45.2".to_owned();
        for (address, port) in &self.ports {
            user += &format!(",hostfwd=tcp:127.0.0.1:{port}-{address}:22");
        }
        let join = self.place.path().join("join");
        script(&join, JOIN);
        for (port, of_the_host) in &self.hardware.servers {
            user += &format!(",guestfwd=tcp:{SERVER}:{port}-cmd:{} {of_the_host}", join.display());
        }
        user
    }
}

/// A link with nobody at its other end, on which frames still go out: a card whose frames stay makes the guest's kernel complain.
fn nobody(place: &str, link: &str) -> String {
    format!(
        "dgram,id={link},local.type=unix,local.path={place}/{link},remote.type=unix,remote.path={place}/{link}-end"
    )
}

struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn push(&mut self, name: &str, value: impl Into<String>) {
        self.0.extend([name.to_owned(), value.into()]);
    }
}

/// QEMU writes a comma in a value twice.
fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}
