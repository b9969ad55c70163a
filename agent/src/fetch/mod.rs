//! Reading one file from an SSH server: by SFTP, or by legacy SCP where the server has no SFTP.
//!
//! [`connect`] resolves, connects, judges the host key before anything about the user is sent, and logs
//! in; [`Connection::open`] finds the file; [`RemoteFile::read`] sends its bytes. Whatever a server does
//! ends in the bytes that were asked for or in one [`Failure`].

mod auth;
mod device_key;
mod host_key;
mod input;
pub(crate) mod known_hosts;
mod link;
mod scp;
mod sftp;
mod ssh;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reinstate_api::{Code, Failure, HostKey, Location, Secret, one_line};
use russh::keys::PublicKey;
use tokio::sync::mpsc::Sender;

pub use device_key::DeviceKey;
pub use known_hosts::{Trust, trusted_hosts};
pub use link::Link;
pub use scp::Scp;

use auth::{Answers, Login};
use host_key::{Given, Judge, Judgement, describe};
use link::{excerpt, quote};
use sftp::{Open, Sftp};
use ssh::{Dialled, Session, dial, resolve};

/// Asks whoever watches.
pub trait Ask: Send + Sync {
    /// Is this the key of that host? A yes is remembered.
    fn host_key(&self, key: HostKey) -> BoxFuture<'_, Result<bool, Failure>>;
    /// What the server asks for; `prompt` is safe to show.
    fn prompt(&self, prompt: String, echo: bool) -> BoxFuture<'_, Result<Secret, Failure>>;
    /// One line for whoever watches, safe to show.
    fn note(&self, note: String);
}

/// Limits; the defaults serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// For each step of connecting and logging in that waits for the network or the server.
    pub connect_timeout: Duration,
    /// The longest time without a byte that was asked for.
    pub stall_timeout: Duration,
    /// A larger file is refused, in bytes.
    pub max_size: u64,
    /// Received bytes after which keys are exchanged anew, at most 1 GiB, which is also the default.
    pub rekey_read_limit: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            max_size: 1 << 40,
            rekey_read_limit: None,
        }
    }
}

/// A connection to a server on which we are logged in.
pub struct Connection {
    session: Session,
    path: String,
    options: Options,
}

