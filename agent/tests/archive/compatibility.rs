//! Archives made by earlier versions stay readable.
//!
//! The files in `tests/fixtures/archives` are never regenerated: each was made by the writer of its
//! time. A new format, or a new shape of this one, gets files of its own beside them.

use std::path::{Path, PathBuf};

use reinstate_agent::tree::{Entry, EntryKind};

use crate::sample::{Recorder, record};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/archives").join(name)
}

/// Everything that a restore takes from an archive, one fact a line.
fn listing(recorder: &Recorder) -> String {
    let manifest = recorder.manifest.as_ref().unwrap();
    let (hardware, device, software) = (&manifest.hardware, &manifest.device, &manifest.software);
    let manager = manifest.manager.as_ref().unwrap();
    let group = manifest.ha.as_ref().unwrap();
    let mut lines = vec![
        format!("format {} created {} licence {}", manifest.format, manifest.created, manifest.licence),
        format!(
            "hardware {} {} {} {}",
            hardware.model, hardware.serial, hardware.uuid, hardware.network_modules
        ),
        format!("device {} {} {} {}", device.uuid, device.hostname, device.role, device.management.join(" ")),
        format!(
            "software {} {} {} {}",
            software.version,
            software.build,
            software.patch,
            software.hotfixes.join(" ")
        ),
        format!("manager {} {} {} {}", manager.host, manager.name, manager.device_uuid, manager.state),
        format!("ha {}", group.name),
    ];
    for interface in &hardware.interfaces {
        let (name, kernel, slot) = (&interface.name, &interface.kernel, &interface.slot);
        lines.push(format!("interface {name} {kernel} {slot} {} {}", interface.kind, interface.mac));
    }
    for member in &group.members {
        let addresses = member.addresses.join(" ");
        let (uuid, hostname, role) = (&member.uuid, &member.hostname, member.role);
        lines.push(format!("member {uuid} {hostname} {role} {addresses} {}", member.host_key));
    }
    for record in &manifest.domains {
        let (name, version, optional) = (&record.name, record.version, record.optional);
        lines.push(format!("domain {name} {version} {} {} {optional}", record.files, record.bytes));
    }
    for (domain, entry) in &recorder.entries {
        let Entry { path, mode, owner, group, kind } = entry;
        let what = match kind {
            EntryKind::File { size, sha256, .. } => format!("file {size} {sha256}"),
            EntryKind::Folder => "folder".into(),
            EntryKind::Link { target } => format!("link {target}"),
        };
        lines.push(format!("{domain} {mode:04o} {owner}:{group} {} {what}", path.as_str()));
    }
    lines.join("\n") + "\n"
}

#[test]
fn archives_of_format_1_are_read_for_ever() {
    let expected = std::fs::read_to_string(fixture("format-1.txt")).unwrap();
    for name in ["format-1.tar", "format-1.tar.gz"] {
        let recorder = record(&std::fs::read(fixture(name)).unwrap()).unwrap();
        assert_eq!(listing(&recorder), expected, "{name}");
    }
}
