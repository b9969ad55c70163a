//! SFTP, version 3, as far as reading one file needs it: many reads under way, their answers put in
//! order, and no more memory than those reads ask for.

use std::collections::VecDeque;
use std::convert::Infallible;

use bytes::Bytes;
use reinstate_api::Failure;
use russh::Channel;
use russh::ChannelWriteHalf;
use russh::client::Msg;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::input::Input;
use super::ssh::{Link, quote};
use super::{Finished, Options, remote_file, too_large};

const INIT: u8 = 1;
const VERSION: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const FSTAT: u8 = 8;
const STAT: u8 = 17;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const ATTRS: u8 = 105;
const EXTENDED: u8 = 200;
const EXTENDED_REPLY: u8 = 201;

const STATUS_EOF: u32 = 1;
const STATUS_NO_SUCH_FILE: u32 = 2;
const STATUS_PERMISSION_DENIED: u32 = 3;

const LIMITS: &str = "limits@openssh.com";
/// What every server answers; one that states its limits is asked for up to [`MAX_READ`] at once.
const COMMON_READ: u32 = 32 << 10;
const MAX_READ: u32 = 255 << 10;
/// No answer but `DATA` is longer.
const MAX_ANSWER: usize = 64 << 10;

/// An SFTP server that has said its version.
pub(super) struct Sftp {
    input: Input,
    output: ChannelWriteHalf<Msg>,
    last_id: u32,
    max_read: u32,
    /// Bytes to ask for before the first of them is here.
    ahead: u64,
}

/// A regular file, open.
pub(super) struct Open {
    handle: Vec<u8>,
    pub size: u64,
    pub modified: Option<i64>,
}

impl Sftp {
    /// `None` where the server has no SFTP: it refuses the subsystem, or ends it without a word.
    pub async fn start(
        channel: Channel<Msg>,
        link: Link,
        ahead: u32,
        options: &Options,
    ) -> Result<Option<Self>, Failure> {
        let (mut input, output) = Input::new(channel, link, options.stall_timeout);
        let _ = output.request_subsystem(true, "sftp").await;
        if !input.accepted().await? {
            return Ok(None);
        }
        let mut init = vec![0, 0, 0, 5, INIT];
        init.extend_from_slice(&3u32.to_be_bytes());
        let _ = output.data_bytes(init).await;
        let Some(first) = input.some(1).await? else {
            return Ok(None);
        };
        let [b, c, d] = input.exactly().await?;
        let length = u32::from_be_bytes([first[0], b, c, d]) as usize;
        if !(5..=MAX_ANSWER).contains(&length) {
            let shown = quote(&String::from_utf8_lossy(&[first[0], b, c, d]), 8);
            return Err(input
                .link
                .wrong(format_args!("answers SFTP with text that begins {shown}"))
                .hint("the user's login shell must print nothing for a command"));
        }
        let answer = input.many(length).await?;
        let mut fields = Fields(&answer[1..]);
        let version = fields.u32();
        if answer[0] != VERSION || version != Some(3) {
            return Err(input.link.wrong(format_args!(
                "answers SFTP's INIT of version 3 with packet {} and version {}",
                answer[0],
                version.unwrap_or_default()
            )));
        }
        let mut sftp = Self { input, output, last_id: 0, max_read: COMMON_READ, ahead: ahead.into() };
        while let (Some(name), Some(_)) = (fields.string(), fields.string()) {
            if name == LIMITS.as_bytes() {
                sftp.ask_limits().await?;
                break;
            }
        }
        Ok(Some(sftp))
    }

    async fn ask_limits(&mut self) -> Result<(), Failure> {
        let (kind, answer) = self.ask(EXTENDED, &[&string(LIMITS.as_bytes())]).await?;
        let mut fields = Fields(&answer);
        let (_packet, read) = (fields.u64(), fields.u64());
        if let (EXTENDED_REPLY, Some(read)) = (kind, read) {
            // 0 is "no limit".
            let read = if read == 0 { MAX_READ } else { u32::try_from(read).unwrap_or(MAX_READ) };
            self.max_read = read.clamp(1 << 10, MAX_READ);
        }
        Ok(())
    }

    /// Opens a regular file. What it is, is asked first: opening a named pipe would hang the server.
    pub async fn open(&mut self, path: &str, options: &Options) -> Result<Open, Failure> {
        let name = string(path.as_bytes());
        self.attributes(STAT, &name, path, options).await?;
        let flags = [0, 0, 0, 1, 0, 0, 0, 0]; // for reading, no attributes
        let (kind, answer) = self.ask(OPEN, &[&name, &flags]).await?;
        let handle = match (kind, Fields(&answer).string()) {
            (HANDLE, Some(handle)) if handle.len() <= 256 => handle.to_vec(),
            _ => return Err(self.refusal(path, OPEN, kind, &answer)),
        };
        let (size, modified) = self.attributes(FSTAT, &string(&handle), path, options).await?;
        Ok(Open { handle, size, modified })
    }

