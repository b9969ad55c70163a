//! What a server sends by legacy SCP.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reinstate_agent::fetch::{Finished, Link, Options, Scp};
use reinstate_api::{Code, Failure};
use russh::keys::key::safe_rng;
use russh::keys::{Algorithm, PrivateKey, PublicKeyOrCertificate};
use russh::server::{Auth, Msg};
use russh::{Channel, ChannelId, MethodKind, MethodSet, client, server};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::refused;

/// Less than an input may announce.
const MAX_SIZE: u64 = 8 << 10;
const CODES: [Code; 4] =
    [Code::RemoteFile, Code::RemoteProtocol, Code::ArchiveTooLarge, Code::ConnectionLost];

/// Of one session: each leaves some KiB behind in it.
const MAX_CHANNELS: u32 = 1000;

/// Longer than anything here takes: a reading that has not ended by then does not end.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a server ends, in the first byte of an input; what it sends is the rest.
#[derive(Clone, Default)]
struct Script {
    sends: Vec<u8>,
    /// The largest piece.
    piece: usize,
    refuses: bool,
    complains: bool,
    exit: Option<u32>,
    eof: bool,
    /// The receiver goes after the first piece.
    leaves: bool,
}

impl Script {
    fn of(input: &[u8]) -> Option<Self> {
        let (how, sends) = input.split_first()?;
        let bit = |at: u8| how >> at & 1 == 1;
        Some(Self {
            sends: sends.to_vec(),
            piece: if bit(0) { 7 } else { usize::MAX },
            refuses: how % 64 == 62,
            complains: bit(1),
            exit: (!bit(2)).then_some(u32::from(bit(3))),
            eof: !bit(4),
            leaves: bit(5) && bit(6),
        })
    }

    /// The one file that is sent as the protocol has it.
    fn file(&self) -> Option<&[u8]> {
        let mut rest = &self.sends[..];
        let mut record = || -> Option<&[u8]> {
            let end = rest.iter().position(|&byte| byte == b'\n').filter(|end| *end <= 1024)?;
            let (line, after) = rest.split_at(end);
            rest = &after[1..];
            Some(line)
        };
        let mut first = record()?;
        if first.starts_with(b"T") {
            first = record()?;
        }
        let record = String::from_utf8_lossy(first.strip_prefix(b"C")?);
        let fields: Vec<_> = record.splitn(3, ' ').collect();
        let [mode, size, name] = fields[..] else { return None };
        let fits = |text: &str, digits: &[u8]| !text.is_empty() && text.bytes().all(|b| digits.contains(&b));
        if !fits(mode, b"01234567") || !fits(size, b"0123456789") || name.is_empty() {
            return None;
        }
        let size = size.parse().ok()?;
        let (file, after) = rest.split_at_checked(size)?;
        (after == [0] && self.exit == Some(0) && !self.refuses).then_some(file)
    }
}

/// A reading ends, with the one file that was announced or with a refusal; never with more bytes than that.
pub fn scp(input: &[u8]) {
    let Some(script) = Script::of(input) else { return };
    HERE.with_borrow_mut(|here| {
        if here.as_ref().is_none_or(|here| here.channels == MAX_CHANNELS) {
            *here = Some(Here::new());
        }
        let Some(here) = here else { return };
        here.channels += 1;
        *here.script.lock().unwrap_or_else(PoisonError::into_inner) = script.clone();
        let reading = async { timeout(PATIENCE, fetch(&here.session, script.leaves)).await };
        let (read, bytes) = here.runtime.block_on(reading).unwrap();
        assert!(bytes.len() as u64 <= MAX_SIZE);
        match read {
            Ok((_, Finished::Whole)) if script.leaves => {}
            Ok((size, Finished::Whole)) => {
                assert_eq!(bytes.len() as u64, size);
                assert_eq!(script.file(), Some(&bytes[..]));
            }
            Ok((size, Finished::Stopped)) => assert!(script.leaves && bytes.len() as u64 <= size),
            Err(failure) => {
                refused(&failure, &CODES);
                assert!(script.leaves || script.file().is_none_or(|file| file.len() as u64 > MAX_SIZE));
            }
        }
    });
}

async fn fetch(
    session: &client::Handle<Client>,
    leaves: bool,
) -> (Result<(u64, Finished), Failure>, Vec<u8>) {
    let channel = session.channel_open_session().await.unwrap();
    let options = Options { max_size: MAX_SIZE, stall_timeout: PATIENCE * 2, ..Options::default() };
    let scp = match Scp::open(channel, Link::new("server:22"), "/a.tar", &options).await {
        Ok(scp) => scp,
        Err(failure) => return (Err(failure), Vec::new()),
    };
    let size = scp.size();
    assert!(size <= MAX_SIZE);
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let take = async move {
        let mut bytes = Vec::new();
        while let Some(piece) = receiver.recv().await {
            bytes.extend_from_slice(&piece);
            assert!(bytes.len() as u64 <= size, "more than was announced");
            if leaves {
                break;
            }
        }
        bytes
    };
    let read = async move { scp.read("/a.tar", &sender).await };
    let (finished, bytes) = tokio::join!(read, take);
    (finished.map(|finished| (size, finished)), bytes)
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// A session in memory, which every input opens a channel of.
struct Here {
    runtime: Runtime,
    session: client::Handle<Client>,
    script: Arc<Mutex<Script>>,
    channels: u32,
}

impl Here {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let session = runtime.block_on(connect(Server { script: script.clone() }));
        Self { runtime, session, script, channels: 0 }
    }
}

/// Both ends of it.
async fn connect(server: Server) -> client::Handle<Client> {
    let config = server::Config {
        keys: vec![PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap()],
        methods: MethodSet::from(&[MethodKind::None][..]),
        inactivity_timeout: None,
        ..server::Config::default()
    };
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let session = server::run_stream(Arc::new(config), far, server).await.unwrap();
        let _ = session.await;
    });
    let mut session = client::connect_stream(Arc::default(), near, Client).await.unwrap();
    assert!(session.authenticate_none("user").await.unwrap().success());
    session
}

struct Client;

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

struct Server {
    script: Arc<Mutex<Script>>,
}

impl server::Handler for Server {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: server::ChannelOpenHandle,
        _: &mut server::Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _: &[u8],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        let script = self.script.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if script.refuses {
            session.channel_failure(id)?;
        } else {
            session.channel_success(id)?;
        }
        if script.complains {
            session.extended_data(id, 1, b"scp: \x1b[2J no such file\n".to_vec())?;
        }
        for piece in script.sends.chunks(script.piece) {
            session.data(id, piece.to_vec())?;
        }
        if let Some(status) = script.exit {
            session.exit_status_request(id, status)?;
        }
        if script.eof {
            session.eof(id)?;
        }
        session.close(id)
    }
}
