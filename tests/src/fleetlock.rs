//! A lock service that speaks FleetLock over TLS, as one of the two known servers does, with one slot for
//! each group. It keeps what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::Result;
use crate::appliance::keys::Authority;

/// Nobody is waited for any longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server whose store is down takes to say so.
const STORE_TIMEOUT: Duration = Duration::from_millis(500);

/// Whose manners it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Airlock,
    Poseidon,
}

/// What comes before its manners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    Working,
    /// Its store does not answer.
    StoreDown,
    /// It hears everything and says nothing.
    Silent,
    /// It ends the connection where the answer should be.
    Drop,
    /// It does what it is asked, and ends the connection instead of saying so.
    LoseAnswer,
    /// It does what it is asked, and never ends the body of its answer.
    Talkative,
    /// It answers so, with this header, and does nothing.
    Answer(u16, String),
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    /// What its `fleet-lock-protocol` header said.
    pub protocol: Option<String>,
    pub body: String,
    /// What it was answered.
    pub status: u16,
}

/// A lock service on a port of its own of 127.0.0.1; it goes when it is dropped.
pub struct Fleetlock {
    address: SocketAddr,
    authority: Option<Authority>,
    shared: Arc<Shared>,
}

struct Shared {
    kind: Kind,
    inner: Mutex<Inner>,
}

struct Inner {
    mood: Mood,
    ended: bool,
    connections: usize,
    asked: Vec<Asked>,
    /// The holder, by group.
    held: BTreeMap<String, String>,
    /// Those that wait for an answer.
    silenced: Vec<TcpStream>,
}

/// Status, type and body.
type Reply = (u16, &'static str, String);

impl Fleetlock {
    pub fn start(kind: Kind) -> Result<Self> {
        Self::open(kind, Some(Authority::new("Lock services")?))
    }

    /// Without TLS.
    pub fn plain(kind: Kind) -> Result<Self> {
        Self::open(kind, None)
    }

    fn open(kind: Kind, authority: Option<Authority>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let config = authority.as_ref().map(config).transpose()?.map(Arc::new);
        let inner = Inner {
            mood: Mood::Working,
            ended: false,
            connections: 0,
            asked: Vec::new(),
            held: BTreeMap::new(),
            silenced: Vec::new(),
        };
        let shared = Arc::new(Shared { kind, inner: Mutex::new(inner) });
        let served = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(std::result::Result::ok) {
                {
                    let mut inner = served.inner();
                    if inner.ended {
                        return;
                    }
                    inner.connections += 1;
                }
                let (shared, config) = (served.clone(), config.clone());
                // Whoever does not trust it, or goes away, is part of what is tested.
                std::thread::spawn(move || shared.accept(stream, config).ok());
            }
        });
        Ok(Self { address, authority, shared })
    }

    /// What a configuration calls it.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its authority's certificate, PEM; none without TLS.
    pub fn authority(&self) -> Option<String> {
        self.authority.as_ref().map(|authority| authority.pem.clone())
    }

    pub fn set(&self, mood: Mood) {
        self.shared.inner().mood = mood;
    }

    /// Gives the group's lock to somebody, or takes it from everybody.
    pub fn hold(&self, group: &str, id: Option<&str>) {
        let held = &mut self.shared.inner().held;
        match id {
            Some(id) => held.insert(group.to_owned(), id.to_owned()),
            None => held.remove(group),
        };
    }

    pub fn holder(&self, group: &str) -> Option<String> {
        self.shared.inner().held.get(group).cloned()
    }

    /// What it was asked so far, and answered or not.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.inner().asked.clone()
    }

    /// Connections so far, whatever came of them.
    pub fn connections(&self) -> usize {
        self.shared.inner().connections
    }
}

impl Drop for Fleetlock {
    fn drop(&mut self) {
        self.shared.inner().ended = true;
        self.shared.inner().silenced.clear();
        // Its own thread waits for one more.
        let _ = TcpStream::connect(self.address);
    }
}

