use std::io::{BufWriter, Read, Write};

use jiff::Timestamp;
use reinstate_api::{Code, Failure};
use sha2::{Digest as _, Sha256};

use super::header::{BLOCK, Header};
use super::input;
use super::names::{is_domain_name, is_link_target, is_owner_name, member_name};
use super::pax::Records;
use super::{BUFFER, MANIFEST, Manifest, SUMS, Sums, shown};
use crate::tree::{Digest, Entry, EntryKind, Index};

/// The domain that comes first: locks need its key early.
const FIRST: &str = "ha";

/// Opens the clear content of a domain's file.
pub type Open<'o> = dyn FnMut(&str, &Entry) -> Result<Box<dyn Read>, Failure> + 'o;

/// Writes an archive of `index`; equal input makes equal bytes. Format, digest of sums, and counts of
/// the manifest's domains are filled in here, and the manifest is returned as written.
///
/// `open` gives a content of the entry's size and digest.
///
/// # Errors
///
/// `digest-mismatch` where a content is not what the index says, `archive-invalid` for what the format
/// cannot hold (an owner's name, a set-id bit, a domain that the manifest lacks), the errors of
/// `open`, and `io` or `no-space` of `out`. What has been written by then is no archive.
pub fn write(
    out: impl Write,
    manifest: Manifest,
    index: &Index,
    open: &mut Open<'_>,
) -> Result<Manifest, Failure> {
    index.iter().try_for_each(|(domain, entry)| check(&member_name(domain, &entry.path), entry))?;
    let sums = Sums::write(index);
    let manifest = filled(manifest, index, &sums)?;
    let mtime = u64::try_from(manifest.created.as_second()).unwrap_or(0);
    let mut out = Output { out: BufWriter::with_capacity(BUFFER, out), mtime, buffer: vec![0; BUFFER] };
    out.whole(MANIFEST, &manifest.to_bytes()?)?;
    out.whole(SUMS, &sums)?;
    let (first, rest): (Vec<_>, Vec<_>) = index.domains.iter().partition(|(name, _)| *name == FIRST);
    for (domain, entries) in first.into_iter().chain(rest) {
        for entry in entries.values() {
            out.entry(domain, entry, open)?;
        }
    }
    out.bytes(&[0; 2 * BLOCK])?;
    out.out.flush().map_err(|error| unwritten(&error))?;
    Ok(manifest)
}

/// A tar of files from memory: for people, and no archive of the format.
///
/// # Errors
/// `io` or `no-space` of `out`.
pub fn write_files(out: impl Write, made: Timestamp, files: &[(String, Vec<u8>)]) -> Result<(), Failure> {
    let mtime = u64::try_from(made.as_second()).unwrap_or(0);
    let mut out = Output { out: BufWriter::new(out), mtime, buffer: Vec::new() };
    files.iter().try_for_each(|(name, content)| out.whole(name, content))?;
    out.bytes(&[0; 2 * BLOCK])?;
    out.out.flush().map_err(|error| unwritten(&error))
}

fn filled(mut manifest: Manifest, index: &Index, sums: &[u8]) -> Result<Manifest, Failure> {
    manifest.format = Manifest::FORMAT;
    manifest.sha256sums = Digest::of(sums);
    for record in &mut manifest.domains {
        let files = index.domain(&record.name).filter(|entry| entry.is_file());
        (record.files, record.bytes) =
            files.fold((0, 0), |(files, bytes), entry| (files + 1, bytes + entry.size()));
    }
    match index.domains.keys().find(|name| !is_domain_name(name) || manifest.domain(name).is_none()) {
        Some(name) => Err(unfit(format!("the domain {} is not in the manifest", shown(name)))),
        None => Ok(manifest),
    }
}

struct Output<W: Write> {
    out: BufWriter<W>,
    mtime: u64,
    buffer: Vec<u8>,
}

impl<W: Write> Output<W> {
    /// A member of the archive's own, from memory.
    fn whole(&mut self, name: &str, content: &[u8]) -> Result<(), Failure> {
        self.header(Header {
            name: name.into(),
            flag: b'0',
            mode: 0o600,
            size: content.len() as u64,
            link: Vec::new(),
            owner: b"root".into(),
            group: b"root".into(),
        })?;
        self.bytes(content)?;
        self.pad(content.len() as u64)
    }