/// Connects and logs in.
///
/// Fails with `NameUnresolved`, `HostUnreachable`, `HostKeyUnknown`, `HostKeyChanged`,
/// `AuthenticationFailed`, `ConnectionLost`, `Stalled`, `RemoteProtocol`, with `BadRequest` where a part
/// of `location` cannot be right, or with what `ask` fails with.
pub async fn connect(
    location: &Location,
    trust: &Trust,
    key: &DeviceKey,
    ask: &dyn Ask,
    options: &Options,
) -> Result<Connection, Failure> {
    check(location)?;
    let given = location.fingerprint.as_deref().map(Given::parse).transpose()?;
    let typed = location.fingerprint.as_deref().unwrap_or_default();
    let host = known_hosts::host_name(&location.host, location.port);
    let judge = || -> Result<Arc<Judge>, Failure> {
        Ok(Arc::new(Judge { host: host.clone(), known: trust.look_up(&host)?, given: given.clone() }))
    };
    let mut judged = judge()?;
    for place in &judged.known.authorities {
        ask.note(one_line(&format!("{place} names a certificate authority for {host}, which is not used")));
    }
    let server = if location.host.contains(':') {
        format!("[{}]:{}", location.host, location.port)
    } else {
        format!("{}:{}", location.host, location.port)
    };
    let addresses = resolve(&location.host, location.port, options).await?;
    let accept = |key: &PublicKey| -> Result<(), Failure> {
        trust.remember(&host, key)?;
        ask.note(format!("the host key {} of {host} is accepted and kept", describe(&host, key).sha256));
        Ok(())
    };
    let mut answers = Answers::new(ask);
    let mut seen = Vec::new();
    // Each turn is a connection. While a person thinks there is none, or it may break off.
    loop {
        let dialled = dial(&addresses, &server, &judged, &seen, options).await.map_err(|failure| {
            if failure.code == Code::HostKeyChanged && !seen.is_empty() {
                judged.not_the_given(typed, &seen)
            } else {
                failure
            }
        })?;
        let mut session = match dialled {
            Dialled::Connected(session, Judgement::Given(key)) => {
                accept(&key)?;
                judged = judge()?;
                if matches!(given, Some(Given::Md5(_))) {
                    ask.note(format!("MD5 is weak: next time give {}", describe(&host, &key).sha256));
                }
                session
            }
            Dialled::Connected(session, _) => session,
            Dialled::HostKey(Judgement::Unknown(key)) => {
                let shown = describe(&host, &key);
                if !ask.host_key(shown.clone()).await? {
                    return Err(Failure::new(
                        Code::HostKeyUnknown,
                        format!("the host key {} ({}) of {host} was not accepted", shown.sha256, shown.algorithm),
                    )
                    .hint("nothing was sent to the server; compare the key with what the server's own console prints"));
                }
                accept(&key)?;
                judged = judge()?;
                continue;
            }
            Dialled::HostKey(Judgement::NotGiven(key)) => {
                seen.push(key);
                if judged.algorithms(&seen).is_empty() {
                    return Err(judged.not_the_given(typed, &seen));
                }
                continue;
            }
            Dialled::HostKey(_) | Dialled::NoSuchHostKey => {
                return Err(judged.not_the_given(typed, &seen));
            }
        };
        let login = Login {
            session: &mut session,
            user: &location.user,
            host: &location.host,
            answers: &mut answers,
            options,
        };
        match login.log_in(key).await {
            Ok(()) => {
                return Ok(Connection { session, path: path(&location.path), options: options.clone() });
            }
            Err(failure) if failure.code == Code::ConnectionLost && answers.again() => {
                ask.note(format!("{server} did not wait for the answer; connecting again"));
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// What nothing can be asked of the network with, or what a `known_hosts` line cannot hold.
fn check(location: &Location) -> Result<(), Failure> {
    let wrong = |what: &str, value: &str| {
        Err(Failure::new(Code::BadRequest, format!("not {what}: {}", quote(value, 100))))
    };
    let Location { host, user, path, .. } = location;
    let in_a_name = |c: u8| c.is_ascii_alphanumeric() || b"-._:%".contains(&c);
    if host.is_empty() || host.len() > 255 || !host.bytes().all(in_a_name) {
        return wrong("a host name or an address", host);
    }
    if user.is_empty() || user.len() > 255 || user.chars().any(char::is_control) {
        return wrong("a user name", user);
    }
    if path.is_empty() || path.len() > 4096 || path.contains('\0') {
        return wrong("a path on a server", path);
    }
    Ok(())
}

/// A path that does not begin with a slash starts at the login folder: so does one below `~`.
fn path(typed: &str) -> String {
    typed.strip_prefix("~/").filter(|rest| !rest.is_empty()).unwrap_or(typed).to_owned()
}

impl Connection {
    /// Finds the file and opens it. Fails with `RemoteFile` where it is none, with `ArchiveTooLarge`
    /// above [`Options::max_size`], and as [`connect`] does.
    pub async fn open(self, ask: &dyn Ask) -> Result<RemoteFile, Failure> {
        let Self { session, path, options } = self;
        let link = || session.link.clone();
        let channel = session.channel(&options).await?;
        if let Some(mut sftp) = Sftp::start(channel, link(), session.window, &options).await? {
            let open = sftp.open(&path, &options).await?;
            let (size, modified) = (open.size, open.modified);
            let transfer = Transfer::Sftp(sftp, open);
            return Ok(RemoteFile { size, modified, resumable: true, transfer, path, session });
        }
        ask.note(format!("{} has no SFTP; using legacy SCP", session.link.server));
        let channel = session.channel(&options).await?;
        let scp = Scp::open(channel, link(), &path, &options).await?;
        let size = scp.size();
        Ok(RemoteFile { size, modified: None, resumable: false, transfer: Transfer::Scp(scp), path, session })
    }
}

/// A file on a server, open.
pub struct RemoteFile {
    /// Bytes, when it was opened.
    pub size: u64,
    /// Seconds since 1970, where the server says so.
    pub modified: Option<i64>,
    /// May be read from another byte than the first.
    pub resumable: bool,
    transfer: Transfer,
    path: String,
    session: Session,
}

enum Transfer {
    Sftp(Sftp, Open),
    Scp(Scp),
}

/// How reading ended where nothing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Every byte was sent, and the server agrees that this was the file.
    Whole,
    /// Nobody takes the bytes any more.
    Stopped,
}

impl RemoteFile {
    /// Sends the bytes from `from` to the end at `out`, in order and in the pieces that the server sends, 64 KiB
    /// or less where it keeps to the rules. That
    /// `out` ends says nothing: only `Whole` says that they were all of them. A slow receiver slows
    /// the server down.
    pub async fn read(self, from: u64, out: Sender<Bytes>) -> Result<Finished, Failure> {
        let Self { size, resumable, transfer, path, session, .. } = self;
        if from > size || (from > 0 && !resumable) {
            let at_most = if resumable { size } else { 0 };
            return Err(remote_file(
                &path,
                format!("cannot be read from byte {from}: {at_most} is the last to begin at"),
            ));
        }
        let reading = async {
            match transfer {
                Transfer::Sftp(sftp, open) => sftp.read(&open, &path, from, &out).await,
                Transfer::Scp(scp) => scp.read(&path, &out).await,
            }
        };
        let finished = tokio::select! {
            biased;
            finished = reading => finished?,
            () = out.closed() => Finished::Stopped,
        };
        session.close().await;
        Ok(finished)
    }
}

fn remote_file(path: &str, what: impl std::fmt::Display) -> Failure {
    Failure::new(Code::RemoteFile, format!("{} {what}", excerpt(path, 400)))
        .hint("check the path and the user's rights on the server")
}

fn too_large(path: &str, size: u64, options: &Options) -> Failure {
    let max = options.max_size;
    Failure::new(
        Code::ArchiveTooLarge,
        format!("{} has {size} bytes; at most {max} are taken", excerpt(path, 400)),
    )
    .hint("check that this is the backup; raise the agent's limit if it is")
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_path_below_the_home_folder_starts_where_the_login_does() {
        for (typed, asked) in
            [("~/fw.tar", "fw.tar"), ("fw.tar", "fw.tar"), ("/a/fw.tar", "/a/fw.tar"), ("~/", "~/")]
        {
            assert_eq!(path(typed), asked);
        }
    }
}
