//! The agent's API, as far as files go: one request on one connection.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use reinstate_api::{BackupFile, Code, Created, Failure, Session};
use serde::de::DeserializeOwned;

/// No answer but a file's content is larger.
const SIZE_LIMIT: u64 = 16 << 20;
const HEAD_LIMIT: usize = 16 << 10;
/// How long the agent may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// A whole backup is put on the disk before it is answered for, and the disk may be slow.
const DURABLE: Duration = Duration::from_secs(3600);

pub struct Agent {
    socket: PathBuf,
}

impl Agent {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// A session that the agent counts for as long as the value lives.
    ///
    /// # Errors
    /// `too-many-sessions`; `setup-needed` where the first login has not been yet, except for root, who has not
    /// come in by the factory's password.
    pub fn session(&self) -> Result<Lasting, Failure> {
        let mut connection = self.send("GET", "/v1/session?from=ssh", "1.0", "")?;
        let head = connection.head()?;
        if !(200..300).contains(&head.status) {
            return Err(connection.refusal(&head));
        }
        let session: Session = connection.line()?;
        match session.setup && session.user != "root" {
            true => Err(Failure::new(Code::SetupNeeded, "this appliance is not set up yet")
                .hint("log in with a terminal: the first login asks what it has to know")),
            false => Ok(Lasting(connection)),
        }
    }

    pub fn list(&self) -> Result<Vec<BackupFile>, Failure> {
        self.send("GET", "/v1/files", "1.1", "")?.json()
    }

    pub fn remove(&self, file: &str) -> Result<(), Failure> {
        self.send("DELETE", &url(file), "1.1", "")?.json::<serde_json::Value>().map(drop)
    }

    /// Goes on once the agent wants to have the content.
    pub fn upload(&self, file: &str) -> Result<Upload, Failure> {
        let how = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n";
        let mut connection = self.send("PUT", &url(file), "1.1", how)?;
        match connection.head()? {
            Head { status: 100, .. } => Ok(Upload { connection, chunk: Vec::new(), sent: 0 }),
            head => Err(connection.refusal(&head)),
        }
    }

    /// From this byte on.
    pub fn download(&self, file: &str, offset: u64) -> Result<Download, Failure> {
        let mut connection = self.send("GET", &format!("{}?offset={offset}", url(file)), "1.1", "")?;
        let head = connection.head()?;
        match head {
            Head { status: 200, length: Some(left) } => Ok(Download { connection, left }),
            head => Err(connection.refusal(&head)),
        }
    }

    fn send(&self, method: &str, path: &str, http: &str, headers: &str) -> Result<Connection, Failure> {
        let unreachable = |error: io::Error| {
            Failure::new(
                Code::AgentUnreachable,
                format!("the agent does not answer at {}: {error}", self.socket.display()),
            )
            .hint("it starts with the appliance: try again in a minute, then restart the appliance")
        };
        let stream = UnixStream::connect(&self.socket).map_err(unreachable)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(unreachable)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(unreachable)?;
        let mut connection = Connection { stream, buffer: Vec::new() };
        let head =
            format!("{method} {path} HTTP/{http}\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        connection.stream.write_all(head.as_bytes()).map_err(unreachable)?;
        Ok(connection)
    }
}

/// `/v1/files/NAME`
fn url(file: &str) -> String {
    let mut url = String::from("/v1/files/");
    for byte in file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => url.push(char::from(byte)),
            other => url += &format!("%{other:02X}"),
        }
    }
    url
}

/// A backup on its way to the agent. Dropped before its end, nothing of it stays.
pub struct Upload {
    connection: Connection,
    chunk: Vec<u8>,
    sent: u64,
}

impl Upload {
    /// Where the next bytes belong.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // An empty chunk is the end.
        if bytes.is_empty() {
            return Ok(());
        }
        self.chunk.clear();
        self.chunk.extend(format!("{:x}\r\n", bytes.len()).as_bytes());
        self.chunk.extend(bytes);
        self.chunk.extend(b"\r\n");
        self.sent += bytes.len() as u64;
        match self.connection.stream.write_all(&self.chunk) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.connection.ended(&error)),
        }
    }

    /// Comes back when the agent has it, whole and on the disk.
    pub fn finish(mut self) -> Result<(), Failure> {
        if let Err(error) = self.connection.stream.write_all(b"0\r\n\r\n") {
            return Err(self.connection.ended(&error));
        }
        // Setting it cannot fail: it is not zero.
        let _ = self.connection.stream.set_read_timeout(Some(DURABLE));
        let created: Created = self.connection.json()?;
        if created.bytes == self.sent {
            return Ok(());
        }
        let message = format!("{}: {} bytes were sent, {} are there", created.file, self.sent, created.bytes);
        Err(Failure::new(Code::Internal, message))
    }
}