    fn entry(&mut self, domain: &str, entry: &Entry, open: &mut Open<'_>) -> Result<(), Failure> {
        let mut name = member_name(domain, &entry.path);
        let (flag, link) = match &entry.kind {
            EntryKind::File { .. } => (b'0', ""),
            EntryKind::Link { target } => (b'2', target.as_str()),
            EntryKind::Folder => {
                name.push('/');
                (b'5', "")
            }
        };
        self.header(Header {
            name: name.clone().into_bytes(),
            flag,
            mode: entry.mode.into(),
            size: entry.size(),
            link: link.into(),
            owner: entry.owner.clone().into_bytes(),
            group: entry.group.clone().into_bytes(),
        })?;
        match entry.kind {
            EntryKind::File { size, sha256, .. } => {
                self.content(&name, &mut *open(domain, entry)?, size, sha256)?;
                self.pad(size)
            }
            _ => Ok(()),
        }
    }

    /// Copies and compares in the same pass; not a byte more than announced is written.
    fn content(
        &mut self,
        name: &str,
        content: &mut dyn Read,
        size: u64,
        expected: Digest,
    ) -> Result<(), Failure> {
        let mut hash = Sha256::new();
        let mut done = 0;
        loop {
            let count = match content.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(input::failed(&error, &shown(name), done)),
            };
            done += count as u64;
            if done > size || count == 0 && done < size {
                let relation = if done > size { "more than" } else { "only" };
                return Err(changed(format!(
                    "{} has {relation} {} bytes, the index says {size}",
                    shown(name),
                    done.min(size)
                )));
            }
            if count == 0 {
                break;
            }
            hash.update(&self.buffer[..count]);
            self.out.write_all(&self.buffer[..count]).map_err(|error| unwritten(&error))?;
        }
        match Digest::finish(hash) {
            has if has == expected => Ok(()),
            has => Err(changed(format!("{} has SHA-256 {has}, the index says {expected}", shown(name)))),
        }
    }

    /// A header, behind an extended one where a field is too small.
    fn header(&mut self, header: Header) -> Result<(), Failure> {
        let [name, link, owner, group, size] = header.needs_pax();
        // All of them came from strings.
        let text = |needed: bool, bytes: &[u8]| needed.then(|| String::from_utf8_lossy(bytes).into_owned());
        let records = Records {
            path: text(name, &header.name),
            link: text(link, &header.link),
            owner: text(owner, &header.owner),
            group: text(group, &header.group),
            size: size.then_some(header.size),
        };
        let body = records.to_bytes();
        if !body.is_empty() {
            let extended = Header {
                name: b"PaxHeaders/member".into(),
                flag: b'x',
                mode: 0o600,
                size: body.len() as u64,
                link: Vec::new(),
                owner: b"root".into(),
                group: b"root".into(),
            };
            self.bytes(&extended.encode(self.mtime))?;
            self.bytes(&body)?;
            self.pad(body.len() as u64)?;
        }
        self.bytes(&header.encode(self.mtime))
    }

    fn pad(&mut self, size: u64) -> Result<(), Failure> {
        let zeros = [0; BLOCK];
        self.bytes(&zeros[..(size.next_multiple_of(BLOCK as u64) - size) as usize])
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(|error| unwritten(&error))
    }
}

/// What the reader would refuse is not written.
fn check(name: &str, entry: &Entry) -> Result<(), Failure> {
    let wrong = |why: String| Err(unfit(format!("{}: {why}", shown(name))));
    for owner in [&entry.owner, &entry.group] {
        if !is_owner_name(owner) {
            return wrong(format!(
                "{} is no owner's name; one is 1 to 32 of a-z, 0-9, '_' and '-'",
                shown(owner)
            ));
        }
    }
    match &entry.kind {
        EntryKind::Link { target } if !is_link_target(target) => {
            wrong(format!("it is a link to {}, which is no path", shown(target)))
        }
        EntryKind::Link { .. } if entry.mode != 0o777 => {
            wrong(format!("it is a link of mode {:o}, not 777", entry.mode))
        }
        _ if entry.mode > 0o777 => wrong(format!("it has the mode {:o}, not at most 777", entry.mode)),
        _ => Ok(()),
    }
}

fn unfit(why: String) -> Failure {
    Failure::new(Code::ArchiveInvalid, format!("the archive cannot hold this: {why}"))
}

fn changed(why: String) -> Failure {
    Failure::new(Code::DigestMismatch, why).hint("it changed while it was read, or is damaged: try again")
}

fn unwritten(error: &std::io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Failure>()) {
        Some(failure) => failure.clone(),
        None => Failure::io("cannot write the archive", error),
    }
}
