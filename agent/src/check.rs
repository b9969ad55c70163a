//! The checks that need only the manifest: all are made, and all failures are reported together,
//! each with both values.

use std::collections::BTreeSet;
use std::fmt::Display;

use reinstate_api::{Code, Failure, Interface, Role};

use crate::archive::{Manifest, role_in_name};
use crate::domain::{Domains, Policy};
use crate::facts::Facts;
use crate::files::{Folder, found};
use crate::profile::Profile;

/// Free space that is left to everything else: 16 MiB.
const SPARE_BYTES: u64 = 16 << 20;

/// Free inodes that are left to everything else.
const SPARE_INODES: u64 = 256;

/// What the checks compare an archive with.
pub struct Here<'a> {
    pub facts: &'a Facts,
    pub profile: &'a Profile,
    pub domains: &'a Domains,
    /// Bytes and entries of the live configuration: what a snapshot takes.
    pub live: (u64, u64),
    /// What is free where generations are kept, and where the live configuration is.
    pub space: Space,
    /// The UUID of the one device whose backup will do.
    pub device: Option<String>,
    /// What is wrong already, to be reported with the rest.
    pub known: Vec<Failure>,
}

/// Free bytes and inodes, of each file system that a restore writes to.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    pub store: (u64, u64),
    /// None where it is the store's.
    pub live: Option<(u64, u64)>,
    /// Bytes of a download that are still to come to the store's file system.
    pub to_come: u64,
}

impl Space {
    /// `to_come` are the bytes of a download that are still to come into `backups`.
    pub fn look(store: &Folder, root: &Folder, backups: &Folder, to_come: u64) -> Result<Self, Failure> {
        let live = found(root.folder("etc"))?.unwrap_or_else(|| root.clone());
        let other = live.device()? != store.device()?;
        Ok(Self {
            store: store.free()?,
            live: other.then(|| live.free()).transpose()?,
            to_come: if backups.device()? == store.device()? { to_come } else { 0 },
        })
    }
}

/// Everything that is wrong with restoring this archive here.
pub fn manifest(manifest: &Manifest, file: &str, here: &Here<'_>) -> Vec<Failure> {
    let mut failures = here.known.clone();
    hardware(manifest, here, &mut failures);
    software(manifest, here, &mut failures);
    registration(manifest, here, &mut failures);
    device(manifest, here, &mut failures);
    role(manifest, file, &mut failures);
    domains(manifest, here.domains, &mut failures);
    space(manifest, here, &mut failures);
    failures
}

fn differs(code: Code, what: &str, backup: impl Display, this: impl Display) -> Failure {
    Failure::new(code, format!("{what}: the backup's is {backup}, this appliance's is {this}"))
}

fn device(manifest: &Manifest, here: &Here<'_>, found: &mut Vec<Failure>) {
    let Some(wanted) = here.device.as_ref().filter(|wanted| **wanted != manifest.device.uuid) else { return };
    found.push(
        Failure::new(
            Code::DeviceMismatch,
            format!("device: the backup's is {}, asked for was {wanted}", or_none(&manifest.device.uuid)),
        )
        .hint("take the backup of the device that is to be replaced"),
    );
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn hardware(manifest: &Manifest, here: &Here<'_>, found: &mut Vec<Failure>) {
    let (backup, this) = (&manifest.hardware, &here.facts.hardware);
    if backup.model != this.model {
        found.push(
            differs(Code::ModelMismatch, "model", &backup.model, &this.model)
                .hint("use a backup of the same model, or a replacement of the model in the backup"),
        );
    }
    if backup.network_modules != this.network_modules {
        found.push(
            differs(
                Code::NetworkModulesMismatch,
                "network modules",
                backup.network_modules,
                this.network_modules,
            )
            .hint("fit the same network modules as in the failed unit"),
        );
    }
    let different = interfaces(&backup.interfaces, &this.interfaces);
    if !different.is_empty() {
        found.push(
            Failure::new(Code::InterfacesMismatch, format!("interfaces: {}", different.join("; ")))
                .hint("give this appliance the same adapters in the same slots as the failed unit had"),
        );
    }
    let supported = &here.profile.hardware.hypervisors;
    if !supported.contains(&here.facts.hypervisor) {
        found.push(
            Failure::new(
                Code::HypervisorUnsupported,
                format!(
                    "hypervisor: this appliance's is {}, supported are {}",
                    or_none(&here.facts.hypervisor),
                    supported.join(", ")
                ),
            )
            .hint("move the appliance to a supported hypervisor"),
        );
    }
}

/// Slot and type count, in bus order; kernel names and MAC addresses always differ.
fn interfaces(backup: &[Interface], this: &[Interface]) -> Vec<String> {
    let describe = |i: &Interface| format!("{} at {}", i.kind, i.slot);
    let mut different = Vec::new();
    for at in 0..backup.len().max(this.len()) {
        match (backup.get(at), this.get(at)) {
            (Some(b), Some(t)) if (&b.slot, &b.kind) != (&t.slot, &t.kind) => {
                different.push(format!(
                    "{}: the backup's is {}, this appliance's is {}",
                    b.name,
                    describe(b),
                    describe(t)
                ));
            }
            (Some(b), None) => different.push(format!(
                "{}: the backup's is {}, this appliance has none",
                b.name,
                describe(b)
            )),
            (None, Some(t)) => different.push(format!(
                "{}: the backup has none, this appliance's is {}",
                t.name,
                describe(t)
            )),
            _ => {}
        }
    }
    different
}

fn software(manifest: &Manifest, here: &Here<'_>, found: &mut Vec<Failure>) {
    let (backup, this) = (&manifest.software, &here.facts.software);
    let way = &here.profile.texts.upgrade;
    for (code, what, backup, this) in [
        (Code::VersionMismatch, "software version", &backup.version, &this.version),
        (Code::BuildMismatch, "build", &backup.build, &this.build),
        (Code::PatchMismatch, "patch level", &backup.patch, &this.patch),
    ] {
        if backup != this {
            found.push(differs(code, what, or_none(backup), or_none(this)).hint(way));
        }
    }
    let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) =
        (this.hotfixes.iter().collect(), backup.hotfixes.iter().collect());
    if ours != theirs {
        let list = |names: Vec<&&String>| -> String {
            let names: Vec<_> = names.into_iter().map(|name| name.as_str()).collect();
            or_none(&names.join(", ")).to_owned()
        };
        let missing = list(theirs.difference(&ours).collect());
        let extra = list(ours.difference(&theirs).collect());
        found.push(
            Failure::new(
                Code::HotfixMismatch,
                format!(
                    "hotfixes: the backup's are {}, this appliance's are {}; missing here: {missing}; too many here: {extra}",
                    list(theirs.iter().collect()),
                    list(ours.iter().collect()),
                ),
            )
            .hint(way),
        );
    }
}

