//! The short processes of a real appliance: systemd starts one for each request on a socket that only
//! the daemon's user may open.
//!
//! A request is one line of JSON, a verb and its values; so is the answer.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use reinstate_api::{Code, Failure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::process::{MAX_ANSWER, TIME_LIMIT};

/// The longest request: 16 KiB.
const MAX_REQUEST: u64 = 16 << 10;

/// The other side has so long to send its request.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// A verb of the agent, and its values.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub verb: String,
    pub values: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer<T> {
    Done(T),
    Failed(Failure),
}

/// Where requests are sent to.
#[derive(Clone, Debug)]
pub struct Requests {
    pub socket: PathBuf,
}

impl Requests {
    /// Has a verb done, and waits for its end.
    pub async fn run<T: DeserializeOwned>(&self, verb: &str, values: &[String]) -> Result<T, Failure> {
        let broken = |why: String| Failure::new(Code::Internal, format!("the process for `{verb}` {why}"));
        let cannot = |e: io::Error| {
            Failure::io(format_args!("cannot ask for `{verb}` on {}", self.socket.display()), &e)
        };
        let request = Request { verb: verb.to_owned(), values: values.to_vec() };
        let mut line = serde_json::to_vec(&request).map_err(|e| broken(e.to_string()))?;
        line.push(b'\n');
        let exchange = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            stream.write_all(&line).await?;
            stream.shutdown().await?;
            // There may be a key in it; large enough, so that no copy of it stays behind where it grew.
            let mut answer = Zeroizing::new(Vec::with_capacity(64 << 10));
            stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
            Ok(answer)
        };
        let answer = tokio::time::timeout(TIME_LIMIT, exchange)
            .await
            .map_err(|_| broken(format!("did not end within {} s", TIME_LIMIT.as_secs())))?
            .map_err(cannot)?;
        if answer.is_empty() {
            return Err(broken("ended without an answer; its log tells more".into()));
        }
        match serde_json::from_slice(&answer).map_err(|e| broken(format!("answered with no JSON: {e}")))? {
            Answer::Done(value) => Ok(value),
            Answer::Failed(failure) => Err(failure),
        }
    }
}

/// Reads the one request on standard input.
pub fn receive() -> Result<Request, Failure> {
    let bad = |why: String| Failure::new(Code::BadRequest, format!("the request is not understood: {why}"));
    let stdin = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned();
    let mut stream = std::os::unix::net::UnixStream::from(stdin.map_err(|e| bad(e.to_string()))?);
    stream.set_read_timeout(Some(REQUEST_TIME)).map_err(|e| bad(e.to_string()))?;
    let mut line = Vec::new();
    (&mut stream).take(MAX_REQUEST).read_to_end(&mut line).map_err(|e| bad(e.to_string()))?;
    serde_json::from_slice(&line).map_err(|e| bad(e.to_string()))
}

/// Answers it on standard output.
pub fn answer(result: Result<impl Serialize, Failure>) -> Result<(), Failure> {
    let answer = match result {
        Ok(value) => Answer::Done(value),
        Err(failure) => Answer::Failed(failure),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, &answer)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(|e| Failure::io("cannot answer", &e))
}
