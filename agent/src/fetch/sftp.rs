//! SFTP, version 3, as far as reading one file needs it: many reads under way, their answers put in
//! order, and no more memory than those reads ask for.

mod packet;
mod reads;

use reinstate_api::Failure;
use russh::client::Msg;
use russh::{Channel, ChannelWriteHalf};

use super::input::Input;
use super::link::{Link, quote};
use super::{Options, remote_file, too_large};
use packet::{
    ATTRS, COMMON_READ, EXTENDED, EXTENDED_REPLY, FSTAT, Fields, HANDLE, Header, INIT, LIMITS, MAX_ANSWER,
    MAX_READ, OPEN, STAT, STATUS, VERSION, packet, status, string,
};

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
}
