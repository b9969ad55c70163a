//! The archive format: one generation as a POSIX (pax) tar, readable with `tar`, checkable with
//! `sha256sum -c`.
//!
//! ```text
//! manifest.toml             first member; its last line is `# sha256 <digest of all bytes before>`
//! SHA256SUMS                second member: `<digest>  <member>` a file, then a comment a member
//! config/ha/…               the HA domain first: locks need its key early
//! config/<domain>/<path>    mode, owner and group names in the headers
//! ```
//!
//! The comments say `# <kind>⇥<mode>⇥<owner>⇥<group>⇥<size or target>⇥<member>`, kind one of `file`,
//! `folder` and `link`. So digests cover all of the archive, also what tar itself protects badly, and
//! a reader knows every member before the first comes. Programs that check sums skip the comments.
//!
//! [`read`] is the boundary against untrusted archives: one pass, memory bounded by [`Limits`], and
//! everything outside the narrow profile that [`write`] keeps to is refused. Beyond what the writer
//! makes, it takes what `tar` makes of an unpacked archive: GNU headers and long names, times in pax
//! records, folders before what is in them but otherwise any order, and folders that are not listed
//! but hold what is, `config/` among them, which mean nothing and which the receiver never sees.
//!
//! A cluster's backup is a bundle: archives in one more tar. [`read_bundle`] takes it apart, within the
//! same profile.

mod bundle;
mod header;
mod input;
mod limits;
mod manifest;
mod members;
mod names;
mod pax;
mod reader;
mod sums;
mod tree;
mod writer;

pub use bundle::{MAX_PACKED, Packed, Take, read_bundle};
pub use limits::Limits;
pub use manifest::{DomainRecord, HaGroup, HaMember, Manifest};
pub use names::{
    cluster_in_name, file_name, host_in_name, is_archive_name, is_domain_name, role_in_name,
    tech_support_name,
};
pub use reader::{Receiver, read, read_manifest};
pub use sums::Sums;
pub use writer::{Open, write, write_files};

use std::fmt::Display;

use reinstate_api::{Code, Failure};

/// A good size for the buffer that an archive is read through.
pub const BUFFER: usize = 256 * 1024;

const MANIFEST: &str = "manifest.toml";
const SUMS: &str = "SHA256SUMS";

fn refused(code: Code, message: impl AsRef<str>) -> Failure {
    Failure::new(code, message).hint("fetch the archive again, or restore from another one")
}

fn invalid(message: impl AsRef<str>) -> Failure {
    refused(Code::ArchiveInvalid, message)
}

fn too_large(what: impl Display, has: u64, most: u64) -> Failure {
    Failure::new(Code::ArchiveTooLarge, format!("{what}: {has}, of at most {most}"))
        .hint("raise the agent's limit if the archive is to be trusted")
}

fn undeclared(name: &str, domain: &str) -> Failure {
    invalid(format!(
        "{} belongs to the domain {}, which {MANIFEST} does not declare",
        shown(name),
        shown(domain)
    ))
}

/// A name from an archive, short enough for a message.
fn shown(name: impl AsRef<str>) -> String {
    let name = name.as_ref();
    match name.char_indices().nth(160) {
        Some((end, _)) => format!("'{}…'", &name[..end]),
        None => format!("'{name}'"),
    }
}
