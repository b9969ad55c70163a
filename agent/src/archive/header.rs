//! One 512-byte tar header: what its fields say, taken literally or not at all.

use reinstate_api::Failure;

use super::{invalid, shown};

pub(super) const BLOCK: usize = 512;
/// The largest size that fits the field; more needs a pax record.
pub(super) const MAX_SIZE: u64 = 0o77_777_777_777;

/// The fields that mean something here; numeric owners and times are checked and forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Prefix and name, joined.
    pub name: Vec<u8>,
    pub flag: u8,
    pub mode: u64,
    pub size: u64,
    pub link: Vec<u8>,
    pub owner: Vec<u8>,
    pub group: Vec<u8>,
}

const NAME: Field = Field("name", 0, 100);
const MODE: Field = Field("mode", 100, 8);
const UID: Field = Field("uid", 108, 8);
const GID: Field = Field("gid", 116, 8);
const SIZE: Field = Field("size", 124, 12);
const MTIME: Field = Field("mtime", 136, 12);
const SUM: Field = Field("checksum", 148, 8);
const FLAG: usize = 156;
const LINK: Field = Field("link name", 157, 100);
const MAGIC: Field = Field("magic", 257, 8);
const OWNER: Field = Field("owner name", 265, 32);
const GROUP: Field = Field("group name", 297, 32);
const MAJOR: Field = Field("device major", 329, 8);
const MINOR: Field = Field("device minor", 337, 8);
const PREFIX: Field = Field("prefix", 345, 155);
const REST: Field = Field("end", 500, 12);

const POSIX: &[u8; 8] = b"ustar\x0000";
const GNU: &[u8; 8] = b"ustar  \0";

/// Name, offset and length.
#[derive(Clone, Copy)]
struct Field(&'static str, usize, usize);

impl Header {
    pub fn is_zero(block: &[u8; BLOCK]) -> bool {
        block.iter().all(|&byte| byte == 0)
    }

    /// `at` is the block's place in the archive, for messages.
    pub fn decode(block: &[u8; BLOCK], at: u64) -> Result<Self, Failure> {
        let magic = MAGIC.of(block);
        if magic != POSIX && magic != GNU {
            return Err(invalid(format!(
                "the block at byte {at} is no tar header: it holds '{}' where 'ustar' is expected",
                magic.escape_ascii()
            )));
        }
        let (says, has) = (SUM.number(block, at)?, checksum(block));
        if says != has {
            return Err(invalid(format!(
                "the header of {} at byte {at} has checksum {has}, its field says {says}",
                shown(String::from_utf8_lossy(until_nul(NAME.of(block))))
            )));
        }
        for field in [UID, GID, MTIME] {
            field.number(block, at)?;
        }
        for field in [MAJOR, MINOR] {
            if field.of(block).iter().any(|&byte| byte != 0) && field.number(block, at)? != 0 {
                return Err(field.wrong(block, at, "is not 0"));
            }
        }
        // GNU keeps times and sparse maps where POSIX has the prefix; neither belongs here.
        let mut name = if magic == POSIX { PREFIX.text(block, at)?.to_vec() } else { Vec::new() };
        let unused = if magic == POSIX { REST } else { Field("end", PREFIX.1, BLOCK - PREFIX.1) };
        if unused.of(block).iter().any(|&byte| byte != 0) {
            return Err(unused.wrong(block, at, "is not empty"));
        }
        if !name.is_empty() {
            name.push(b'/');
        }
        name.extend_from_slice(NAME.text(block, at)?);
        Ok(Self {
            name,
            flag: block[FLAG],
            mode: MODE.number(block, at)?,
            size: SIZE.number(block, at)?,
            link: LINK.text(block, at)?.to_vec(),
            owner: OWNER.text(block, at)?.to_vec(),
            group: GROUP.text(block, at)?.to_vec(),
        })
    }

    /// A POSIX header of user and group 0. What does not fit its field is left out, because a pax
    /// record then says it: see [`Header::needs_pax`].
    pub fn encode(&self, mtime: u64) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        if let Some((prefix, name)) = self.split_name() {
            PREFIX.put(&mut block, prefix);
            NAME.put(&mut block, name);
        } else {
            NAME.put(&mut block, b"see-pax-record");
        }
        MODE.put_number(&mut block, self.mode);
        UID.put_number(&mut block, 0);
        GID.put_number(&mut block, 0);
        SIZE.put_number(&mut block, if self.size > MAX_SIZE { 0 } else { self.size });
        MTIME.put_number(&mut block, mtime.min(MAX_SIZE));
        block[FLAG] = self.flag;
        for (field, text) in [(LINK, &self.link), (OWNER, &self.owner), (GROUP, &self.group)] {
            if fits(text, field.2) {
                field.put(&mut block, text);
            }
        }
        MAGIC.put(&mut block, POSIX);
        MAJOR.put_number(&mut block, 0);
        MINOR.put_number(&mut block, 0);
        let sum = format!("{:06o}\0 ", checksum(&block));
        SUM.put(&mut block, sum.as_bytes());
        block
    }

    /// Which of name, link, owner, group and size a pax record must say.
    pub fn needs_pax(&self) -> [bool; 5] {
        [
            self.split_name().is_none(),
            !fits(&self.link, LINK.2),
            !fits(&self.owner, OWNER.2 - 1),
            !fits(&self.group, GROUP.2 - 1),
            self.size > MAX_SIZE,
        ]
    }

    /// Prefix and name as POSIX divides them, at the first slash that lets both fit.
    fn split_name(&self) -> Option<(&[u8], &[u8])> {
        if fits(&self.name, NAME.2) {
            return Some((b"", &self.name));
        }
        let whole = self.name.is_ascii().then_some(self.name.as_slice())?;
        (1..whole.len().saturating_sub(1))
            .filter(|&at| whole[at] == b'/')
            .map(|at| (&whole[..at], &whole[at + 1..]))
            .find(|(prefix, name)| prefix.len() <= PREFIX.2 && name.len() <= NAME.2)
    }
}

