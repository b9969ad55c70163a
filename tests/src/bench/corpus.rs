//! What is fetched: an archive of about ten thousand files that do not compress, and the appliance
//! that takes it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use reinstate_agent::archive::{self, DomainRecord, Manifest};
use reinstate_agent::facts::Facts;
use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::profile;
use reinstate_agent::tree::{Digest, Entry, EntryKind, Hashing, Index};

use crate::appliance::Appliance;
use crate::{Result, doing};

const FILES: u64 = 10_000;
const DOMAIN: &str = "bulk";
const DECLARATION: &str = "name = \"bulk\"\nversion = 1\npaths = [\"/srv/bulk/\"]\nrestore = \"replace\"\n";

/// An appliance with one domain that is as large as it likes, and none that needs a checker.
pub fn appliance(root: &Path) -> Result<()> {
    let vendor = "usr/lib/reinstate/domains.d";
    Appliance::replacement()
        .without(vendor)
        .file(&format!("{vendor}/bulk.toml"), DECLARATION, 0o644)
        .profile_override(MANAGER)
        .build(root)?;
    for folder in [super::STATE_FOLDER, reinstate_api::BACKUP_FOLDER] {
        let at = root.join(folder);
        doing("make", &at, fs::create_dir_all(&at))?;
    }
    Ok(())
}

const MANAGER: &str = "[manager]\ndomain = \"bulk\"\n";

/// Writes an archive of about `size` bytes that this appliance takes.
pub fn archive(root: &Path, to: &Path, size: u64) -> Result<u64> {
    let failed = |failures: Vec<reinstate_api::Failure>| {
        let words: Vec<_> = failures.iter().map(ToString::to_string).collect();
        words.join("; ")
    };
    let folder = Folder::open(root, Arc::new(Direct))?;
    let (profile, _) = profile::load(&folder).map_err(failed)?;
    let facts = Facts::read(&folder, &profile)?;
    let mut index = Index::default();
    let mut sizes = Xoshiro256PlusPlus::seed_from_u64(size);
    let average = size / FILES;
    for number in 0..FILES {
        let size = average / 2 + sizes.next_u64() % (average + 1);
        let mut content = Hashing::new(Noise::new(number, size));
        io::copy(&mut content, &mut io::sink())?;
        let (size, sha256) = content.finish();
        let path = format!("srv/bulk/{:02}/{number:05}", number % 100);
        index.insert(
            DOMAIN,
            Entry {
                path: path.parse()?,
                mode: 0o640,
                owner: "root".into(),
                group: "root".into(),
                kind: EntryKind::File { size, sha256, sealed: false },
            },
        );
    }
    let manifest = Manifest {
        format: Manifest::FORMAT,
        created: "2026-01-01T00:00:00Z".parse()?,
        sha256sums: Digest([0; 32]),
        licence: String::new(),
        hardware: facts.hardware,
        device: facts.device,
        software: facts.software,
        manager: None,
        ha: None,
        domains: vec![DomainRecord { name: DOMAIN.into(), version: 1, files: 0, bytes: 0, optional: false }],
    };
    let file = doing("create", to, File::create(to))?;
    archive::write(&file, manifest, &index, &mut |_, entry| {
        let number = entry.path.file_name().parse().unwrap_or_default();
        Ok(Box::new(Noise::new(number, entry.size())))
    })?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Bytes that follow from a seed and do not compress.
struct Noise {
    random: Xoshiro256PlusPlus,
    left: u64,
}

impl Noise {
    fn new(seed: u64, size: u64) -> Self {
        Self { random: Xoshiro256PlusPlus::seed_from_u64(seed), left: size }
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Whole words: the same bytes whatever the size of the buffer.
        let whole = buffer.len() / 8 * 8;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(whole);
        self.random.fill_bytes(&mut buffer[..most]);
        self.left -= most as u64;
        Ok(most)
    }
}
