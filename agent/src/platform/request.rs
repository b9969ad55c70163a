//! The short processes of a real appliance: systemd starts one for each request on a socket that only
//! the daemon's user may open.
//!
//! A request is one line of JSON, a verb and its values; so is the answer.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reinstate_api::{Code, Failure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::process::{MAX_ANSWER, TIME_LIMIT};

/// The longest request: 16 KiB.
const MAX_REQUEST: u64 = 16 << 10;

/// The other side has so long to send its request.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// Together they are fewer than systemd starts (`MaxConnections=`): it drops what is beyond that.
const LOOKS: usize = 4;
const WORKS: usize = 3;

/// What only looks, or only tells people. It waits for its like, and never keeps anything else waiting.
const LOOKING: [&str; 10] = [
    "facts",
    "ha-state",
    "inactive",
    "lock-service",
    "log",
    "manager-credentials",
    "membership",
    "people",
    "scan",
    "warn",
];

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
    socket: PathBuf,
    looks: Arc<Semaphore>,
    works: Arc<Semaphore>,
}

impl Requests {
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { socket: socket.into(), looks: places(LOOKS), works: places(WORKS) }
    }

    /// Has a verb done, and waits for its end.
    pub async fn run<T: DeserializeOwned>(&self, verb: &str, values: &[String]) -> Result<T, Failure> {
        let broken = |why: String| Failure::new(Code::Internal, format!("the process for `{verb}` {why}"));
        let cannot = |e: io::Error| {
            Failure::io(format_args!("cannot ask for `{verb}` on {}", self.socket.display()), &e)
        };
        let request = Request { verb: verb.to_owned(), values: values.to_vec() };
        let mut line = serde_json::to_vec(&request).map_err(|e| broken(e.to_string()))?;
        line.push(b'\n');
        let places = if LOOKING.contains(&verb) { &self.looks } else { &self.works };
        let place = places.clone().acquire_owned().await.map_err(|e| broken(e.to_string()))?;
        let socket = self.socket.clone();
        // The process goes on where nobody waits for it any more, and so it keeps its place.
        let exchange = tokio::spawn(async move {
            let _place = place;
            tokio::time::timeout(TIME_LIMIT, exchange(socket, line)).await
        });
        let answer = exchange
            .await
            .map_err(|_| broken("is waited for no more".into()))?
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

async fn exchange(socket: PathBuf, line: Vec<u8>) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut stream = UnixStream::connect(&socket).await?;
    stream.write_all(&line).await?;
    stream.shutdown().await?;
    // There may be a key in it; large enough, so that no copy of it stays behind where it grew.
    let mut answer = Zeroizing::new(Vec::with_capacity(64 << 10));
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
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

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    async fn verb_of(stream: &mut UnixStream) -> String {
        let mut line = Vec::new();
        stream.read_to_end(&mut line).await.unwrap();
        serde_json::from_slice::<Request>(&line).unwrap().verb
    }

    #[tokio::test]
    async fn however_many_look_the_job_finds_room() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("root.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let requests = Requests::new(socket);
        let ask = |verb: &'static str| {
            let requests = requests.clone();
            tokio::spawn(async move { requests.run::<()>(verb, &[]).await })
        };
        let mut looking: Vec<_> = (0..9).map(|_| ask("log")).collect();
        let mut held = Vec::new();
        for _ in 0..LOOKS {
            held.push(listener.accept().await.unwrap().0);
        }
        // Whoever goes away leaves the process behind, and its place with it.
        looking.iter().for_each(|look| look.abort());
        looking.clear();
        looking.push(ask("log"));
        let activating = ask("activate-now");
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(verb_of(&mut stream).await, "activate-now");
        stream.write_all(b"{\"done\":null}").await.unwrap();
        drop(stream);
        activating.await.unwrap().unwrap();
        let more = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(more.is_err(), "no more than {LOOKS} look at once");
        held[0].write_all(b"{\"done\":null}").await.unwrap();
        held.remove(0);
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(verb_of(&mut stream).await, "log");
        stream.write_all(b"{\"done\":null}").await.unwrap();
        drop(stream);
        looking.remove(0).await.unwrap().unwrap();
    }

    #[test]
    fn systemd_starts_more_than_are_asked_for() {
        let socket = include_str!("../../../systemd/reinstate-root.socket");
        let most = socket.lines().find_map(|line| line.strip_prefix("MaxConnections=")).unwrap();
        assert!(most.parse::<usize>().unwrap() > LOOKS + WORKS);
    }
}
