//! The agent's API as any other program would use it: HTTP on the Unix socket, JSON both ways.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::{Result, doing};

/// A backup of a large configuration takes its time before it answers.
const PATIENCE: Duration = Duration::from_secs(600);

/// One client: a connection for each request.
pub struct Client {
    socket: PathBuf,
}

impl Client {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The status and the body, null where there is none.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let mut stream = doing("reach", &self.socket, UnixStream::connect(&self.socket))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        // Version 1.0: the answer ends with the connection, and is not sent in chunks.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // A refusal may be there before the whole request was read.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let broken = || format!("{method} {path}: the answer is cut");
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(broken)?;
        let status = String::from_utf8_lossy(&answer[..head])
            .split_whitespace()
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(broken)?;
        let body = &answer[head + 4..];
        let body = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(body)?,
        };
        Ok((status, body))
    }

    pub fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.expect("GET", path, None)
    }

    pub fn post<T: serde::de::DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        self.expect("POST", path, Some(body))
    }

    /// An answer that is no refusal.
    fn expect<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T> {
        match self.call(method, path, body)? {
            (200..300, body) => Ok(serde_json::from_value(body)?),
            (status, body) => Err(format!("{method} {path}: {status}: {body}").into()),
        }
    }
}
