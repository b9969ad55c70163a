//! A tar as a row of members: headers joined with their long names, padding and end checked.

use std::io::{self, BufRead, Read};

use reinstate_api::Failure;
use sha2::{Digest as _, Sha256};

use super::header::{BLOCK, Header, MAX_SIZE};
use super::input::{self, Input};
use super::names::{MAX_NAME, is_archive_name, is_link_target, is_owner_name};
use super::pax::{self, Records};
use super::{invalid, shown, too_large};
use crate::tree::Digest;

/// Zeros after the end: tar fills its last record, of 10 KiB unless told otherwise.
const MAX_END: u64 = 1 << 20;

pub(super) struct Members<'a> {
    input: Input<'a>,
}

/// One member, its kind, mode and owners within the profile; its name is still just text.
#[derive(Debug)]
pub(super) struct Member {
    /// Without a folder's trailing slash.
    pub name: String,
    pub kind: Kind,
    pub mode: u32,
    pub owner: String,
    pub group: String,
    /// Of a file's content; 0 of all else.
    pub size: u64,
}

#[derive(Debug)]
pub(super) enum Kind {
    File,
    Folder,
    Link(String),
}

/// The long names that stand before a member, in one of the two ways.
#[derive(Default)]
struct Long {
    pax: Option<Records>,
    name: Option<String>,
    link: Option<String>,
}

impl<'a> Members<'a> {
    pub fn new(input: Input<'a>) -> Self {
        Self { input }
    }

    /// The next member, or none at the marked end. Its content must have been taken before this is
    /// called again.
    pub fn next(&mut self) -> Result<Option<Member>, Failure> {
        let mut long = Long::default();
        let mut any = false;
        loop {
            let at = self.input.at();
            let mut block = [0; BLOCK];
            self.input.exact(&mut block, "a header or before the end was marked")?;
            if Header::is_zero(&block) {
                return match any {
                    true => Err(invalid(format!("the long name before byte {at} belongs to no member"))),
                    false => self.end().map(|()| None),
                };
            }
            let header = Header::decode(&block, at)?;
            let again = match header.flag {
                b'x' => {
                    long.pax.replace(Records::parse(&self.body(&header, pax::MAX_BYTES, at)?, at)?).is_some()
                }
                b'L' => long.name.replace(self.long_name(&header, at)?).is_some(),
                b'K' => long.link.replace(self.long_name(&header, at)?).is_some(),
                _ => return member(header, long, at).map(Some),
            };
            if again || long.pax.is_some() && (long.name.is_some() || long.link.is_some()) {
                return Err(invalid(format!("at byte {at}, the next member's long names are told twice")));
            }
            any = true;
        }
    }