/// A backup on its way from the agent.
pub struct Download {
    connection: Connection,
    left: u64,
}

impl Download {
    /// What is still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Fills `to`, which must not be longer than what is left.
    pub fn read(&mut self, to: &mut [u8]) -> Result<(), Failure> {
        let here = to.len().min(self.connection.buffer.len());
        to[..here].copy_from_slice(&self.connection.buffer[..here]);
        self.connection.buffer.drain(..here);
        self.connection.stream.read_exact(&mut to[here..]).map_err(|error| broken(&error))?;
        self.left -= to.len() as u64;
        Ok(())
    }
}

struct Head {
    status: u16,
    length: Option<u64>,
}

/// A session that the agent knows of.
pub struct Lasting(#[expect(dead_code, reason = "it is open, and that is all")] Connection);

/// One connection with one request.
struct Connection {
    stream: UnixStream,
    /// What was read and not used.
    buffer: Vec<u8>,
}

impl Connection {
    fn head(&mut self) -> Result<Head, Failure> {
        loop {
            if let Some((head, length)) = parse(&self.buffer).map_err(|why| not_understood(&why))? {
                self.buffer.drain(..length);
                return Ok(head);
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(not_understood("its head does not end"));
            }
            let mut piece = [0; 4 << 10];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(broken(&io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.buffer.extend(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    /// The first line of a body that does not end.
    fn line<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                return serde_json::from_slice(&self.buffer[..end])
                    .map_err(|error| not_understood(&error.to_string()));
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(not_understood("its first line does not end"));
            }
            let mut piece = [0; 1 << 10];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(broken(&io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.buffer.extend(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    fn body(&mut self, head: &Head) -> Result<Vec<u8>, Failure> {
        let length = head.length.filter(|length| *length <= SIZE_LIMIT);
        let length = length.ok_or_else(|| not_understood("its length is out of range"))?;
        let mut body = std::mem::take(&mut self.buffer);
        let rest = length.saturating_sub(body.len() as u64);
        let read = (&self.stream).take(rest).read_to_end(&mut body).map_err(|error| broken(&error))?;
        match read as u64 == rest {
            true => Ok(body),
            false => Err(broken(&io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn json<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let head = self.head()?;
        if !(200..300).contains(&head.status) {
            return Err(self.refusal(&head));
        }
        serde_json::from_slice(&self.body(&head)?).map_err(|error| not_understood(&error.to_string()))
    }

    /// Why a request was refused.
    fn refusal(&mut self, head: &Head) -> Failure {
        let body = match self.body(head) {
            Ok(body) => serde_json::from_slice::<BTreeMap<String, Vec<Failure>>>(&body),
            Err(failure) => return failure,
        };
        let first = body.ok().and_then(|mut body| body.remove("failures")?.into_iter().next());
        first.unwrap_or_else(|| not_understood(&format!("status {} without a reason", head.status)))
    }

    /// Why nothing more can be sent: what the agent has said before it closed the connection.
    fn ended(&mut self, error: &io::Error) -> Failure {
        match self.head() {
            Ok(head) => self.refusal(&head),
            Err(_) => broken(error),
        }
    }
}

fn broken(error: &io::Error) -> Failure {
    let silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    let how = if silent { "is silent" } else { "has ended the connection" };
    Failure::new(Code::AgentUnreachable, format!("the agent {how} in the middle of it")).hint("try again")
}

fn not_understood(why: &str) -> Failure {
    Failure::new(Code::Internal, format!("the agent's answer is not understood: {why}"))
        .hint("this program and the agent have to be of the same release")
}

/// The head and its length, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = response.parse(bytes).map_err(|e| e.to_string())? else {
        return Ok(None);
    };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.map(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    let length = match length {
        Some(None) => return Err("its length is no number".into()),
        Some(length) => length,
        None => None,
    };
    Ok(Some((Head { status: response.code.ok_or("it has no status")?, length }, end)))
}
