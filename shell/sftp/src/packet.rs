//! Packets of SFTP version 3 (draft-ietf-secsh-filexfer-02), read and written.

use std::io::{self, Read, Write};

pub const INIT: u8 = 1;
pub const VERSION: u8 = 2;
pub const OPEN: u8 = 3;
pub const CLOSE: u8 = 4;
pub const READ: u8 = 5;
pub const WRITE: u8 = 6;
pub const LSTAT: u8 = 7;
pub const FSTAT: u8 = 8;
pub const SETSTAT: u8 = 9;
pub const FSETSTAT: u8 = 10;
pub const OPENDIR: u8 = 11;
pub const READDIR: u8 = 12;
pub const REMOVE: u8 = 13;
pub const MKDIR: u8 = 14;
pub const RMDIR: u8 = 15;
pub const REALPATH: u8 = 16;
pub const STAT: u8 = 17;
pub const RENAME: u8 = 18;
pub const READLINK: u8 = 19;
pub const SYMLINK: u8 = 20;
pub const STATUS: u8 = 101;
pub const HANDLE: u8 = 102;
pub const DATA: u8 = 103;
pub const NAME: u8 = 104;
pub const ATTRS: u8 = 105;
pub const EXTENDED: u8 = 200;
pub const EXTENDED_REPLY: u8 = 201;

/// The largest packet that is read or written, as with OpenSSH: 256 KiB.
pub const MAX_PACKET: usize = 256 << 10;

/// The most that is read or written by one request.
pub const MAX_DATA: usize = MAX_PACKET - 1024;

/// A status of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Ok = 0,
    Eof = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    BadMessage = 5,
    Unsupported = 8,
}

/// One request.
pub enum Frame<'a> {
    Whole(Fields<'a>),
    /// Its content was thrown away.
    TooLong {
        id: u32,
        length: u32,
    },
}

/// What a client sends, in packets.
pub struct Input<R> {
    from: R,
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Input<R> {
    pub fn new(from: R) -> Self {
        Self { from, memory: vec![0; 2 * (MAX_PACKET + 4)], start: 0, end: 0 }
    }

    /// Whether the next packet is here, so that nothing has to be waited for.
    pub fn has_one(&self) -> bool {
        let here = &self.memory[self.start..self.end];
        here.first_chunk().is_some_and(|length| here.len() - 4 >= u32::from_be_bytes(*length) as usize)
    }

    /// None at the end of the input.
    pub fn frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        if !self.gather(4)? {
            return Ok(None);
        }
        let length = self.take_u32();
        if length < 5 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet without a number"));
        }
        if length as usize > MAX_PACKET {
            return self.skip(length).map(Some);
        }
        if !self.gather(length as usize)? {
            return Ok(None);
        }
        let from = self.start;
        self.start += length as usize;
        Ok(Some(Frame::Whole(Fields(&self.memory[from..self.start]))))
    }

    fn skip(&mut self, length: u32) -> io::Result<Frame<'_>> {
        if !self.gather(5)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.start += 1;
        let id = self.take_u32();
        let mut left = u64::from(length) - 5;
        let here = left.min((self.end - self.start) as u64);
        self.start += here as usize;
        left -= here;
        io::copy(&mut (&mut self.from).take(left), &mut io::sink())?;
        Ok(Frame::TooLong { id, length })
    }

    fn take_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.memory[self.start..self.start + 4]);
        self.start += 4;
        u32::from_be_bytes(bytes)
    }

    /// Reads until so many bytes are here; false at the end of the input.
    fn gather(&mut self, count: usize) -> io::Result<bool> {
        if self.memory.len() - self.start < count {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < count {
            match self.from.read(&mut self.memory[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// The fields of a packet, taken from its front; None where there is none.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn u32(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*first))
    }

    pub fn u64(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*first))
    }

    pub fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    pub fn attributes(&mut self) -> Option<Asked> {
        let flags = self.u32()?;
        let size = if flags & 1 != 0 { Some(self.u64()?) } else { None };
        let owner = flags & 2 != 0;
        if owner {
            self.u64()?;
        }
        if flags & 4 != 0 {
            self.u32()?;
        }
        if flags & 8 != 0 {
            self.u64()?;
        }
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Some(Asked { size, owner })
    }
}

/// Of the attributes that a client asks for, those that matter.
pub struct Asked {
    pub size: Option<u64>,
    pub owner: bool,
}

/// What is told of a file.
pub struct Attributes {
    pub size: u64,
    /// With the bits of its kind.
    pub mode: u32,
    /// Seconds since 1970.
    pub modified: i64,
}

/// What a client is answered, in packets.
pub struct Output<W> {
    to: W,
    memory: Vec<u8>,
}

impl<W: Write> Output<W> {
    pub fn new(to: W) -> Self {
        Self { to, memory: Vec::with_capacity(MAX_PACKET + 4) }
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.to.write_all(&self.memory)?;
        self.memory.clear();
        self.to.flush()
    }

    /// One packet with what `fill` puts after the number.
    pub fn packet(&mut self, kind: u8, id: u32, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let start = self.memory.len();
        self.memory.extend([0, 0, 0, 0, kind]);
        self.memory.extend(id.to_be_bytes());
        fill(&mut self.memory);
        let length = (self.memory.len() - start - 4) as u32;
        self.memory[start..start + 4].copy_from_slice(&length.to_be_bytes());
        if self.memory.len() >= MAX_PACKET { self.flush() } else { Ok(()) }
    }

    pub fn status(&mut self, id: u32, code: Code, sentence: &str) -> io::Result<()> {
        self.packet(STATUS, id, |to| {
            to.extend((code as u32).to_be_bytes());
            put_string(to, sentence.as_bytes());
            put_string(to, b"en");
        })
    }
}

pub fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend((bytes.len() as u32).to_be_bytes());
    to.extend(bytes);
}

