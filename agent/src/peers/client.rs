//! The client side: one session with another member.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reinstate_api::{Code, Failure, Lock, Secret, one_line};
use russh::client::{self, AuthResult, DisconnectReason};
use russh::keys::{PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tokio::time::timeout;

use super::door::Door;
use super::endpoint::is_key;
use super::identity::Identity;
use super::membership::{fingerprint, private, public};
use super::{IDENTITY, LOCK, MAX_IDENTITY, MAX_LOCK};
use crate::dial::dial_any;
use crate::lock;

/// For one address to take a connection, and for the keys to be exchanged.
const CONNECTING: Duration = Duration::from_secs(3);

/// For one request to be answered.
const ANSWERING: u64 = 5;

/// No connection outlives this silence.
const SILENCE: Duration = Duration::from_secs(20);

/// How often an unclear answer is asked for again.
const LOOKS: u32 = 3;

const READ: u32 = 32 << 10;

/// A session with a member that has shown its key.
pub struct Session {
    sftp: RawSftpSession,
    handle: client::Handle<Caller>,
    /// `fw-b at 192.0.2.2`
    at: String,
}

/// What came of an attempt to take a member's lock.
#[derive(Debug)]
pub enum Taken {
    Ours,
    /// Another restore holds it.
    Held(Lock),
    /// The member was not reached: it was not asked.
    Unasked(Failure),
}

impl Session {
    /// The first of the member's addresses that answers with the right key.
    ///
    /// # Errors
    /// What each address said, in one failure: `peer-unreachable`, `peer-mismatch` where something
    /// was reached that has another key, `authentication-failed` where the member does not take the group's.
    pub async fn open(door: &Door, port: u16, keys: &[Secret]) -> Result<Self, Failure> {
        let (mut tried, mut code) = (Vec::new(), Code::PeerUnreachable);
        for socket in door.sockets(port) {
            let at = format!("{} at {}", door.hostname, socket.ip());
            match Self::open_at(door, socket, &at, keys).await {
                Ok(session) => return Ok(session),
                Err(failure) => {
                    // The most that is known: it is the member, or another device is at its address.
                    code = match (code, failure.code) {
                        (_, Code::AuthenticationFailed) => Code::AuthenticationFailed,
                        (Code::PeerUnreachable, Code::HostKeyChanged) => Code::PeerMismatch,
                        (code, _) => code,
                    };
                    tried.push(failure.message);
                }
            }
        }
        if tried.is_empty() {
            tried.push("it has no address in the group's description".into());
        }
        let name = &door.hostname;
        let failure = Failure::new(code, format!("the member {name} does not answer: {}", tried.join("; ")));
        Err(failure.hint(
            "check the member, the link and the firewall between the two; `without-peer` goes on without it",
        ))
    }

    async fn open_at(
        door: &Door,
        socket: std::net::SocketAddr,
        at: &str,
        keys: &[Secret],
    ) -> Result<Self, Failure> {
        let (stream, _) = dial_any(&[socket], at, CONNECTING).await?;
        let _ = stream.set_nodelay(true);
        let pins = door.host_keys.iter().filter_map(|line| public(line)).collect();
        let shown = Arc::new(Mutex::new(None));
        let caller = Caller { pins, shown: shown.clone() };
        let config = client::Config { inactivity_timeout: Some(SILENCE), ..client::Config::default() };
        let connected = timeout(CONNECTING, client::connect_stream(Arc::new(config), stream, caller)).await;
        let mut handle = match connected {
            Err(_) => return Err(silent(at)),
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => {
                let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(match shown {
                    Some(shown) => Failure::new(
                        Code::HostKeyChanged,
                        format!("{at} shows the host key {shown}, expected is {}", expected(door)),
                    ),
                    None => broken(at, error),
                });
            }
        };
        for key in keys {
            let key = PrivateKeyWithHashAlg::new(Arc::new(private("the group's key", key)?), None);
            let answered = timeout(CONNECTING, handle.authenticate_publickey("reinstate", key)).await;
            match answered.map_err(|_| silent(at))?.map_err(|error| broken(at, error))? {
                AuthResult::Success => return Self::begin(handle, at).await,
                AuthResult::Failure { .. } => {}
            }
        }
        Err(Failure::new(Code::AuthenticationFailed, format!("{at} does not take this group's key")))
    }

    async fn begin(handle: client::Handle<Caller>, at: &str) -> Result<Self, Failure> {
        let begun = async {
            let channel = handle.channel_open_session().await?;
            channel.request_subsystem(true, "sftp").await?;
            Ok::<_, russh::Error>(RawSftpSession::new(channel.into_stream()))
        };
        let sftp = timeout(CONNECTING, begun).await.map_err(|_| silent(at))?.map_err(|e| broken(at, e))?;
        sftp.set_timeout(ANSWERING);
        sftp.init().await.map_err(|error| strange(at, &error))?;
        Ok(Self { sftp, handle, at: at.to_owned() })
    }

    /// What the member says of itself.
    pub async fn identity(&self) -> Result<Identity, Failure> {
        let bytes = self.read(IDENTITY, MAX_IDENTITY).await?;
        let nothing = || Failure::new(Code::PeerProtocol, format!("{} has no identity", self.at));
        Identity::parse(&bytes.ok_or_else(nothing)?, &self.at)
    }

    /// Who holds the member's lock.
    pub async fn lock(&self) -> Result<Option<Lock>, Failure> {
        let bytes = self.read(LOCK, MAX_LOCK).await?;
        bytes.map(|bytes| lock::parse(&bytes, &format!("the restore lock of {}", self.at))).transpose()
    }

    /// Creates the lock where there is none; otherwise answers with the one that is there.
    ///
    /// # Errors
    /// Whatever leaves it unclear whether the lock was taken.
    pub async fn create(&self, lock: &Lock) -> Result<Option<Lock>, Failure> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        match self.write(flags, lock).await {
            Ok(()) => Ok(None),
            // Whatever the reason was: who holds it is what counts.
            Err(error) => match self.lock().await? {
                Some(there) if there.id == lock.id => Ok(None),
                Some(there) => Ok(Some(there)),
                None => Err(strange(&self.at, &error)),
            },
        }
    }

    /// Says in which phase the holder is.
    ///
    /// # Errors
    /// `lock-lost` where the lock is gone or another restore's.
    pub async fn update(&self, lock: &Lock) -> Result<(), Failure> {
        match self.write(OpenFlags::WRITE, lock).await {
            Ok(()) => Ok(()),
            Err(error) => match self.lock().await? {
                Some(there) if there == *lock => Ok(()),
                Some(there) if there.id == lock.id => Err(strange(&self.at, &error)),
                there => Err(lock::lost(lock.id, &self.at, there.as_ref())),
            },
        }
    }

    /// Takes the lock away where it is this restore's; one that is not there any more, or another
    /// restore's, is left alone.
    pub async fn release(&self, restore: uuid::Uuid) -> Result<(), Failure> {
        let Some(there) = self.lock().await?.filter(|there| there.id == restore) else { return Ok(()) };
        // Having written it is what allows a session to take it away.
        match self.update(&there).await {
            Err(failure) if failure.code == Code::LockLost => return Ok(()),
            other => other?,
        }
        match self.sftp.remove(LOCK).await {
            Ok(_) => Ok(()),
            Err(error) => match self.lock().await? {
                Some(there) if there.id == restore => Err(strange(&self.at, &error)),
                _ => Ok(()),
            },
        }
    }

    /// The protocol itself: for whoever wants to say what a member would not.
    pub fn sftp(&self) -> &RawSftpSession {
        &self.sftp
    }

    /// Says goodbye, as far as the member still listens.
    pub async fn close(self) {
        let bye = self.handle.disconnect(russh::Disconnect::ByApplication, "", "");
        let _ = timeout(Duration::from_secs(1), bye).await;
    }

    async fn write(&self, flags: OpenFlags, lock: &Lock) -> Result<(), SftpError> {
        let bytes = lock::bytes(lock).map_err(|failure| SftpError::UnexpectedBehavior(failure.message))?;
        let handle = self.sftp.open(LOCK, flags, FileAttributes::empty()).await?.handle;
        self.sftp.write(&handle, 0, bytes).await?;
        self.sftp.close(&handle).await.map(drop)
    }

    async fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, Failure> {
        let cannot = |error: SftpError| strange(&self.at, &error);
        let handle = match self.sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await {
            Ok(handle) => handle.handle,
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => {
                return Ok(None);
            }
            Err(error) => return Err(cannot(error)),
        };
        let mut content = Vec::new();
        loop {
            match self.sftp.read(&handle, content.len() as u64, READ).await {
                Ok(data) if content.len() + data.data.len() > most || data.data.is_empty() => {
                    let why = format!("{}: {path} has more than {most} bytes, or none", self.at);
                    return Err(Failure::new(Code::PeerProtocol, why));
                }
                Ok(data) => content.extend_from_slice(&data.data),
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(cannot(error)),
            }
        }
        let _ = self.sftp.close(&handle).await;
        Ok(Some(content))
    }
}

