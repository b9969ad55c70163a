//! The server side: SFTP on a port of its own, for those who have the group's key.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reinstate_api::Failure;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Membership;
use super::files::Files;
use crate::lock::LockFile;

/// Sessions at once, and of one address.
const MAX_SESSIONS: usize = 16;
const MAX_OF_ONE: usize = 6;

/// New sessions of one address within [`WINDOW`].
const MAX_NEW: usize = 120;
const WINDOW: Duration = Duration::from_secs(60);

/// Until the key is shown, between two requests, and in all.
const LOGIN: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(15);
const LONGEST: Duration = Duration::from_secs(60);

/// Until an interface that is not there is looked for again; an endpoint that has just ended may still have the port.
const FIRST: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_secs(2);

/// More than any request for these files needs.
const MAX_PACKET: u32 = 40 << 10;

/// What is served.
#[derive(Clone)]
pub struct Backend {
    pub lock: LockFile,
    /// The file `/identity`, as it is at this moment.
    pub identity: Arc<dyn Fn() -> Result<Vec<u8>, Failure> + Send + Sync>,
    /// Called after the lock was changed from outside.
    pub changed: Arc<dyn Fn() + Send + Sync>,
    /// The device UUIDs of the other members: only their restores may lock this one.
    pub members: Arc<Vec<String>>,
}

/// An endpoint that serves until this is dropped.
pub struct Serving {
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Serves on each of the interfaces (kernel names), whatever addresses they have, also later ones.
pub fn serve(
    membership: &Membership,
    interfaces: Vec<String>,
    port: u16,
    backend: Backend,
) -> Result<Serving, Failure> {
    let config = Config {
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_millis(200),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![membership.endpoint_key()?],
        max_auth_attempts: 3,
        inactivity_timeout: Some(IDLE),
        window_size: 256 << 10,
        nodelay: true,
        ..Config::default()
    };
    let shared = Arc::new(Shared {
        config: Arc::new(config),
        key: membership.group_key()?.public_key().clone(),
        backend,
        guests: Mutex::default(),
    });
    let listen = |interface| tokio::spawn(listen(interface, port, shared.clone()));
    Ok(Serving { tasks: interfaces.into_iter().map(listen).collect() })
}

pub(super) fn is_key(key: &PublicKey, of: &PublicKey) -> bool {
    key.key_data() == of.key_data()
}

struct Shared {
    config: Arc<Config>,
    key: PublicKey,
    backend: Backend,
    guests: Mutex<HashMap<IpAddr, Guest>>,
}

/// What one address has open, and when it came last.
#[derive(Default)]
struct Guest {
    open: usize,
    came: Vec<Instant>,
}

impl Shared {
    /// False where it is one too many.
    fn admit(&self, ip: IpAddr) -> bool {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        guests.retain(|_, guest| {
            guest.came.retain(|at| now.duration_since(*at) < WINDOW);
            guest.open > 0 || !guest.came.is_empty()
        });
        let all: usize = guests.values().map(|guest| guest.open).sum();
        let guest = guests.entry(ip).or_default();
        let fits = all < MAX_SESSIONS && guest.open < MAX_OF_ONE && guest.came.len() < MAX_NEW;
        if fits {
            guest.open += 1;
            guest.came.push(now);
        }
        fits
    }

    fn leave(&self, ip: IpAddr) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guest) = guests.get_mut(&ip) {
            guest.open -= 1;
        }
    }
}

/// Makes room again, however a session ends.
struct Leaving<'a>(&'a Shared, IpAddr);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

