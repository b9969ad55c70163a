//! Archives and bundles, plain and gzip.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Cursor, Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use reinstate_agent::archive::{
    MAX_PACKED, Manifest, Receiver, Sums, is_archive_name, read, read_bundle, read_manifest, write,
};
use reinstate_agent::tree::{Digest, Entry, EntryKind, Index, TreePath};
use reinstate_api::{Code, Failure};

use super::{LIMITS, REFUSALS, mend, refused};

/// An input is read as it is, with digests and checksums made right, and with all of its members listed: else
/// few changes would come further than the first digest.
pub fn archive(input: &[u8]) {
    examine(input);
    let tar = gunzip(input).unwrap_or_else(|| input.to_vec());
    examine(&mend::digests(&tar));
    if let Some(listed) = mend::lists(&tar) {
        examine(&listed);
    }
}

/// All that a receiver was told.
#[derive(Debug, Default, PartialEq)]
struct Received {
    manifest: Option<Manifest>,
    sums: Option<Sums>,
    index: Index,
    contents: BTreeMap<(String, TreePath), Vec<u8>>,
    bytes: u64,
    packed: Vec<String>,
}

impl Receiver for Received {
    fn packed(&mut self, name: &str) -> Result<(), Failure> {
        self.packed.push(name.to_owned());
        Ok(())
    }

    fn manifest(&mut self, manifest: &Manifest) -> Result<(), Failure> {
        assert_eq!(self.manifest.replace(manifest.clone()), None);
        Ok(())
    }

    fn sums(&mut self, manifest: &Manifest, sums: &Sums) -> Result<(), Failure> {
        assert_eq!(self.manifest.as_ref(), Some(manifest));
        assert_eq!(self.sums.replace(sums.clone()), None);
        Ok(())
    }

    fn folder(&mut self, domain: &str, entry: &Entry) -> Result<(), Failure> {
        assert!(!self.index.has_below(domain, &entry.path), "{} comes after what is in it", entry.path);
        assert_eq!(self.index.get(domain, &entry.path), None);
        let listed = self.sums.as_ref().and_then(|sums| sums.index().get(domain, &entry.path));
        assert_eq!(listed, Some(entry));
        self.index.insert(domain, entry.clone());
        Ok(())
    }

    fn link(&mut self, domain: &str, entry: &Entry) -> Result<(), Failure> {
        self.folder(domain, entry)
    }

    fn file(&mut self, domain: &str, entry: &Entry, content: &mut dyn BufRead) -> Result<(), Failure> {
        self.folder(domain, entry)?;
        let mut bytes = Vec::new();
        let taken = content.read_to_end(&mut bytes);
        self.bytes += bytes.len() as u64;
        taken.map_err(|error| Failure::io("cannot read", &error))?;
        assert_eq!(bytes.len() as u64, entry.size());
        self.contents.insert((domain.to_owned(), entry.path.clone()), bytes);
        Ok(())
    }
}

fn examine(bytes: &[u8]) {
    let whole = receive(bytes);
    assert_eq!(outcome(&receive(BufReader::with_capacity(61, bytes))), outcome(&whole), "in small pieces");
    // A gzip file in a gzip file is none that is read.
    if bytes.starts_with(&[0x1f, 0x8b]) {
        match gunzip(bytes) {
            Some(tar) if !tar.starts_with(&[0x1f, 0x8b]) => {
                assert_eq!(outcome(&receive(&tar[..])), outcome(&whole), "gunzipped");
            }
            _ => assert!(whole.is_err(), "damaged gzip is read"),
        }
    } else {
        assert_eq!(outcome(&receive(&gzip(bytes)[..])), outcome(&whole), "gzipped");
    }
    let bundle = take_apart(bytes);
    let is_bundle = whole.as_ref().is_err_and(|failure| failure.code == Code::ArchiveBundle);
    assert_eq!(bundle.is_ok(), is_bundle, "bundle or archive");
    if let Ok(received) = whole {
        assert_eq!(read_manifest(bytes, &LIMITS).ok(), received.manifest);
        write_again(&received);
    }
}

fn outcome(received: &Result<Received, Failure>) -> Result<&Received, Code> {
    received.as_ref().map_err(|failure| failure.code)
}

