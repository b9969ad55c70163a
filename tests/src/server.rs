//! An SSH server on loopback that holds backups: SFTP, one folder, read-only. It needs neither
//! OpenSSH nor root.

use std::collections::HashMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use rand::distr::{Alphanumeric, SampleString};
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session};
use russh::{Channel, ChannelId};
use russh_sftp::protocol::{
    Attrs, Data, File as Named, FileAttributes, Handle, Name, OpenFlags, Status, StatusCode,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::Result;

/// Where the served folder is for a client.
pub const FOLDER: &str = "/backups";

pub const USER: &str = "backup";

/// A running server; it ends when it is dropped.
pub struct BackupServer {
    address: SocketAddr,
    password: String,
    fingerprint: String,
    sent: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BackupServer {
    /// Serves the files of `folder` on a free port of 127.0.0.1, with a host key and a password made
    /// for this server.
    pub fn start(folder: PathBuf) -> Result<Self> {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
        let fingerprint = key.public_key().fingerprint(HashAlg::Sha256).to_string();
        let password = Alphanumeric.sample_string(&mut rand::rng(), 16);
        let config = Arc::new(russh::server::Config {
            keys: vec![key],
            auth_rejection_time: std::time::Duration::from_millis(200),
            auth_rejection_time_initial: Some(std::time::Duration::ZERO),
            ..Default::default()
        });
        let sent = Arc::new(AtomicU64::new(0));
        let share = Share { folder: Arc::new(folder), password: password.clone(), sent: sent.clone() };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return;
                };
                tokio::select! {
                    () = accept(listener, config, share) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { address, password, fingerprint, sent, stop: Some(stop), thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// Of the host key, `SHA256:…`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Bytes of file content that clients were sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for BackupServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, config: Arc<russh::server::Config>, share: Share) {
    while let Ok((stream, _)) = listener.accept().await {
        let (config, share) = (config.clone(), share.clone());
        tokio::spawn(async move {
            let connection = Connection { share, channels: HashMap::new() };
            if let Ok(session) = russh::server::run_stream(config, stream, connection).await {
                let _ = session.await;
            }
        });
    }
}

#[derive(Clone)]
struct Share {
    folder: Arc<PathBuf>,
    password: String,
    sent: Arc<AtomicU64>,
}

struct Connection {
    share: Share,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> std::result::Result<Auth, Self::Error> {
        Ok(match user == USER && password == self.share.password {
            true => Auth::Accept,
            false => Auth::reject(),
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> std::result::Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> std::result::Result<(), Self::Error> {
        match (name, self.channels.remove(&id)) {
            ("sftp", Some(channel)) => {
                session.channel_success(id)?;
                let files = Files { share: self.share.clone(), open: HashMap::new(), next: 0 };
                russh_sftp::server::run(channel.into_stream(), files).await;
                Ok(())
            }
            _ => session.channel_failure(id),
        }
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> std::result::Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn channel_eof(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> std::result::Result<(), Self::Error> {
        session.close(id)
    }
}

enum Open {
    File(File),
    /// Entries that were not listed yet.
    Folder(Vec<Named>),
}

/// One SFTP session.
struct Files {
    share: Share,
    open: HashMap<String, Open>,
    next: u64,
}

/// More is not sent at once, whatever a client asks for.
const MAX_READ: u32 = 255 << 10;

type Reply<T> = std::result::Result<T, StatusCode>;

impl Files {
    /// A name directly in the folder; none is a link.
    fn find(&self, path: &str) -> Reply<PathBuf> {
        let name = path.strip_prefix(FOLDER).map_or(path, |rest| rest.trim_start_matches('/'));
        if matches!(name, "" | ".") {
            return Ok(self.share.folder.as_ref().clone());
        }
        if name.contains('/') || name == ".." {
            return Err(StatusCode::NoSuchFile);
        }
        let path = self.share.folder.join(name);
        match path.symlink_metadata() {
            Ok(meta) if meta.is_file() => Ok(path),
            _ => Err(StatusCode::NoSuchFile),
        }
    }

    fn attributes(&self, id: u32, path: &str) -> Reply<Attrs> {
        let meta = self.find(path)?.metadata().map_err(failed)?;
        Ok(Attrs { id, attrs: FileAttributes::from(&meta) })
    }

    fn keep(&mut self, id: u32, open: Open) -> Handle {
        self.next += 1;
        let handle = self.next.to_string();
        self.open.insert(handle.clone(), open);
        Handle { id, handle }
    }

    fn file(&self, handle: &str) -> Reply<&File> {
        match self.open.get(handle) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(StatusCode::Failure),
        }
    }
}

fn failed(_: std::io::Error) -> StatusCode {
    StatusCode::Failure
}

impl russh_sftp::server::Handler for Files {
    type Error = StatusCode;

    /// Whatever would change something is not there.
    fn unimplemented(&self) -> StatusCode {
        StatusCode::OpUnsupported
    }

    async fn realpath(&mut self, id: u32, path: String) -> Reply<Name> {
        let found = self.find(&path)?;
        let path = match found.file_name() {
            Some(name) if found != *self.share.folder => {
                format!("{FOLDER}/{}", name.to_string_lossy())
            }
            _ => FOLDER.to_owned(),
        };
        Ok(Name { id, files: vec![Named::dummy(path)] })
    }

    async fn stat(&mut self, id: u32, path: String) -> Reply<Attrs> {
        self.attributes(id, &path)
    }

    async fn lstat(&mut self, id: u32, path: String) -> Reply<Attrs> {
        self.attributes(id, &path)
    }

    async fn open(&mut self, id: u32, path: String, flags: OpenFlags, _: FileAttributes) -> Reply<Handle> {
        if flags.bits() != OpenFlags::READ.bits() {
            return Err(StatusCode::PermissionDenied);
        }
        let file = File::open(self.find(&path)?).map_err(failed)?;
        Ok(self.keep(id, Open::File(file)))
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Reply<Attrs> {
        let meta = self.file(&handle)?.metadata().map_err(failed)?;
        Ok(Attrs { id, attrs: FileAttributes::from(&meta) })
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Reply<Data> {
        let mut data = vec![0; len.min(MAX_READ) as usize];
        let count = self.file(&handle)?.read_at(&mut data, offset).map_err(failed)?;
        if count == 0 {
            return Err(StatusCode::Eof);
        }
        data.truncate(count);
        self.share.sent.fetch_add(count as u64, Ordering::Relaxed);
        Ok(Data { id, data })
    }

    async fn opendir(&mut self, id: u32, path: String) -> Reply<Handle> {
        let folder = self.find(&path)?;
        let mut files = Vec::new();
        for entry in folder.read_dir().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let meta = entry.metadata().map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push(Named::new(name, FileAttributes::from(&meta)));
        }
        Ok(self.keep(id, Open::Folder(files)))
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Reply<Name> {
        match self.open.get_mut(&handle) {
            Some(Open::Folder(files)) if files.is_empty() => Err(StatusCode::Eof),
            Some(Open::Folder(files)) => Ok(Name { id, files: std::mem::take(files) }),
            _ => Err(StatusCode::Failure),
        }
    }

    async fn close(&mut self, id: u32, handle: String) -> Reply<Status> {
        self.open.remove(&handle);
        Ok(Status {
            id,
            status_code: StatusCode::Ok,
            error_message: String::new(),
            language_tag: "en".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use russh::client;
    use russh::keys::PublicKeyOrCertificate;
    use russh_sftp::client::SftpSession;

    use super::*;

    /// Trusts the key with one fingerprint.
    struct Pinned(String);

    impl client::Handler for Pinned {
        type Error = russh::Error;

        async fn check_server_key(
            &mut self,
            key: &PublicKeyOrCertificate,
        ) -> std::result::Result<bool, Self::Error> {
            let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
                return Ok(false);
            };
            Ok(key.fingerprint(HashAlg::Sha256).to_string() == self.0)
        }
    }

    async fn connect(server: &BackupServer) -> client::Handle<Pinned> {
        let config = Arc::new(client::Config::default());
        let pinned = Pinned(server.fingerprint().to_owned());
        let connected = client::connect(config, server.address(), pinned).await;
        connected.unwrap()
    }

    fn content() -> Vec<u8> {
        (0..1_000_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect()
    }

    #[tokio::test]
    async fn a_backup_is_read_with_the_printed_password_and_fingerprint_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("fw.tar"), content()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let server = BackupServer::start(folder.path().to_owned()).unwrap();
        let mut session = connect(&server).await;
        for (user, password) in [(USER, "wrong"), ("root", server.password())] {
            let result = session.authenticate_password(user, password).await.unwrap();
            assert!(!result.success());
        }
        let mut session = connect(&server).await;
        let result = session.authenticate_password(USER, server.password()).await.unwrap();
        assert!(result.success());
        let channel = session.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        let sftp = SftpSession::new(channel.into_stream()).await.unwrap();

        assert_eq!(sftp.read("/backups/fw.tar").await.unwrap(), content());
        assert_eq!(server.sent(), 1_000_000);
        assert_eq!(sftp.canonicalize(".").await.unwrap(), FOLDER);
        let size = sftp.metadata("fw.tar").await.unwrap().size;
        assert_eq!(size, Some(1_000_000));
        for other in ["/etc/passwd", "/backups/../etc/passwd", "/backups/link", ".."] {
            assert!(sftp.read(other).await.is_err(), "{other}");
        }
        assert!(sftp.create("/backups/new").await.is_err());
        assert!(sftp.remove_file("/backups/fw.tar").await.is_err());
        assert!(folder.path().join("fw.tar").exists());
    }
}