pub fn put_attributes(to: &mut Vec<u8>, about: &Attributes) {
    // Size, permissions and times.
    to.extend((1_u32 | 4 | 8).to_be_bytes());
    to.extend(about.size.to_be_bytes());
    to.extend(about.mode.to_be_bytes());
    let time = u32::try_from(about.modified).unwrap_or_default().to_be_bytes();
    to.extend(time);
    to.extend(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, id: u32, rest: &[u8]) -> Vec<u8> {
        let mut all = ((rest.len() + 5) as u32).to_be_bytes().to_vec();
        all.push(kind);
        all.extend(id.to_be_bytes());
        all.extend(rest);
        all
    }

    /// Gives a byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(buf.len()).min(1);
            buf[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn packets_arrive_whole_however_they_are_cut() {
        let mut sent = Vec::new();
        for id in 0..40 {
            sent.extend(packet(STAT, id, &vec![id as u8; id as usize * 1000]));
        }
        let mut input = Input::new(Slow(&sent));
        for id in 0..40 {
            let Some(Frame::Whole(mut fields)) = input.frame().unwrap() else { panic!("{id}") };
            assert_eq!((fields.u8(), fields.u32()), (Some(STAT), Some(id)));
            assert_eq!(fields.0, vec![id as u8; id as usize * 1000]);
        }
        assert!(input.frame().unwrap().is_none());
    }

    #[test]
    fn what_comes_after_a_packet_that_is_too_long_is_understood() {
        for slow in [false, true] {
            let mut sent = packet(WRITE, 7, &vec![0; MAX_PACKET]);
            sent.extend(packet(CLOSE, 8, b"x"));
            let (mut quick, mut one_by_one) = (sent.as_slice(), Slow(&sent));
            let from: &mut dyn Read = if slow { &mut one_by_one } else { &mut quick };
            let mut input = Input::new(from);
            let Some(Frame::TooLong { id: 7, length }) = input.frame().unwrap() else { panic!("taken") };
            assert_eq!(length as usize, MAX_PACKET + 5);
            let Some(Frame::Whole(mut fields)) = input.frame().unwrap() else { panic!("lost") };
            assert_eq!((fields.u8(), fields.u32()), (Some(CLOSE), Some(8)));
        }
    }

    #[test]
    fn a_packet_that_is_cut_is_the_end_of_the_input() {
        let sent = packet(STAT, 1, b"0123456789");
        for length in 0..sent.len() {
            assert!(Input::new(&sent[..length]).frame().unwrap().is_none(), "{length}");
        }
    }

    #[test]
    fn a_field_that_is_longer_than_its_packet_is_none() {
        assert!(Fields(&[0, 0, 0, 5, 1, 2, 3, 4]).string().is_none());
        assert!(Fields(&[255, 255, 255, 255]).string().is_none());
        // A billion extended attributes.
        assert!(Fields(&[0x80, 0, 0, 0, 0x3b, 0x9a, 0xca, 0]).attributes().is_none());
    }
}
