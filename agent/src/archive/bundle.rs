//! A cluster's bundle: a tar, plain or gzip, of its nodes' archives and of nothing else.

use std::io::BufRead;

use reinstate_api::{Code, Failure};

use super::input::Input;
use super::members::{Kind, Member, Members};
use super::names::is_archive_name;
use super::{Limits, MANIFEST, invalid, refused, shown, too_large};
use crate::tree::Digest;

/// The most archives that a bundle holds.
pub const MAX_PACKED: usize = 64;

/// One archive of a bundle, after all of it has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// A name that [`is_archive_name`] accepts: no path, and no other of the bundle has it.
    pub file: String,
    pub bytes: u64,
    pub sha256: Digest,
}

/// Takes the name, the size in bytes and the content of each archive; what it leaves of the content is
/// passed over. An error ends the reading.
pub type Take<'t> = dyn FnMut(&str, u64, &mut dyn BufRead) -> Result<(), Failure> + 't;

/// Reads a bundle, plain or gzip by its first bytes, in one pass and to the last byte; what its archives
/// hold is not looked at. As with an archive, nothing is good for good before this returns.
///
/// # Errors
///
/// `bad-request` for an archive, `archive-too-large` beyond [`MAX_PACKED`] archives or the limit of
/// bytes, `archive-invalid` for everything else that is wrong with the bundle, and the errors of `take`.
pub fn read_bundle(
    input: impl BufRead,
    limits: &Limits,
    take: &mut Take<'_>,
) -> Result<Vec<Packed>, Failure> {
    let mut members = Members::new(Input::open(input)?);
    match members.next()? {
        None => Err(invalid("the bundle holds no archive")),
        Some(first) if first.name == MANIFEST => {
            Err(Failure::new(Code::BadRequest, "it is an archive, not a bundle of archives")
                .hint("restore it as it is"))
        }
        Some(first) => rest(members, first, limits, take),
    }
}

/// Whether a member that comes first says that this is a bundle.
pub(super) fn begins(first: &Member) -> bool {
    is_archive_name(&first.name)
}

/// What a bundle is told as where an archive is wanted.
pub(super) fn no_archive() -> Failure {
    Failure::new(Code::ArchiveBundle, "it is a bundle of archives, not an archive")
        .hint("`backup extract` takes an archive out of a bundle; then restore that")
}

/// Reads what comes after the header of the first member.
pub(super) fn rest(
    mut members: Members<'_>,
    first: Member,
    limits: &Limits,
    take: &mut Take<'_>,
) -> Result<Vec<Packed>, Failure> {
    let mut packed: Vec<Packed> = Vec::new();
    let (mut next, mut bytes) = (Some(first), 0_u64);
    while let Some(member) = next {
        check(&member, &packed)?;
        bytes = bytes.saturating_add(member.size);
        if bytes > limits.bytes {
            return Err(too_large("bytes of the bundle's archives", bytes, limits.bytes));
        }
        let sha256 = pass(&mut members, &member, take)?;
        packed.push(Packed { file: member.name, bytes: member.size, sha256 });
        next = members.next()?;
    }
    members.finish()?;
    Ok(packed)
}

fn check(member: &Member, packed: &[Packed]) -> Result<(), Failure> {
    let name = shown(&member.name);
    if !is_archive_name(&member.name) {
        return Err(invalid(format!(
            "member {name} is no archive's name; one is <node>_<role>_<YYYYMMDDHHMMSS>.tar"
        )));
    }
    if !matches!(member.kind, Kind::File) {
        return Err(invalid(format!("member {name} is not a file")));
    }
    if packed.iter().any(|known| known.file == member.name) {
        return Err(invalid(format!("member {name} comes a second time")));
    }
    match packed.len() {
        MAX_PACKED => Err(refused(
            Code::ArchiveTooLarge,
            format!("member {name} is archive {} of the bundle, of at most {MAX_PACKED}", MAX_PACKED + 1),
        )),
        _ => Ok(()),
    }
}

fn pass(members: &mut Members<'_>, member: &Member, take: &mut Take<'_>) -> Result<Digest, Failure> {
    let what = format!("member {}", shown(&member.name));
    let mut content = members.content(member.size, &what);
    let taken = take(&member.name, member.size, &mut content);
    // Whoever takes it knows less of what went wrong with the bundle.
    if let Some(failure) = content.failure() {
        return Err(failure);
    }
    taken?;
    content.pass_over()?;
    content.finish()
}
