//! What comes out of a channel: bytes, and how it ended.

use std::time::Duration;

use bytes::Bytes;
use reinstate_api::{Code, Failure};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::{Instant, timeout_at};

use super::link::{Link, quote};

/// Bytes of error output that are kept for a message.
const MAX_ERRORS: usize = 2 << 10;

/// The reading half of a channel, with a watchdog. It is what reports that the connection is gone, and
/// why; so nobody looks at the results of writing.
pub(super) struct Input {
    half: ChannelReadHalf,
    pub link: Link,
    stall: Duration,
    /// Received and not taken yet.
    rest: Bytes,
    errors: Vec<u8>,
    exit: Option<u32>,
    closed: bool,
}

impl Input {
    pub fn new(channel: Channel<Msg>, link: Link, stall: Duration) -> (Self, ChannelWriteHalf<Msg>) {
        let (half, output) = channel.split();
        let input =
            Self { half, link, stall, rest: Bytes::new(), errors: Vec::new(), exit: None, closed: false };
        (input, output)
    }

    /// Did the server accept the request that was just made?
    pub async fn accepted(&mut self) -> Result<bool, Failure> {
        let deadline = Instant::now() + self.stall;
        loop {
            match self.message(deadline).await? {
                Some(ChannelMsg::Success) => return Ok(true),
                Some(ChannelMsg::Failure) | None => return Ok(false),
                Some(_) => {}
            }
        }
    }

    /// The next bytes, at most `max`; `None` once the channel is closed. Only bytes count as progress:
    /// a server that sends nothing else is stalled.
    pub async fn some(&mut self, max: usize) -> Result<Option<Bytes>, Failure> {
        if self.rest.is_empty() {
            let deadline = Instant::now() + self.stall;
            while self.rest.is_empty() {
                match self.message(deadline).await? {
                    Some(ChannelMsg::Data { data }) => self.rest = data,
                    Some(_) => {}
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(self.rest.split_to(max.min(self.rest.len()))))
    }

    /// Exactly `N` bytes.
    pub async fn exactly<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            let piece = self.some(N - filled).await?.ok_or_else(|| self.ended())?;
            bytes[filled..filled + piece.len()].copy_from_slice(&piece);
            filled += piece.len();
        }
        Ok(bytes)
    }

    /// `length` bytes, which the caller has bounded.
    pub async fn many(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let piece = self.some(length - bytes.len()).await?.ok_or_else(|| self.ended())?;
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The exit status, after the channel has closed.
    pub fn exit(&self) -> Option<u32> {
        self.exit
    }

    /// `, saying "…"`: what the server's program wrote as errors, if anything.
    pub fn saying(&self) -> String {
        match String::from_utf8_lossy(&self.errors).trim() {
            "" => String::new(),
            errors => format!(", saying {}", quote(errors, 300)),
        }
    }

    /// The channel closed where bytes were due.
    pub fn ended(&self) -> Failure {
        let mut message = format!("{} ended the transfer before its end", self.link.server);
        if let Some(status) = self.exit {
            message += &format!(", with status {status}");
        }
        message += &self.saying();
        Failure::new(Code::ConnectionLost, message).hint("try again; look at the server's log")
    }

    /// The next message; `None` once the channel is closed. The end of the bytes is not yet the end:
    /// the exit status comes after it.
    async fn message(&mut self, deadline: Instant) -> Result<Option<ChannelMsg>, Failure> {
        if self.closed {
            return Ok(None);
        }
        let message =
            timeout_at(deadline, self.half.wait()).await.map_err(|_| self.link.stalled(self.stall))?;
        match &message {
            Some(ChannelMsg::Close) => {
                self.closed = true;
                return Ok(None);
            }
            // Not a word of closing the channel: the connection itself is gone.
            None => return Err(self.link.lost()),
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                let room = MAX_ERRORS.saturating_sub(self.errors.len());
                self.errors.extend_from_slice(&data[..room.min(data.len())]);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => self.exit = Some(*exit_status),
            Some(_) => {}
        }
        Ok(message)
    }
}
