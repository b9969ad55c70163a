use std::io::BufRead;

use reinstate_api::{Code, Failure};

use super::input::Input;
use super::members::{Kind, Member, Members};
use super::tree::Tree;
use super::{Limits, MANIFEST, Manifest, SUMS, Sums, bundle, invalid, refused, shown, too_large};
use crate::tree::{Digest, Entry, EntryKind};

/// Takes what the reader has found good, in the order of the archive. An error ends the reading.
///
/// Nothing is good for good before [`read`] returns: the last byte can still show that the archive
/// is not whole. A folder never comes after what is in it; one that only holds what its domain owns
/// does not come at all.
pub trait Receiver {
    /// It is a bundle, not an archive: called for each archive in it, by name. [`read`] goes on to the
    /// bundle's last byte, so that a fetch is whole, and then says what it is.
    fn packed(&mut self, _name: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn manifest(&mut self, manifest: &Manifest) -> Result<(), Failure>;

    /// All that will come, before the first of it does.
    fn sums(&mut self, manifest: &Manifest, sums: &Sums) -> Result<(), Failure>;

    fn folder(&mut self, domain: &str, entry: &Entry) -> Result<(), Failure>;

    /// Links come of any domain: whether it declares them, and where one may point, is the receiver's
    /// to judge.
    fn link(&mut self, domain: &str, entry: &Entry) -> Result<(), Failure>;

    /// `entry` holds size and digest as listed. All of `content` must be taken; its digest is
    /// compared right after this returns.
    fn file(&mut self, domain: &str, entry: &Entry, content: &mut dyn BufRead) -> Result<(), Failure>;
}

/// Reads an archive, plain or gzip by its first bytes, in one pass and to the last byte.
///
/// # Errors
///
/// `archive-bundle` for a whole bundle, `archive-format` for another format version, `archive-too-large` beyond a limit,
/// `digest-mismatch`, `archive-invalid` for everything else that is wrong with the archive; the
/// receiver's own errors; and a [`Failure`] that `input` returned inside an `io::Error`, as it was.
pub fn read(input: impl BufRead, limits: &Limits, receiver: &mut dyn Receiver) -> Result<Manifest, Failure> {
    let mut members = Members::new(Input::open(input)?);
    let first = match members.next()? {
        Some(first) if bundle::begins(&first) => {
            bundle::rest(members, first, limits, &mut |name, _, _| receiver.packed(name))?;
            return Err(bundle::no_archive());
        }
        first => first,
    };
    let manifest = manifest(&mut members, first, limits)?;
    check_totals(&manifest, limits)?;
    receiver.manifest(&manifest)?;
    let sums = sums(&mut members, &manifest, limits)?;
    receiver.sums(&manifest, &sums)?;
    let mut tree = Tree::new(&manifest, &sums, limits);
    while let Some(member) = members.next()? {
        let Some((domain, entry)) = tree.take(&member)? else {
            continue;
        };
        match entry.kind {
            EntryKind::Folder => receiver.folder(domain, entry)?,
            EntryKind::Link { .. } => receiver.link(domain, entry)?,
            EntryKind::File { sha256, .. } => {
                file(&mut members, &member.name, domain, entry, sha256, receiver)?;
            }
        }
    }
    tree.finish()?;
    members.finish()?;
    Ok(manifest)
}

/// Reads the first member alone, for listings; what follows may still be damaged.
///
/// # Errors
///
/// As [`read`].
pub fn read_manifest(input: impl BufRead, limits: &Limits) -> Result<Manifest, Failure> {
    let mut members = Members::new(Input::open(input)?);
    match members.next()? {
        Some(first) if bundle::begins(&first) => Err(bundle::no_archive()),
        first => manifest(&mut members, first, limits),
    }
}

fn manifest(members: &mut Members<'_>, first: Option<Member>, limits: &Limits) -> Result<Manifest, Failure> {
    Manifest::parse(&named(members, first, "first", MANIFEST, limits.manifest)?)
}

/// The second member, which is the one that the manifest means.
fn sums(members: &mut Members<'_>, manifest: &Manifest, limits: &Limits) -> Result<Sums, Failure> {
    let second = members.next()?;
    let bytes = named(members, second, "second", SUMS, limits.sums)?;
    let has = Digest::of(&bytes);
    if has != manifest.sha256sums {
        return Err(mismatch(SUMS, has, &format!("{MANIFEST} says {}", manifest.sha256sums)));
    }
    Sums::parse(&bytes, manifest, limits)
}

fn named(
    members: &mut Members<'_>,
    member: Option<Member>,
    which: &str,
    name: &str,
    most: u64,
) -> Result<Vec<u8>, Failure> {
    let wrong = |is: &str| Err(invalid(format!("the {which} member is {is}, not the file '{name}'")));
    match member {
        None => wrong("missing"),
        Some(member) if member.name != name => wrong(&shown(&member.name)),
        Some(Member { kind: Kind::Folder | Kind::Link(_), .. }) => wrong("no file"),
        Some(member) => members.whole(&member, most),
    }
}

/// An archive that announces too much is refused before any of it is taken.
fn check_totals(manifest: &Manifest, limits: &Limits) -> Result<(), Failure> {
    let (bytes, files) = manifest.totals();
    if bytes > limits.bytes {
        return Err(too_large("bytes of configuration", bytes, limits.bytes));
    }
    if files > limits.files {
        return Err(too_large("files of configuration", files, limits.files));
    }
    Ok(())
}

fn file(
    members: &mut Members<'_>,
    name: &str,
    domain: &str,
    entry: &Entry,
    expected: Digest,
    receiver: &mut dyn Receiver,
) -> Result<(), Failure> {
    let name = format!("member {}", shown(name));
    let mut content = members.content(entry.size(), &name);
    let received = receiver.file(domain, entry, &mut content);
    // The receiver knows less of what went wrong with the archive.
    if let Some(failure) = content.failure() {
        return Err(failure);
    }
    received?;
    if content.left() > 0 {
        let (taken, size) = (entry.size() - content.left(), entry.size());
        return Err(Failure::new(Code::Internal, format!("{name}: {taken} of {size} bytes were taken")));
    }
    let has = content.finish()?;
    match has == expected {
        true => Ok(()),
        false => Err(mismatch(&name, has, &format!("{SUMS} says {expected}"))),
    }
}

fn mismatch(what: &str, has: Digest, says: &str) -> Failure {
    refused(Code::DigestMismatch, format!("{what} has SHA-256 {has}, {says}"))
}
