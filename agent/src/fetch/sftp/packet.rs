//! SFTP's packets, as far as one file needs them.

use reinstate_api::Failure;

use crate::fetch::input::Input;
use crate::fetch::link::quote;

pub const INIT: u8 = 1;
pub const VERSION: u8 = 2;
pub const OPEN: u8 = 3;
pub const CLOSE: u8 = 4;
pub const READ: u8 = 5;
pub const FSTAT: u8 = 8;
pub const STAT: u8 = 17;
pub const STATUS: u8 = 101;
pub const HANDLE: u8 = 102;
pub const DATA: u8 = 103;
pub const ATTRS: u8 = 105;
pub const EXTENDED: u8 = 200;
pub const EXTENDED_REPLY: u8 = 201;

pub const STATUS_EOF: u32 = 1;
const STATUS_NO_SUCH_FILE: u32 = 2;
const STATUS_PERMISSION_DENIED: u32 = 3;

pub const LIMITS: &str = "limits@openssh.com";
/// What every server answers; one that states its limits is asked for up to [`MAX_READ`] at once.
pub const COMMON_READ: u32 = 32 << 10;
pub const MAX_READ: u32 = 255 << 10;
/// No answer but `DATA` is longer.
pub const MAX_ANSWER: usize = 64 << 10;

/// How every answer begins.
pub struct Header {
    /// Bytes after the id.
    pub length: usize,
    pub kind: u8,
    pub id: u32,
}

impl Header {
    pub async fn read(input: &mut Input) -> Result<Self, Failure> {
        let [l0, l1, l2, l3, kind, id @ ..] = input.exactly::<9>().await?;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let max = if kind == DATA { MAX_READ as usize + 9 } else { MAX_ANSWER };
        if !(5..=max).contains(&length) {
            return Err(input
                .link
                .wrong(format_args!("sent an SFTP packet of {length} bytes; 5 to {max} are right")));
        }
        Ok(Self { length: length - 5, kind, id: u32::from_be_bytes(id) })
    }

    pub async fn rest(&self, input: &mut Input) -> Result<Vec<u8>, Failure> {
        if self.length > MAX_ANSWER {
            return Err(self.unasked(input));
        }
        input.many(self.length).await
    }

    pub fn unasked(&self, input: &Input) -> Failure {
        input.link.wrong(format_args!(
            "sent SFTP packet {} with the id {}, which nothing asked for",
            self.kind, self.id
        ))
    }
}

/// A `STATUS`: its code, and what to say about it.
pub fn status(answer: &[u8]) -> (Option<u32>, String) {
    let mut fields = Fields(answer);
    let code = fields.u32();
    let words = match code {
        Some(STATUS_NO_SUCH_FILE) => "is not on the server".to_owned(),
        Some(STATUS_PERMISSION_DENIED) => "may not be read by this user on the server".to_owned(),
        Some(code) => {
            let words = String::from_utf8_lossy(fields.string().unwrap_or_default()).into_owned();
            format!("cannot be read: the server says {} (SFTP status {code})", quote(&words, 200))
        }
        None => "cannot be read: the server sent a status without a code".to_owned(),
    };
    (code, words)
}

pub fn packet(kind: u8, id: u32, parts: &[&[u8]]) -> Vec<u8> {
    let length = 5 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut packet = Vec::with_capacity(4 + length);
    packet.extend_from_slice(&(length as u32).to_be_bytes());
    packet.push(kind);
    packet.extend_from_slice(&id.to_be_bytes());
    parts.iter().for_each(|part| packet.extend_from_slice(part));
    packet
}

pub fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

/// The fields of an answer, one after the other; `None` past its end.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn u32(&mut self) -> Option<u32> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*value))
    }

    pub fn u64(&mut self) -> Option<u64> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*value))
    }

    pub fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }
}
