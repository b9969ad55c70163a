//! The agent's API: one request on one connection, answers of bounded size.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use reinstate_api::{Code, Failure, Secret, Session, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::signals::{Signals, Wake};

/// No answer and no event of the agent is larger.
const SIZE_LIMIT: usize = 16 << 20;
const HEAD_LIMIT: usize = 16 << 10;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Making a backup reads and writes the whole configuration before it answers; a bundle is read to its
/// end before it is listed.
const BACKUP_PATIENCE: Duration = Duration::from_secs(3600);
/// The agent says something at least every ten seconds.
const SILENCE: Duration = Duration::from_secs(30);

type Answer<T> = Result<T, Vec<Failure>>;

fn patience(path: &str) -> Duration {
    if path.starts_with("/v1/backups") { BACKUP_PATIENCE } else { PATIENCE }
}

pub struct Client {
    socket: PathBuf,
    signals: Rc<Signals>,
}

impl Client {
    pub fn new(socket: PathBuf, signals: Rc<Signals>) -> Self {
        Self { socket, signals }
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.call("GET", path, None, patience(path))
    }

    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.call("DELETE", path, None, PATIENCE)
    }

    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Answer<T> {
        // Large enough for a password, so that no copy of it stays behind where a buffer grew.
        let mut text = Vec::with_capacity(32 << 10);
        let written = serde_json::to_writer(&mut text, body).map_err(|e| e.to_string());
        let body = written.and_then(|()| String::from_utf8(text).map_err(|e| e.to_string()));
        let body = body.map_err(|e| {
            vec![Failure::new(Code::Internal, format!("{path}: the request cannot be written: {e}"))]
        })?;
        self.call("POST", path, Some(&Secret::new(body)), patience(path))
    }

    /// Opens a session, which lasts until the second value is dropped.
    pub fn session(&self, from: &str) -> Answer<(Session, Lasting)> {
        let mut response = self.send("GET", &format!("/v1/session?from={from}"), None)?;
        let head = response.head(PATIENCE)?;
        if !head.is_success() {
            return Err(response.refusal(&head, PATIENCE));
        }
        let until = Instant::now() + PATIENCE;
        while !response.buffer.contains(&b'\n') {
            if !response.more(until).map_err(|stop| response.stopped(stop))? {
                return Err(vec![response.broken_off("before it answered")]);
            }
        }
        let end = response.buffer.iter().position(|b| *b == b'\n').unwrap_or(0);
        let session = serde_json::from_slice(&response.buffer[..end]);
        let session = session.map_err(|e| response.not_understood(&e.to_string()))?;
        Ok((session, Lasting(response.stream)))
    }

    /// The agent's status, whenever it changes.
    pub fn events(&self) -> Answer<Events> {
        let mut response = self.send("GET", "/v1/events", None)?;
        let head = response.head(PATIENCE)?;
        if !head.is_success() {
            return Err(response.refusal(&head, PATIENCE));
        }
        Ok(Events(response))
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Secret>,
        patience: Duration,
    ) -> Answer<T> {
        let mut response = self.send(method, path, body)?;
        let head = response.head(patience)?;
        if !head.is_success() {
            return Err(response.refusal(&head, patience));
        }
        let body = response.body(&head, patience)?;
        serde_json::from_slice(body).map_err(|e| response.not_understood(&e.to_string()))
    }

    fn send(&self, method: &str, path: &str, body: Option<&Secret>) -> Answer<Response> {
        let unreachable = |error: &std::io::Error| {
            vec![
                Failure::new(
                    Code::AgentUnreachable,
                    format!("the agent does not answer at {}: {error}", self.socket.display()),
                )
                .hint("it starts with the appliance: try again in a minute, then restart the appliance"),
            ]
        };
        let mut stream = UnixStream::connect(&self.socket).map_err(|e| unreachable(&e))?;
        let timeouts = stream.set_write_timeout(Some(PATIENCE));
        timeouts.map_err(|e| unreachable(&e))?;
        let body = body.map_or("", Secret::expose);
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        match sent {
            // A refusal may be there already, and says more.
            Err(e) if e.kind() != ErrorKind::BrokenPipe => return Err(unreachable(&e)),
            _ => {}
        }
        Ok(Response {
            stream,
            signals: Rc::clone(&self.signals),
            asked: format!("{method} {path}"),
            buffer: Vec::new(),
        })
    }
}

/// A session that the agent knows of.
pub struct Lasting(UnixStream);

impl Lasting {
    /// It lasts beyond this program, as long as the one that takes its place.
    pub fn outlives(&self) {
        // Refused only for a descriptor that is not open.
        let _ = fcntl(&self.0, FcntlArg::F_SETFD(FdFlag::empty()));
    }
}

struct Head {
    status: u16,
    length: Option<usize>,
}

impl Head {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// An answer that is being read.
struct Response {
    stream: UnixStream,
    signals: Rc<Signals>,
    asked: String,
    /// What was read and not used.
    buffer: Vec<u8>,
}

/// Why reading stopped before the end.
enum Stop {
    Interrupt,
    Hangup,
    Silence,
    Size,
}

impl Response {
    fn head(&mut self, patience: Duration) -> Answer<Head> {
        let until = Instant::now() + patience;
        loop {
            if let Some((head, length)) = parse_head(&self.buffer).map_err(|e| self.not_understood(&e))? {
                self.buffer.drain(..length);
                return Ok(head);
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(self.not_understood("the head of the answer does not end"));
            }
            if !self.more(until).map_err(|stop| self.stopped(stop))? {
                return Err(vec![self.broken_off("before it answered")]);
            }
        }
    }