fn config(authority: &Authority) -> Result<ServerConfig> {
    let own = authority.certificate("127.0.0.1")?;
    Ok(ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(own.pem.as_bytes())?],
            PrivateKeyDer::from_pem_slice(own.key.as_bytes())?,
        )?)
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn accept(&self, stream: TcpStream, config: Option<Arc<ServerConfig>>) -> Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let keep = stream.try_clone()?;
        let Some(config) = config else { return self.serve(stream, keep).map(drop) };
        let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
        if self.serve(&mut stream, keep)? {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        Ok(())
    }

    /// Whether there was an answer.
    fn serve(&self, stream: impl Read + Write, keep: TcpStream) -> Result<bool> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (mut length, mut protocol) = (0, None);
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse()?,
                "fleet-lock-protocol" => protocol = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let body = String::from_utf8(body)?;
        let mood = self.inner().mood.clone();
        let mut header = String::new();
        let (status, kind, text) = match &mood {
            Mood::StoreDown => {
                std::thread::sleep(STORE_TIMEOUT);
                self.store_down()
            }
            Mood::Answer(status, with) => {
                header = format!("{with}\r\n");
                (*status, "text/plain", String::new())
            }
            Mood::Silent | Mood::Drop => (0, "", String::new()),
            _ if method != "POST" => (405, "text/plain", String::new()),
            _ => self.answer(&path, protocol.as_deref(), &body),
        };
        self.inner().asked.push(Asked { path, protocol, body, status });
        match mood {
            Mood::Silent => {
                self.inner().silenced.push(keep);
                return Ok(false);
            }
            Mood::Drop | Mood::LoseAnswer => return Ok(false),
            Mood::Talkative => {
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", u64::MAX / 2);
                stream.get_mut().write_all(head.as_bytes())?;
                loop {
                    stream.get_mut().write_all(&[b'x'; 16 << 10])?;
                }
            }
            _ => {}
        }
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{header}Content-Length: {}\r\n\r\n{text}",
            text.len()
        );
        stream.get_mut().write_all(head.as_bytes())?;
        stream.get_mut().flush()?;
        Ok(true)
    }

    fn answer(&self, path: &str, protocol: Option<&str>, body: &str) -> Reply {
        if protocol != Some("true") {
            return self.bad_request("missing_header", "missing required header fleet-lock-protocol: true");
        }
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let text = |name: &str| body["client_params"][name].as_str().filter(|text| !text.is_empty());
        let (Some(id), Some(group)) = (text("id"), text("group")) else {
            return self.bad_request("decode_error", "error decoding message");
        };
        let held = &mut self.inner().held;
        let holder = held.get(group).cloned();
        let others = holder.as_deref().filter(|holder| *holder != id);
        match (path, others) {
            ("/v1/pre-reboot", None) => {
                held.insert(group.to_owned(), id.to_owned());
                self.granted("obtained reboot lease")
            }
            ("/v1/pre-reboot", Some(other)) => self.not_granted(other),
            ("/v1/steady-state", Some(other)) if self.kind == Kind::Poseidon => {
                let value = format!("reboot lease unlock unavailable, held by {other}");
                error(423, "application/json", "lock_held", &value)
            }
            ("/v1/steady-state", others) => {
                if others.is_none() {
                    held.remove(group);
                }
                self.granted("unlocked reboot lease")
            }
            _ => (404, "text/plain; charset=utf-8", "404 page not found\n".into()),
        }
    }

    fn granted(&self, words: &str) -> Reply {
        match self.kind {
            Kind::Airlock => (200, "text/plain; charset=utf-8", String::new()),
            Kind::Poseidon => (200, "text/plain; charset=utf-8", words.into()),
        }
    }

    fn not_granted(&self, holder: &str) -> Reply {
        match self.kind {
            Kind::Airlock => error(
                500,
                "text/plain; charset=utf-8",
                "failed_lock",
                "failed to lock semaphore: all 1 semaphore slots currently locked",
            ),
            Kind::Poseidon => {
                let value = format!("reboot lease lock unavailable, held by {holder}");
                error(423, "application/json", "lock_held", &value)
            }
        }
    }

    fn bad_request(&self, kind: &str, value: &str) -> Reply {
        match self.kind {
            Kind::Airlock => error(400, "text/plain; charset=utf-8", "invalid_client_identity", value),
            Kind::Poseidon => error(400, "application/json", kind, value),
        }
    }

    fn store_down(&self) -> Reply {
        match self.kind {
            Kind::Airlock => error(
                500,
                "text/plain; charset=utf-8",
                "failed_lock",
                "failed to initialize semaphore manager: context deadline exceeded",
            ),
            Kind::Poseidon => error(500, "application/json", "internal_error", "error getting reboot lease"),
        }
    }
}

fn error(status: u16, content_type: &'static str, kind: &str, value: &str) -> Reply {
    (status, content_type, format!("{}\n", json!({ "kind": kind, "value": value })))
}
