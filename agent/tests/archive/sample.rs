//! A small configuration, and a receiver that remembers everything.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use reinstate_agent::archive::{
    DomainRecord, HaGroup, HaMember, Limits, Manifest, Receiver, Sums, read, write,
};
use reinstate_agent::tree::{Digest, Entry, EntryKind, Index};
use reinstate_api::{DeviceIdentity, Failure, HardwareIdentity, Interface, Registration, Role, Software};

pub type Contents = BTreeMap<(String, String), Vec<u8>>;

/// A configuration with its contents.
#[derive(Default)]
pub struct Sample {
    pub index: Index,
    pub contents: Contents,
}

impl Sample {
    pub fn file(mut self, domain: &str, path: &str, mode: u32, content: &[u8]) -> Self {
        let kind = EntryKind::File { size: content.len() as u64, sha256: Digest::of(content), sealed: false };
        self.contents.insert((domain.into(), path.into()), content.to_vec());
        self.insert(domain, path, mode, kind)
    }

    pub fn folder(self, domain: &str, path: &str, mode: u32) -> Self {
        self.insert(domain, path, mode, EntryKind::Folder)
    }

    pub fn link(self, domain: &str, path: &str, target: &str) -> Self {
        self.insert(domain, path, 0o777, EntryKind::Link { target: target.into() })
    }

    fn insert(mut self, domain: &str, path: &str, mode: u32, kind: EntryKind) -> Self {
        let entry =
            Entry { path: path.parse().unwrap(), mode, owner: "root".into(), group: "root".into(), kind };
        self.index.insert(domain, entry);
        self
    }

    pub fn write(&self, manifest: Manifest) -> (Manifest, Vec<u8>) {
        let mut out = Vec::new();
        let mut open = |domain: &str, entry: &Entry| -> Result<Box<dyn Read>, Failure> {
            let content = &self.contents[&(domain.to_owned(), entry.path.as_str().to_owned())];
            Ok(Box::new(std::io::Cursor::new(content.clone())))
        };
        let manifest = write(&mut out, manifest, &self.index, &mut open).unwrap();
        (manifest, out)
    }
}

/// Every shape that an archive can have: long and odd names, empty files, sizes around a block.
pub fn sample() -> Sample {
    let long = format!("etc/{}/{}", "deep-".repeat(30), "name-".repeat(40));
    Sample::default()
        .folder("ha", "etc/keepalived", 0o750)
        .file("ha", "etc/keepalived/keepalived.conf", 0o640, b"vrrp_instance a {}\n")
        .file("firewall", "etc/nftables.conf", 0o644, b"flush ruleset\n")
        .folder("firewall", "etc/nftables.d", 0o755)
        .file("firewall", "etc/nftables.d/block", 0o600, &[b'#'; 512])
        .file("firewall", "etc/nftables.d/block-and-one", 0o600, &[b'#'; 513])
        .file("firewall", "etc/nftables.d/empty", 0o600, b"")
        .folder("pki", "etc/ssl/private", 0o700)
        .file("pki", "etc/ssl/private/a key.pem", 0o400, &pattern(70_001))
        .file("system", "etc/Grüße", 0o644, "Grüße\n".as_bytes())
        .file("system", &long, 0o644, b"long\n")
        .link("system", "etc/localtime", "/usr/share/zoneinfo/UTC")
        .link("system", "etc/long", &"../".repeat(60))
}

pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

pub fn manifest(domains: &[&str]) -> Manifest {
    Manifest {
        format: 1,
        created: "2025-03-04T05:06:07Z".parse().unwrap(),
        sha256sums: Digest([0; 32]),
        licence: "LIC-0001".into(),
        hardware: HardwareIdentity {
            model: "FW-1".into(),
            serial: "S-0001".into(),
            uuid: "5d1d8f4e-0000-4000-8000-000000000001".into(),
            network_modules: 1,
            interfaces: vec![Interface {
                name: "management0".into(),
                kernel: "ens160".into(),
                slot: "0000:03:00.0".into(),
                kind: "vmxnet3".into(),
                mac: "00:00:5e:00:53:01".into(),
            }],
        },
        device: DeviceIdentity {
            uuid: "5d1d8f4e-0000-4000-8000-000000000002".into(),
            hostname: "fw-a".into(),
            role: Role::Primary,
            management: vec!["192.0.2.10/24".into(), "2001:db8::10/64".into()],
        },
        software: Software {
            version: "7.4.1".into(),
            build: "172".into(),
            patch: "2".into(),
            hotfixes: vec!["HF-1".into()],
        },
        manager: Some(Registration { host: "192.0.2.1".into(), ..Registration::default() }),
        ha: Some(HaGroup {
            name: "pair".into(),
            members: vec![HaMember {
                uuid: "5d1d8f4e-0000-4000-8000-000000000003".into(),
                hostname: "fw-b".into(),
                role: Role::Secondary,
                addresses: vec!["192.0.2.11".into()],
                host_key: "ssh-ed25519 AAAA".into(),
                failover: "198.51.100.1/30".into(),
            }],
        }),
        domains: domains
            .iter()
            .map(|name| DomainRecord {
                name: (*name).into(),
                version: 1,
                files: 0,
                bytes: 0,
                optional: false,
            })
            .collect(),
    }
}

/// The sample, written.
pub fn archive() -> (Manifest, Vec<u8>) {
    sample().write(manifest(&["firewall", "ha", "pki", "system", "vpn"]))
}

/// All that a receiver was told.
#[derive(Debug, Default, PartialEq)]
pub struct Recorder {
    pub manifest: Option<Manifest>,
    pub sums: Option<Sums>,
    pub entries: Vec<(String, Entry)>,
    pub contents: Contents,
}

impl Receiver for Recorder {
    fn manifest(&mut self, manifest: &Manifest) -> Result<(), Failure> {
        self.manifest = Some(manifest.clone());
        Ok(())
    }

    fn sums(&mut self, _: &Manifest, sums: &Sums) -> Result<(), Failure> {
        self.sums = Some(sums.clone());
        Ok(())
    }

    fn folder(&mut self, domain: &str, entry: &Entry) -> Result<(), Failure> {
        self.entries.push((domain.into(), entry.clone()));
        Ok(())
    }

    fn link(&mut self, domain: &str, entry: &Entry) -> Result<(), Failure> {
        self.folder(domain, entry)
    }

    fn file(&mut self, domain: &str, entry: &Entry, content: &mut dyn BufRead) -> Result<(), Failure> {
        self.folder(domain, entry)?;
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(|error| Failure::io("cannot read", &error))?;
        self.contents.insert((domain.into(), entry.path.as_str().into()), bytes);
        Ok(())
    }
}

impl Recorder {
    pub fn index(&self) -> Index {
        let mut index = Index::default();
        self.entries.iter().for_each(|(domain, entry)| index.insert(domain, entry.clone()));
        index
    }
}

pub fn record_with(bytes: &[u8], limits: &Limits) -> Result<Recorder, Failure> {
    let mut recorder = Recorder::default();
    let manifest = read(bytes, limits, &mut recorder)?;
    assert_eq!(recorder.manifest.as_ref(), Some(&manifest));
    Ok(recorder)
}

pub fn record(bytes: &[u8]) -> Result<Recorder, Failure> {
    record_with(bytes, &Limits::default())
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// A seeded row of numbers.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}