    fn body(&mut self, head: &Head, patience: Duration) -> Answer<&[u8]> {
        let until = Instant::now() + patience;
        while head.length.is_none_or(|length| self.buffer.len() < length)
            && self.more(until).map_err(|stop| self.stopped(stop))?
        {}
        match head.length {
            Some(length) if self.buffer.len() < length => {
                Err(vec![self.broken_off("in the middle of an answer")])
            }
            Some(length) => Ok(&self.buffer[..length]),
            None => Ok(&self.buffer),
        }
    }

    /// Why a request was refused.
    fn refusal(&mut self, head: &Head, patience: Duration) -> Vec<Failure> {
        let body = match self.body(head, patience) {
            Ok(body) => serde_json::from_slice::<BTreeMap<String, Vec<Failure>>>(body),
            Err(failures) => return failures,
        };
        match body.ok().and_then(|mut body| body.remove("failures")) {
            Some(failures) if !failures.is_empty() => failures,
            _ => self.not_understood(&format!("status {} without a reason", head.status)),
        }
    }

    /// Reads what there is; false at the end, which a connection that breaks is too.
    fn more(&mut self, until: Instant) -> Result<bool, Stop> {
        let left = until.saturating_duration_since(Instant::now());
        match self.signals.wait(&[self.stream.as_fd()], Some(left)) {
            Wake::Ready(_) => {}
            Wake::Interrupt => return Err(Stop::Interrupt),
            Wake::Hangup => return Err(Stop::Hangup),
            Wake::Timeout => return Err(Stop::Silence),
        }
        let mut chunk = [0; 32 << 10];
        let count = loop {
            match self.stream.read(&mut chunk) {
                Ok(count) => break count,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break 0,
            }
        };
        if self.buffer.len() + count > SIZE_LIMIT {
            return Err(Stop::Size);
        }
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count > 0)
    }

    fn stopped(&self, stop: Stop) -> Vec<Failure> {
        let asked = &self.asked;
        match stop {
            Stop::Interrupt | Stop::Hangup => {
                vec![Failure::new(Code::Interrupted, format!("{asked}: the answer was not waited for"))]
            }
            Stop::Silence => {
                vec![Failure::new(
                    Code::AgentUnreachable,
                    format!("{asked}: the agent was silent for too long"),
                )]
            }
            Stop::Size => self.not_understood(&format!("it is larger than {} MiB", SIZE_LIMIT >> 20)),
        }
    }

    fn broken_off(&self, when: &str) -> Failure {
        Failure::new(Code::AgentUnreachable, format!("{}: the agent ended the connection {when}", self.asked))
            .hint("`show restore` tells where things stand once it runs again")
    }

    fn not_understood(&self, why: &str) -> Vec<Failure> {
        vec![
            Failure::new(
                Code::Internal,
                format!("{}: the agent's answer is not understood: {why}", self.asked),
            )
            .hint("the shell and the agent have to be of the same release"),
        ]
    }
}

/// The head and its length, once it is whole.
fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = response.parse(bytes).map_err(|e| e.to_string())? else {
        return Ok(None);
    };
    let header =
        |name: &str| response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    if header("transfer-encoding").is_some() {
        return Err("it is sent in an encoding that was not asked for".into());
    }
    let length = match header("content-length") {
        None => None,
        Some(value) => {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok());
            Some(number.filter(|length| *length <= SIZE_LIMIT).ok_or("its length is out of range")?)
        }
    };
    let status = response.code.ok_or("it has no status")?;
    Ok(Some((Head { status, length }, end)))
}

/// The agent's status, whenever it changes.
pub struct Events(Response);

pub enum Event {
    Status(Box<Status>),
    /// The agent has ended.
    End,
    /// Ctrl-C.
    Interrupt,
    /// The session is being ended.
    Hangup,
    Failed(Vec<Failure>),
}

impl Events {
    /// Ready when `next` has something to read.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.stream.as_fd()
    }

    /// True where `next` has nothing to wait for.
    pub fn is_here(&self) -> bool {
        self.0.buffer.contains(&b'\n')
    }

    /// The next status, waited for.
    pub fn next(&mut self) -> Event {
        let until = Instant::now() + SILENCE;
        loop {
            if let Some(end) = self.0.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.0.buffer.drain(..=end).collect();
                return match serde_json::from_slice(&line) {
                    Ok(status) => Event::Status(Box::new(status)),
                    Err(e) => Event::Failed(self.0.not_understood(&e.to_string())),
                };
            }
            match self.0.more(until) {
                Ok(true) => {}
                Ok(false) => return Event::End,
                Err(Stop::Interrupt) => return Event::Interrupt,
                Err(Stop::Hangup) => return Event::Hangup,
                Err(stop) => return Event::Failed(self.0.stopped(stop)),
            }
        }
    }
}