    async fn attributes(
        &mut self,
        ask: u8,
        of: &[u8],
        path: &str,
        options: &Options,
    ) -> Result<(u64, Option<i64>), Failure> {
        let (kind, answer) = self.ask(ask, &[of]).await?;
        if kind != ATTRS {
            return Err(self.refusal(path, ask, kind, &answer));
        }
        let mut fields = Fields(&answer);
        let flags = fields.u32().unwrap_or_default();
        let has = |bit: u32| flags & bit != 0;
        let size = if has(1) { fields.u64() } else { None };
        if has(2) {
            fields.u64(); // owner and group
        }
        let mode = if has(4) { fields.u32() } else { None };
        let modified = if has(8) { fields.u32().and_then(|_accessed| fields.u32()) } else { None };
        match mode.map(|mode| mode & 0o170_000) {
            None | Some(0o100_000) => {}
            Some(0o040_000) => {
                return Err(remote_file(path, "is a folder on the server").hint("name a file"));
            }
            Some(_) => return Err(remote_file(path, "is not a regular file on the server")),
        }
        let size = size.ok_or_else(|| self.input.link.wrong("does not say how large the file is"))?;
        if size > options.max_size {
            return Err(too_large(path, size, options));
        }
        Ok((size, modified.map(i64::from)))
    }

    /// One request and its answer.
    async fn ask(&mut self, kind: u8, parts: &[&[u8]]) -> Result<(u8, Vec<u8>), Failure> {
        self.last_id = self.last_id.wrapping_add(1);
        let request = packet(kind, self.last_id, parts);
        let _ = self.output.data_bytes(request).await;
        let header = Header::read(&mut self.input).await?;
        if header.id != self.last_id {
            return Err(header.unasked(&self.input));
        }
        Ok((header.kind, header.rest(&mut self.input).await?))
    }

    fn refusal(&self, path: &str, asked: u8, kind: u8, answer: &[u8]) -> Failure {
        if kind == STATUS {
            remote_file(path, status(answer).1)
        } else {
            self.input.link.wrong(format_args!("answers the SFTP request {asked} with packet {kind}"))
        }
    }

    /// Sends the bytes of the file from `from` to its end at `out`, in order.
    pub async fn read(
        self,
        open: &Open,
        path: &str,
        from: u64,
        out: &Sender<Bytes>,
    ) -> Result<Finished, Failure> {
        let Self { mut input, output, last_id, max_read, ahead } = self;
        let (requests, queue) = unbounded_channel();
        let mut reads = Reads {
            requests,
            handle: string(&open.handle),
            last_id,
            chunk: max_read,
            asked: from,
            end: open.size,
            under_way: VecDeque::new(),
        };
        let finished = tokio::select! {
            finished = reads.run(&mut input, path, ahead, out) => finished?,
            // On its own, so that waiting to write never keeps from reading: while keys are
            // exchanged the one is possible and the other not.
            never = write(&output, queue) => match never {},
        };
        let _ = output.data_bytes(packet(CLOSE, reads.next_id(), &[&reads.handle])).await;
        Ok(finished)
    }
}

/// Writes the requests, several at once where they wait. That the connection is gone is the reader's
/// to find out, which hears why.
async fn write(output: &ChannelWriteHalf<Msg>, mut queue: UnboundedReceiver<Vec<u8>>) -> Infallible {
    while let Some(mut requests) = queue.recv().await {
        while let Ok(more) = queue.try_recv() {
            requests.extend_from_slice(&more);
        }
        let _ = output.data_bytes(requests).await;
    }
    std::future::pending().await
}

/// A read that was asked for and is not passed on yet.
struct Read {
    id: u32,
    offset: u64,
    length: u32,
    /// Its bytes are here, or were passed on.
    done: bool,
    /// Bytes that wait for those before them.
    held: Vec<Bytes>,
}

struct Reads {
    requests: UnboundedSender<Vec<u8>>,
    handle: Vec<u8>,
    last_id: u32,
    /// What the server answers at once.
    chunk: u32,
    /// Everything before this offset was asked for.
    asked: u64,
    end: u64,
    /// In the order of their offsets; at most the bytes `ahead`.
    under_way: VecDeque<Read>,
}

