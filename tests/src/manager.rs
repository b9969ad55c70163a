//! A manager: the TLS server that appliances check in with. It asks for a certificate of its own
//! authority, and keeps what it was told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpSocket;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::Result;
use crate::appliance::keys::{Authority, Certificate};

/// Nobody is waited for any longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How it deals with whoever checks in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// With this status.
    Answer(u16),
    /// It hears everything and says nothing.
    Silent,
    /// It ends the connection where the answer should be.
    Drop,
}

/// A request that came with a certificate of the authority.
#[derive(Clone, Debug)]
pub struct Told {
    pub method: String,
    pub path: String,
    /// The client's own certificate, DER.
    pub certificate: Vec<u8>,
    pub body: Value,
}

/// A manager on an address of its own; it goes when it is dropped.
pub struct Manager {
    /// What its certificate is for: a name or an address.
    host: String,
    address: SocketAddr,
    authority: Authority,
    /// Bound, so that nobody else takes the port, and not listening yet.
    socket: Option<TcpSocket>,
    shared: Arc<Shared>,
}

struct Shared {
    mood: Mutex<Mood>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    ended: bool,
    connections: usize,
    told: Vec<Told>,
    /// Those that wait for an answer.
    held: Vec<TcpStream>,
}

impl Manager {
    /// On a port of its own of 127.0.0.1. Who connects is refused until it is opened.
    pub fn closed() -> Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), "127.0.0.1")
    }

    pub fn open_with(mood: Mood) -> Result<Self> {
        let mut manager = Self::closed()?;
        manager.open(mood)?;
        Ok(manager)
    }

    /// On this address, with a certificate for `host`.
    pub fn at(address: SocketAddr, host: &str) -> Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        let shared = Shared { mood: Mutex::new(Mood::Drop), heard: Mutex::default() };
        Ok(Self {
            host: host.to_owned(),
            address,
            authority: Authority::new("Managers")?,
            socket: Some(socket),
            shared: Arc::new(shared),
        })
    }

    /// From now on it answers the telephone.
    pub fn open(&mut self, mood: Mood) -> Result<()> {
        self.set(mood);
        let Some(socket) = self.socket.take() else { return Ok(()) };
        let config = Arc::new(self.config()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let listener = runtime.block_on(async { socket.listen(16)?.into_std() })?;
        listener.set_nonblocking(false)?;
        let shared = self.shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(std::result::Result::ok) {
                {
                    let mut heard = shared.heard();
                    if heard.ended {
                        return;
                    }
                    heard.connections += 1;
                }
                let (shared, config) = (shared.clone(), config.clone());
                // Whoever has no certificate, or goes away, is part of what is tested.
                std::thread::spawn(move || shared.serve(stream, config).ok());
            }
        });
        Ok(())
    }

    fn config(&self) -> Result<ServerConfig> {
        let own = self.authority.certificate(&self.host)?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes())?)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
        Ok(ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(own.pem.as_bytes())?],
                PrivateKeyDer::from_pem_slice(own.key.as_bytes())?,
            )?)
    }

    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its authority's certificate, PEM.
    pub fn authority(&self) -> &str {
        &self.authority.pem
    }

    /// A certificate for a device that registers.
    pub fn enrol(&self, device: &str) -> Result<Certificate> {
        self.authority.certificate(device)
    }

    /// Connections so far, whatever came of them.
    pub fn connections(&self) -> usize {
        self.shared.heard().connections
    }

    pub fn told(&self) -> Vec<Told> {
        self.shared.heard().told.clone()
    }

    /// Waits until it was told so often.
    pub fn wait_for(&self, count: usize) -> Vec<Told> {
        self.wait(&format!("check-in {count}"), |heard| heard.told.len() >= count);
        self.told()
    }

    pub fn wait_for_connections(&self, count: usize) {
        self.wait(&format!("connection {count}"), |heard| heard.connections >= count);
    }

    fn wait(&self, what: &str, done: impl Fn(&Heard) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(&self.shared.heard()) {
            assert!(Instant::now() < until, "{what} did not come within {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.shared.heard().ended = true;
        self.shared.heard().held.clear();
        // Its own thread waits for one more.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn serve(&self, stream: TcpStream, config: Arc<ServerConfig>) -> Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let keep = stream.try_clone()?;
        let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut length = 0;
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse()?
                }
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let certificates = stream.get_ref().conn.peer_certificates().unwrap_or_default();
        let certificate = certificates.first().map(|first| first.to_vec()).unwrap_or_default();
        let body = serde_json::from_slice(&body)?;
        self.heard().told.push(Told { method, path, certificate, body });
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Answer(status) => {
                let body = if status < 300 { "" } else { "the manager says why\n" };
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.get_mut().write_all(head.as_bytes())?;
                stream.get_mut().flush()?;
                stream.get_mut().conn.send_close_notify();
                stream.get_mut().flush()?;
            }
            Mood::Silent => self.heard().held.push(keep),
            Mood::Drop => {}
        }
        Ok(())
    }
}