    /// The content of the member just returned, which `what` names.
    pub fn content<'m>(&'m mut self, size: u64, what: &'m str) -> Content<'m, 'a> {
        Content { input: &mut self.input, what, size, left: size, hash: Sha256::new(), failure: None }
    }

    /// A member's whole content, which is kept in memory.
    pub fn whole(&mut self, member: &Member, most: u64) -> Result<Vec<u8>, Failure> {
        if member.size > most {
            return Err(too_large(format_args!("bytes of {}", shown(&member.name)), member.size, most));
        }
        self.bytes(member.size, &shown(&member.name))
    }

    fn bytes(&mut self, size: u64, what: &str) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; size as usize];
        self.input.exact(&mut bytes, what)?;
        padding(&mut self.input, size, what)?;
        Ok(bytes)
    }

    fn body(&mut self, header: &Header, most: u64, at: u64) -> Result<Vec<u8>, Failure> {
        if header.size == 0 || header.size > most {
            return Err(invalid(format!(
                "the extended header at byte {at} has {} bytes, of 1 to {most}",
                header.size
            )));
        }
        self.bytes(header.size, "an extended header")
    }

    /// A GNU long name: text that ends with one NUL.
    fn long_name(&mut self, header: &Header, at: u64) -> Result<String, Failure> {
        let wrong = || invalid(format!("the long name at byte {at} is not UTF-8 that ends with a NUL"));
        let mut bytes = self.body(header, MAX_NAME as u64 + 1, at)?;
        match bytes.pop() {
            Some(0) => String::from_utf8(bytes).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    /// The first of the two zero blocks has been read.
    fn end(&mut self) -> Result<(), Failure> {
        let mut block = [0; BLOCK];
        self.input.exact(&mut block, "the mark of its end")?;
        let mut at = self.input.at() - BLOCK as u64;
        let most = self.input.at() + MAX_END;
        let mut seen = &block[..];
        let mut buffer = [0; 8192];
        loop {
            if let Some(first) = seen.iter().position(|&byte| byte != 0) {
                return Err(invalid(format!(
                    "the archive goes on behind its end: byte {} is {:#04x}, not 0",
                    at + first as u64,
                    seen[first]
                )));
            }
            if self.input.at() > most {
                return Err(invalid(format!(
                    "the archive's end is followed by more than {MAX_END} zero bytes"
                )));
            }
            at = self.input.at();
            match self.input.some(&mut buffer)? {
                0 => return Ok(()),
                count => seen = &buffer[..count],
            }
        }
    }

    /// Whatever stands behind the tar's end, in the file that it came in, is refused.
    pub fn finish(self) -> Result<(), Failure> {
        self.input.end()
    }
}

/// Zeros up to the next block.
fn padding(input: &mut Input<'_>, size: u64, what: &str) -> Result<(), Failure> {
    let mut block = [0; BLOCK];
    let pad = &mut block[..(size.next_multiple_of(BLOCK as u64) - size) as usize];
    let at = input.at();
    input.exact(pad, what)?;
    match pad.iter().position(|&byte| byte != 0) {
        None => Ok(()),
        Some(first) => Err(invalid(format!(
            "the padding behind {what} is not empty: byte {} is {:#04x}, not 0",
            at + first as u64,
            pad[first]
        ))),
    }
}

/// Joins a header with its long names and holds it against the profile.
fn member(header: Header, long: Long, at: u64) -> Result<Member, Failure> {
    let pax = long.pax.unwrap_or_default();
    // A long name replaces the field, which then holds as much of it as fits.
    let told = |long: Option<String>, field: Vec<u8>, which: &str| match long {
        Some(long) => Ok(long),
        None => String::from_utf8(field).map_err(|error| {
            let lossy = String::from_utf8_lossy(error.as_bytes()).into_owned();
            invalid(format!("the member at byte {at}: its {which} {} is not UTF-8", shown(lossy)))
        }),
    };
    let name = told(pax.path.or(long.name), header.name, "name")?;
    let target = told(pax.link.or(long.link), header.link, "link name")?;
    let owner = told(pax.owner, header.owner, "owner name")?;
    let group = told(pax.group, header.group, "group name")?;
    let wrong = |why: String| Err(invalid(format!("member {} at byte {at} {why}", shown(&name))));

    if name.is_empty() || name.len() > MAX_NAME {
        return wrong(format!("has a name of {} bytes, of 1 to {MAX_NAME}", name.len()));
    }
    // To whom an archive belonged where it was put into a bundle says nothing.
    let packed = is_archive_name(&name);
    for (which, name) in [("owner", &owner), ("group", &group)] {
        if !packed && !is_owner_name(name) {
            let rule = "one is 1 to 32 of a-z, 0-9, '_' and '-'";
            return wrong(format!("has the {which} name {}; {rule}", shown(name)));
        }
    }
    let size = pax.size.unwrap_or(header.size);
    if size <= MAX_SIZE && size != header.size {
        return wrong(format!("has the size {} in its header, {size} in its pax record", header.size));
    }
    let (kind, what, modes) = match header.flag {
        b'0' => (Kind::File, "file", 0..=0o777),
        b'5' => (Kind::Folder, "folder", 0..=0o777),
        b'2' if is_link_target(&target) => (Kind::Link(target.clone()), "link", 0o777..=0o777),
        b'2' => return wrong(format!("is a link to {}, which is no path", shown(&target))),
        other => {
            return wrong(format!("is {}; only files, folders and links are taken", kind_name(other)));
        }
    };
    if header.flag != b'2' && !target.is_empty() {
        return wrong(format!("is a {what}, yet points to {}", shown(&target)));
    }
    if header.flag != b'0' && size != 0 {
        return wrong(format!("is a {what}, yet has {size} bytes of content, not 0"));
    }
    if !modes.contains(&header.mode) {
        let (low, high) = modes.into_inner();
        return wrong(format!("is a {what} of mode {:o}, not within {low:o} to {high:o}", header.mode));
    }
    let name = match name.strip_suffix('/') {
        Some(short) if header.flag == b'5' => short.to_owned(),
        _ => name,
    };
    // Within 0o777 by the check above.
    Ok(Member { name, kind, mode: header.mode as u32, owner, group, size })
}

fn kind_name(flag: u8) -> String {
    let name = match flag {
        0 => "a file of the old kind (type NUL)",
        b'1' => "a hard link",
        b'3' => "a character device",
        b'4' => "a block device",
        b'6' => "a FIFO",
        b'7' => "a contiguous file",
        b'S' => "a sparse file",
        b'g' => "a global pax header",
        b'D' => "a GNU folder listing",
        b'M' => "a continuation of another volume",
        b'V' => "a volume label",
        other => return format!("of type '{}'", other.escape_ascii()),
    };
    name.to_owned()
}

/// A file's content on its way to the receiver, hashed as it passes.
pub(super) struct Content<'m, 'a> {
    input: &'m mut Input<'a>,
    what: &'m str,
    size: u64,
    left: u64,
    hash: Sha256,
    /// What stopped it; the receiver only sees an error of a stream.
    failure: Option<Failure>,
}

impl Content<'_, '_> {
    pub fn failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Takes what is left of it, for its digest alone.
    pub fn pass_over(&mut self) -> Result<(), Failure> {
        while self.left > 0 {
            let count = match self.fill_buf() {
                Ok(here) => here.len(),
                Err(error) => {
                    return Err(self.failure().unwrap_or_else(|| input::failed(&error, self.what, 0)));
                }
            };
            self.consume(count);
        }
        Ok(())
    }

    /// Bytes that nobody took.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The digest of the content, which has been taken whole.
    pub fn finish(self) -> Result<Digest, Failure> {
        padding(self.input, self.size, self.what)?;
        Ok(Digest::finish(self.hash))
    }
}

impl Content<'_, '_> {
    /// The bytes of it that are here; what is wrong was found out before.
    fn here(&mut self) -> &[u8] {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let here = self.input.fill().unwrap_or_default();
        &here[..here.len().min(most)]
    }
}

impl BufRead for Content<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        self.failure = match self.input.fill() {
            Ok([]) => Some(self.input.cut(self.what)),
            Ok(_) => None,
            Err(failure) => Some(failure),
        };
        match &self.failure {
            Some(failure) => Err(io::Error::other(failure.clone())),
            None => Ok(self.here()),
        }
    }

    fn consume(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let here = self.input.fill().unwrap_or_default();
        self.hash.update(&here[..count]);
        self.input.consume(count);
        self.left -= count as u64;
    }
}

impl Read for Content<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