/// Reads it: what is accepted is what manifest and sums say, and nothing is given out beyond the limits.
fn receive(input: impl BufRead) -> Result<Received, Failure> {
    let mut received = Received::default();
    let read = read(input, &LIMITS, &mut received);
    assert!(received.bytes <= LIMITS.bytes && received.index.count() <= LIMITS.files);
    assert!(received.packed.len() <= MAX_PACKED);
    let manifest = read.inspect_err(|failure| {
        refused(failure, &[&REFUSALS[..], &[Code::ArchiveBundle]].concat());
    })?;
    assert_eq!(received.manifest.as_ref(), Some(&manifest));
    assert_eq!(received.sums.as_ref().map(Sums::index), Some(&received.index));
    assert_eq!(received.index.totals(), manifest.totals());
    for (domain, entry) in received.index.iter() {
        assert!(manifest.domain(domain).is_some() && entry.mode <= 0o777);
        assert!(entry.path.as_str().split('/').count() <= LIMITS.depth);
        if let EntryKind::File { sha256, .. } = entry.kind {
            let content = &received.contents[&(domain.to_owned(), entry.path.clone())];
            assert_eq!(Digest::of(content), sha256);
        }
    }
    Ok(received)
}

/// What was accepted can be written, and is then read as the same.
fn write_again(received: &Received) {
    let mut out = Vec::new();
    let mut open = |domain: &str, entry: &Entry| -> Result<Box<dyn Read>, Failure> {
        let content = &received.contents[&(domain.to_owned(), entry.path.clone())];
        Ok(Box::new(Cursor::new(content.clone())))
    };
    let manifest = received.manifest.clone().unwrap();
    let manifest = write(&mut out, manifest, &received.index, &mut open).unwrap();
    let again = receive(&out[..]).unwrap();
    assert_eq!(again.manifest, Some(manifest));
    assert_eq!((&again.index, &again.contents), (&received.index, &received.contents));
}

fn take_apart(bytes: &[u8]) -> Result<(), Failure> {
    let (mut names, mut size) = (BTreeSet::new(), 0);
    let mut digests = Vec::new();
    let mut take = |name: &str, bytes: u64, content: &mut dyn BufRead| {
        assert!(is_archive_name(name) && names.insert(name.to_owned()), "{name}");
        let mut taken = Vec::new();
        // Half of them are left to be passed over.
        if names.len() % 2 == 1 {
            content.read_to_end(&mut taken).map_err(|error| Failure::io("cannot read", &error))?;
            assert_eq!(taken.len() as u64, bytes);
            digests.push(Digest::of(&taken));
        }
        size += bytes;
        assert!(size <= LIMITS.bytes);
        Ok(())
    };
    let packed = read_bundle(bytes, &LIMITS, &mut take)
        .inspect_err(|failure| refused(failure, &[&REFUSALS[..], &[Code::BadRequest]].concat()))?;
    assert!((1..=MAX_PACKED).contains(&packed.len()));
    assert_eq!(packed.iter().map(|one| one.bytes).sum::<u64>(), size);
    assert_eq!(packed.iter().step_by(2).map(|one| one.sha256).collect::<Vec<_>>(), digests);
    assert_eq!(packed.into_iter().map(|one| one.file).collect::<BTreeSet<_>>(), names);
    Ok(())
}

/// What a gzip file holds; none where it is damaged, something follows it, or it is large.
fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    const MOST: u64 = 4 << 20;
    let mut rest = bytes;
    let mut tar = Vec::new();
    GzDecoder::new(&mut rest).take(MOST).read_to_end(&mut tar).ok()?;
    (rest.is_empty() && (tar.len() as u64) < MOST).then_some(tar)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &[u8] = include_bytes!("../../fixtures/archives/format-1.tar");

    #[test]
    fn what_is_made_right_is_accepted() {
        let whole = receive(FIXTURE).unwrap();
        let mut damaged = FIXTURE.to_vec();
        let content = b"flush ruleset";
        let at = damaged.windows(content.len()).position(|window| window == content).unwrap();
        damaged[at] ^= 1;
        assert_eq!(receive(&damaged[..]).unwrap_err().code, Code::DigestMismatch);
        let mended = receive(&mend::digests(&damaged)[..]).unwrap();
        assert_eq!((mended.index.count(), mended.bytes), (whole.index.count(), whole.bytes));
        let listed = receive(&mend::lists(&damaged).unwrap()[..]).unwrap();
        assert_eq!((listed.index, listed.contents), (mended.index, mended.contents));
    }
}