impl Reads {
    fn next_id(&mut self) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    fn request(&mut self, offset: u64, length: u32) -> Read {
        let id = self.next_id();
        let place = [&offset.to_be_bytes()[..], &length.to_be_bytes()].concat();
        let _ = self.requests.send(packet(READ, id, &[&self.handle, &place]));
        Read { id, offset, length, done: false, held: Vec::new() }
    }

    async fn run(
        &mut self,
        input: &mut Input,
        path: &str,
        ahead: u64,
        out: &Sender<Bytes>,
    ) -> Result<Finished, Failure> {
        loop {
            let oldest = self.under_way.front().map_or(self.asked, |read| read.offset);
            while self.asked < self.end && self.asked - oldest < ahead {
                let length = (self.end - self.asked).min(self.chunk.into()) as u32;
                let read = self.request(self.asked, length);
                self.under_way.push_back(read);
                self.asked += u64::from(length);
            }
            if self.under_way.is_empty() {
                return Ok(Finished::Whole);
            }
            if !self.answer(input, path, out).await? {
                return Ok(Finished::Stopped);
            }
        }
    }

    /// Takes one answer; `false` when nobody takes the bytes any more.
    async fn answer(&mut self, input: &mut Input, path: &str, out: &Sender<Bytes>) -> Result<bool, Failure> {
        let header = Header::read(input).await?;
        let Some(place) = self.under_way.iter().position(|read| read.id == header.id && !read.done) else {
            return Err(header.unasked(input));
        };
        let read = &mut self.under_way[place];
        if header.kind == STATUS {
            let (code, words) = status(&header.rest(input).await?);
            let (end, offset) = (self.end, read.offset);
            return Err(match code {
                Some(STATUS_EOF) => remote_file(
                    path,
                    format!("had {end} bytes when it was opened, and ends before byte {offset} now"),
                )
                .hint("it was changed while it was read; try again when it is whole"),
                _ => remote_file(path, format!("cannot be read at byte {offset}: {words}")),
            });
        }
        let length = if header.length >= 4 { u32::from_be_bytes(input.exactly().await?) } else { 0 };
        let asked = read.length;
        if header.kind != DATA || length == 0 || length > asked || header.length != length as usize + 4 {
            return Err(input.link.wrong(format_args!(
                "answers an SFTP read of {asked} bytes with packet {}, {length} bytes of data and a length of {}",
                header.kind, header.length
            )));
        }
        let mut left = length as usize;
        while left > 0 {
            let piece = input.some(left).await?.ok_or_else(|| input.ended())?;
            left -= piece.len();
            if place > 0 {
                read.held.push(piece);
            } else if out.send(piece).await.is_err() {
                return Ok(false);
            }
        }
        (read.done, read.length) = (true, length);
        if length < asked {
            // Less than was asked for, which a server may do: ask for the rest, and for less from now on.
            let rest = self.request(self.under_way[place].offset + u64::from(length), asked - length);
            self.under_way.insert(place + 1, rest);
            self.chunk = self.chunk.min(length.max(4 << 10));
        }
        while self.under_way.front().is_some_and(|read| read.done) {
            for piece in self.under_way.pop_front().into_iter().flat_map(|read| read.held) {
                if out.send(piece).await.is_err() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// How every answer begins.
struct Header {
    /// Bytes after the id.
    length: usize,
    kind: u8,
    id: u32,
}

impl Header {
    async fn read(input: &mut Input) -> Result<Self, Failure> {
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

    async fn rest(&self, input: &mut Input) -> Result<Vec<u8>, Failure> {
        if self.length > MAX_ANSWER {
            return Err(self.unasked(input));
        }
        input.many(self.length).await
    }

    fn unasked(&self, input: &Input) -> Failure {
        input.link.wrong(format_args!(
            "sent SFTP packet {} with the id {}, which nothing asked for",
            self.kind, self.id
        ))
    }
}

/// A `STATUS`: its code, and what to say about it.
fn status(answer: &[u8]) -> (Option<u32>, String) {
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

fn packet(kind: u8, id: u32, parts: &[&[u8]]) -> Vec<u8> {
    let length = 5 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut packet = Vec::with_capacity(4 + length);
    packet.extend_from_slice(&(length as u32).to_be_bytes());
    packet.push(kind);
    packet.extend_from_slice(&id.to_be_bytes());
    parts.iter().for_each(|part| packet.extend_from_slice(part));
    packet
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

/// The fields of an answer, one after the other; `None` past its end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*value))
    }

    fn u64(&mut self) -> Option<u64> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*value))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }
}
