//! The archive's bytes: plain or gunzipped, counted, every error told as a failure.

use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};

use flate2::bufread::GzDecoder;
use reinstate_api::Failure;

use super::{BUFFER, invalid};

type Raw<'a> = Chain<Cursor<Vec<u8>>, Box<dyn BufRead + 'a>>;

pub(super) struct Input<'a> {
    source: Source<'a>,
    /// Bytes of tar read so far.
    at: u64,
}

enum Source<'a> {
    Plain(Raw<'a>),
    Gzip(BufReader<GzDecoder<Raw<'a>>>),
}

impl<'a> Input<'a> {
    pub fn open(input: impl BufRead + 'a) -> Result<Self, Failure> {
        let mut input: Box<dyn BufRead + 'a> = Box::new(input);
        let mut magic = Vec::new();
        input.by_ref().take(2).read_to_end(&mut magic).map_err(|error| failed(&error, "", 0))?;
        let gzip = magic == [0x1f, 0x8b];
        let raw = Cursor::new(magic).chain(input);
        let source = match gzip {
            true => Source::Gzip(BufReader::with_capacity(BUFFER, GzDecoder::new(raw))),
            false => Source::Plain(raw),
        };
        Ok(Self { source, at: 0 })
    }

    pub fn at(&self) -> u64 {
        self.at
    }

    /// Reads up to `buffer.len()` bytes; none only at the end.
    pub fn some(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        loop {
            match self.source().read(buffer) {
                Ok(count) => {
                    self.at += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
    }

    /// Bytes that are here, at least one; none only at the end.
    pub fn fill(&mut self) -> Result<&[u8], Failure> {
        // Twice, because a borrow that is returned lasts too long for the error's message; the second
        // only looks.
        loop {
            match self.source().fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        let at = self.at;
        self.source().fill_buf().map_err(|error| failed(&error, "", at))
    }

    /// Takes the first `count` of the bytes that are here.
    pub fn consume(&mut self, count: usize) {
        self.source().consume(count);
        self.at += count as u64;
    }

    fn source(&mut self) -> &mut dyn BufRead {
        match &mut self.source {
            Source::Plain(source) => source,
            Source::Gzip(source) => source,
        }
    }

    /// Fills `buffer`, of which `what` is made.
    pub fn exact(&mut self, buffer: &mut [u8], what: &str) -> Result<(), Failure> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.some(&mut buffer[filled..])? {
                0 => return Err(self.cut(what)),
                count => filled += count,
            }
        }
        Ok(())
    }

    pub fn cut(&self, what: &str) -> Failure {
        invalid(format!("the archive is cut: it ends at byte {}, in {what}", self.at))
    }

    /// At the end of the tar: nothing may follow it in the file. A gzip file's own checksum has been
    /// compared by then.
    pub fn end(mut self) -> Result<(), Failure> {
        let Source::Gzip(source) = &mut self.source else {
            return Ok(());
        };
        let mut rest = Vec::new();
        match source.get_mut().get_mut().take(1).read_to_end(&mut rest) {
            Ok(0) => Ok(()),
            Ok(_) => Err(invalid("the compressed archive goes on behind its end")),
            Err(error) => Err(failed(&error, "", self.at)),
        }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let damaged = matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput);
        match &self.source {
            Source::Gzip(_) if error.kind() == ErrorKind::UnexpectedEof => {
                self.cut("the middle of the compressed data")
            }
            Source::Gzip(_) if damaged && error.get_ref().is_none_or(|inner| !inner.is::<Failure>()) => {
                invalid(format!(
                    "the compressed archive is damaged at byte {} of its content: {error}",
                    self.at
                ))
            }
            _ => failed(error, "", self.at),
        }
    }
}

/// A failure that travelled inside an error of a stream comes out as it was.
pub(super) fn failed(error: &io::Error, member: &str, at: u64) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Failure>()) {
        Some(failure) => failure.clone(),
        None if member.is_empty() => Failure::io(format_args!("cannot read the archive at byte {at}"), error),
        None => Failure::io(format_args!("cannot read {member} at byte {at}"), error),
    }
}