async fn listen(interface: String, port: u16, shared: Arc<Shared>) {
    let (mut said, mut pause) = (false, FIRST);
    loop {
        match bind(&interface, port) {
            Ok(listener) => {
                tracing::info!("members of the HA group are answered on {interface}, port {port}");
                (said, pause) = (false, FIRST);
                accept(listener, &shared).await;
            }
            Err(error) if !said => {
                tracing::warn!(
                    "members of the HA group cannot be answered on {interface}, port {port}: {error}"
                );
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}

/// Bound to the interface, not to an address: those may come and go.
fn bind(interface: &str, port: u16) -> io::Result<TcpListener> {
    let bound = |socket: TcpSocket, ip: IpAddr| {
        socket.set_reuseaddr(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.bind(SocketAddr::new(ip, port))?;
        socket.listen(MAX_SESSIONS as u32)
    };
    match TcpSocket::new_v6().and_then(|socket| bound(socket, Ipv6Addr::UNSPECIFIED.into())) {
        Ok(listener) => Ok(listener),
        // A kernel without IPv6.
        Err(_) => bound(TcpSocket::new_v4()?, Ipv4Addr::UNSPECIFIED.into()),
    }
}

async fn accept(listener: TcpListener, shared: &Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let ip = from.ip().to_canonical();
                if shared.admit(ip) {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        let _leaving = Leaving(&shared, ip);
                        session(&shared, stream, ip).await;
                    });
                } else {
                    tracing::warn!("{ip} has too many sessions with the endpoint for members");
                }
            }
            // Out of file descriptors, or the interface is gone.
            Err(error) => {
                tracing::warn!("the endpoint for members takes no connections: {error}");
                return;
            }
        }
    }
}

async fn session(shared: &Arc<Shared>, stream: TcpStream, ip: IpAddr) {
    let inside = Arc::new(AtomicBool::new(false));
    let guest = Visit { shared: shared.clone(), ip, inside: inside.clone(), channel: None, served: false };
    let begun = timeout(LOGIN, russh::server::run_stream(shared.config.clone(), stream, guest)).await;
    let Ok(Ok(session)) = begun else {
        tracing::debug!("{ip} came to the endpoint for members and does not speak SSH");
        return;
    };
    let handle = session.handle();
    let too_long = async {
        tokio::time::sleep(LOGIN).await;
        if inside.load(Ordering::Relaxed) {
            tokio::time::sleep(LONGEST).await;
        }
    };
    tokio::select! {
        ended = session => if let Err(error) = ended {
            tracing::debug!("{ip}, a session with the endpoint for members: {error}");
        },
        () = too_long => {
            tracing::warn!("{ip} took too long with the endpoint for members");
            let bye = handle.disconnect(russh::Disconnect::ByApplication, "too long".into(), String::new());
            let _ = timeout(Duration::from_secs(1), bye).await;
        }
    }
}

struct Visit {
    shared: Arc<Shared>,
    ip: IpAddr,
    inside: Arc<AtomicBool>,
    channel: Option<Channel<Msg>>,
    served: bool,
}

impl Handler for Visit {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        if is_key(key.public_key, &self.shared.key) {
            self.inside.store(true, Ordering::Relaxed);
            return Ok(Auth::Accept);
        }
        tracing::warn!("{} came to the endpoint for members with another key than the group's", self.ip);
        Ok(Auth::reject())
    }

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        key: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(if is_key(key.public_key, &self.shared.key) { Auth::Accept } else { Auth::reject() })
    }

    /// One channel, for SFTP.
    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.channel.is_none() && !self.served {
            self.channel = Some(channel);
            reply.accept().await;
        }
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.channel.take_if(|channel| name == "sftp" && channel.id() == id) {
            Some(channel) => {
                self.served = true;
                session.channel_success(id)?;
                let files = Files::new(self.shared.backend.clone(), self.ip);
                let config = russh_sftp::server::Config { max_client_packet_len: MAX_PACKET };
                russh_sftp::server::run_with_config(channel.into_stream(), files, config).await;
                Ok(())
            }
            None => session.channel_failure(id),
        }
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn channel_eof(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.close(id)
    }
}

/// The host key of an endpoint, as a group's description has it: `ssh-ed25519 AAAA…`.
pub fn host_key_line(key: &PrivateKey) -> String {
    let line = key.public_key().to_openssh().unwrap_or_default();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