/// The same UUID and manager is an in-place restore, and allowed.
fn registration(manifest: &Manifest, here: &Here<'_>, found: &mut Vec<Failure>) {
    let Some(this) = &here.facts.registration else { return };
    let way_on = "`configure manager delete` takes this appliance's registration away; then restore again";
    if this.device_uuid != manifest.device.uuid {
        found.push(
            differs(
                Code::RegisteredOtherDevice,
                "registered device UUID",
                or_none(&manifest.device.uuid),
                or_none(&this.device_uuid),
            )
            .hint(way_on),
        );
    }
    let backup = manifest.manager.as_ref().map(|manager| manager.host.as_str()).unwrap_or_default();
    if this.host != backup {
        found
            .push(differs(Code::RegisteredOtherManager, "manager", or_none(backup), &this.host).hint(way_on));
    }
}

/// The file name is a hint; where it gives a role, that must be the manifest's.
fn role(manifest: &Manifest, file: &str, found: &mut Vec<Failure>) {
    let Some(named) = role_in_name(file) else { return };
    let role: Role = manifest.device.role;
    if named != role {
        found.push(
            Failure::new(
                Code::RoleMismatch,
                format!("role: the name of {file} says {named}, the backup's is {role}"),
            )
            .hint("take the backup of this member, under the name that it was made with"),
        );
    }
}

fn domains(manifest: &Manifest, here: &Domains, found: &mut Vec<Failure>) {
    for record in &manifest.domains {
        let name = &record.name;
        match here.get(name) {
            None if record.optional => {}
            None => found.push(
                Failure::new(
                    Code::DomainUnknown,
                    format!(
                        "domain '{name}': the backup holds version {}, this appliance has none",
                        record.version
                    ),
                )
                .hint("install the software that declares this domain"),
            ),
            Some(domain) if domain.restore == Policy::Keep => found.push(Failure::new(
                Code::DomainUnknown,
                format!(
                    "domain '{name}': the backup holds {} files, this appliance keeps its own",
                    record.files
                ),
            )),
            Some(domain) if domain.version != record.version => found.push(
                Failure::new(
                    Code::DomainUnknown,
                    format!(
                        "domain '{name}': the backup's version is {}, this appliance's is {}",
                        record.version, domain.version
                    ),
                )
                .hint("bring both to the same software version"),
            ),
            Some(_) => {}
        }
    }
}

/// Staging takes the archive's content, the snapshot the live one, and activation copies once more.
fn space(manifest: &Manifest, here: &Here<'_>, found: &mut Vec<Failure>) {
    let (content, space) = (manifest.totals(), &here.space);
    let activated = |need: (u64, u64)| (need.0.saturating_add(content.0), need.1.saturating_add(content.1));
    let spare = (SPARE_BYTES, SPARE_INODES);
    let staged = activated(spare);
    let kept = (
        staged.0.saturating_add(here.live.0).saturating_add(space.to_come),
        staged.1.saturating_add(here.live.1),
    );
    match space.live {
        None => enough("", activated(kept), space.store, found),
        Some(live) => {
            enough(" for generations", kept, space.store, found);
            enough(" for the live configuration", activated(spare), live, found);
        }
    }
}

fn enough(what: &str, need: (u64, u64), free: (u64, u64), found: &mut Vec<Failure>) {
    let way_on = "remove old backups from /var/sf/backup, or enlarge the disk";
    if need.0 > free.0 {
        let short = format!("free space{what}: {} bytes are needed, {} are free", need.0, free.0);
        found.push(Failure::new(Code::NoSpace, short).hint(way_on));
    }
    if need.1 > free.1 {
        let short = format!("free inodes{what}: {} are needed, {} are free", need.1, free.1);
        found.push(Failure::new(Code::NoInodes, short).hint(way_on));
    }
}