/// Other readers take text beyond ASCII for some other encoding, unless a pax record says it.
fn fits(text: &[u8], most: usize) -> bool {
    text.len() <= most && text.is_ascii()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// The sum of all bytes, those of the checksum's own field taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    sum(block) - sum(SUM.of(block)) + 8 * u64::from(b' ')
}

impl Field {
    fn of(self, block: &[u8; BLOCK]) -> &[u8] {
        &block[self.1..self.1 + self.2]
    }

    /// Up to the first NUL, behind which nothing may be hidden.
    fn text(self, block: &[u8; BLOCK], at: u64) -> Result<&[u8], Failure> {
        let field = self.of(block);
        let text = until_nul(field);
        if field[text.len()..].iter().any(|&byte| byte != 0) {
            return Err(self.wrong(block, at, "holds something behind its end"));
        }
        Ok(text)
    }

    /// Octal digits, then nothing but NUL or spaces; no signs, no base 256.
    fn number(self, block: &[u8; BLOCK], at: u64) -> Result<u64, Failure> {
        let field = self.of(block);
        let end = field.iter().position(|byte| !(b'0'..=b'7').contains(byte)).unwrap_or(field.len());
        let (digits, rest) = field.split_at(end);
        if digits.is_empty() || rest.iter().any(|&byte| byte != 0 && byte != b' ') {
            return Err(self.wrong(block, at, "is not an octal number"));
        }
        // At most 12 digits of 3 bits each.
        Ok(digits.iter().fold(0, |number, digit| number * 8 + u64::from(digit - b'0')))
    }

    fn wrong(self, block: &[u8; BLOCK], at: u64, why: &str) -> Failure {
        invalid(format!(
            "the header of {} at byte {at}: its field '{}' {why}: '{}'",
            shown(String::from_utf8_lossy(until_nul(NAME.of(block)))),
            self.0,
            self.of(block).escape_ascii()
        ))
    }

    fn put(self, block: &mut [u8; BLOCK], text: &[u8]) {
        block[self.1..self.1 + text.len()].copy_from_slice(text);
    }

    fn put_number(self, block: &mut [u8; BLOCK], number: u64) {
        let digits = format!("{number:0width$o}", width = self.2 - 1);
        self.put(block, digits.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str) -> Header {
        Header {
            name: name.into(),
            flag: b'0',
            mode: 0o640,
            size: 12,
            link: Vec::new(),
            owner: b"root".into(),
            group: b"adm".into(),
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for name in ["a", &"n".repeat(100), &format!("{}/{}", "p".repeat(155), "n".repeat(100))] {
            let header = header(name);
            assert_eq!(header.needs_pax(), [false; 5], "{name}");
            assert_eq!(Header::decode(&header.encode(1_700_000_000), 0).unwrap(), header);
        }
    }

    #[test]
    fn what_a_field_cannot_hold_is_left_to_a_pax_record() {
        for name in ["ü", &"n".repeat(101), &format!("{}/{}", "p".repeat(156), "n".repeat(100))] {
            assert!(header(name).needs_pax()[0], "{name}");
        }
        let large = Header { size: MAX_SIZE + 1, owner: vec![b'o'; 32], ..header("a") };
        assert_eq!(large.needs_pax(), [false, false, true, false, true]);
        assert_eq!(Header::decode(&large.encode(0), 0).unwrap().size, 0);
        let most = Header { size: MAX_SIZE, ..header("a") };
        assert_eq!(Header::decode(&most.encode(0), 0).unwrap(), most);
    }
}
