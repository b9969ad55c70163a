//! Many reads under way, their answers put in order.

use std::collections::VecDeque;
use std::convert::Infallible;

use bytes::Bytes;
use reinstate_api::Failure;
use russh::ChannelWriteHalf;
use russh::client::Msg;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::packet::{CLOSE, DATA, Header, READ, STATUS, STATUS_EOF, packet, status, string};
use super::{Open, Sftp};
use crate::fetch::input::Input;
use crate::fetch::{Finished, remote_file};

impl Sftp {
    /// Sends the bytes of the file from `from` to its end at `out`, in order.
    pub(in crate::fetch) async fn read(
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