/// Takes a member's lock. After an unclear answer the lock is looked at: the restore's own id is success.
///
/// # Errors
/// `peer-unreachable` where it stays unclear: the lock may be taken.
pub async fn take(door: &Door, port: u16, keys: &[Secret], lock: &Lock) -> Result<Taken, Failure> {
    let mut unclear = None;
    for look in 0..LOOKS {
        let session = match Session::open(door, port, keys).await {
            Ok(session) => session,
            Err(failure) if look == 0 => return Ok(Taken::Unasked(failure)),
            Err(failure) => {
                unclear = Some(failure);
                continue;
            }
        };
        match session.create(lock).await {
            Ok(there) => {
                session.close().await;
                return Ok(there.map_or(Taken::Ours, Taken::Held));
            }
            Err(failure) => unclear = Some(failure),
        }
    }
    let name = &door.hostname;
    Err(unclear.unwrap_or_else(|| Failure::new(Code::PeerUnreachable, format!("{name} does not answer"))))
}

fn expected(door: &Door) -> String {
    let pins: Vec<_> =
        door.host_keys.iter().filter_map(|line| public(line)).map(|key| fingerprint(&key)).collect();
    if pins.is_empty() { "none that can be read".into() } else { pins.join(" or ") }
}

fn silent(at: &str) -> Failure {
    Failure::new(
        Code::Stalled,
        format!("{at} took the connection and said nothing for {} s", CONNECTING.as_secs()),
    )
}

fn broken(at: &str, error: russh::Error) -> Failure {
    Failure::new(
        Code::ConnectionLost,
        format!("the connection to {at} broke off: {}", one_line(&error.to_string())),
    )
}

fn strange(at: &str, error: &SftpError) -> Failure {
    let code = match error {
        SftpError::Status(_) | SftpError::UnexpectedPacket | SftpError::Limited(_) => Code::PeerProtocol,
        _ => Code::PeerUnreachable,
    };
    let said: String = one_line(&error.to_string()).chars().take(300).collect();
    Failure::new(code, format!("{at}: {said}"))
}

/// Takes only a key that is pinned.
struct Caller {
    pins: Vec<PublicKey>,
    /// The fingerprint of one that is not.
    shown: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Caller {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let shown = key.public_key();
        let known = key.certificate().is_none() && self.pins.iter().any(|pin| is_key(&shown, pin));
        if !known {
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint(&shown));
        }
        Ok(known)
    }

    async fn disconnected(&mut self, _: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        Ok(())
    }
}
