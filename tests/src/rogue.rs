//! SSH servers that do as a test says: accept passwords, ask questions, and lie.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::key::safe_rng;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use russh::server::{Auth, Config, Handle, Handler, Msg, Response, Session, run_stream};
use russh::{Channel, ChannelId, ChannelStream, MethodKind, MethodSet, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What a client may do on a server, and what comes of it.
#[derive(Clone, Default)]
pub struct Script {
    /// Let every key in.
    pub any_key: bool,
    pub password: Option<String>,
    /// Questions of one round each, and the answer to each that is right.
    pub questions: Vec<(String, String)>,
    pub banner: Option<String>,
    /// What the `sftp` subsystem does; without, it is refused.
    pub sftp: Option<Sftp>,
    /// What a command does; without, it is refused.
    pub exec: Option<Vec<Step>>,
    /// Close the connection when a password comes that late after the connection.
    pub patience: Option<Duration>,
}

impl Script {
    fn methods(&self) -> MethodSet {
        let mut methods = MethodSet::from(&[MethodKind::PublicKey][..]);
        if !self.questions.is_empty() {
            methods.push(MethodKind::KeyboardInteractive);
        }
        if self.password.is_some() {
            methods.push(MethodKind::Password);
        }
        methods
    }

    /// The same methods are offered again, as OpenSSH does.
    fn reject(&self) -> Auth {
        Auth::Reject { proceed_with_methods: Some(self.methods()), partial_success: false }
    }
}

/// What a program on the server does, in order.
#[derive(Clone, Debug)]
pub enum Step {
    /// Wait for a byte of the client.
    Wait,
    Send(Vec<u8>),
    /// Write to the error output.
    Errors(Vec<u8>),
    /// Send the same bytes again and again, until the client goes.
    Flood(Vec<u8>),
    /// Do nothing more, but stay.
    Hang,
    Exit(u32),
}

/// An SFTP server over one file, and its trick.
#[derive(Clone)]
pub struct Sftp {
    pub file: Arc<[u8]>,
    pub trick: Trick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// A server that plays fair, and knows no limits extension.
    None,
    /// Says yes to the subsystem, then ends it.
    Closes,
    /// Writes text where packets are due.
    Text,
    /// Answers READ with so many bytes more than were asked for.
    More(u32),
    /// Answers READ with at most so many bytes.
    Short(u32),
    /// Answers READs in the wrong order.
    Reversed,
    /// Answers READ with no bytes.
    Empty,
    /// Answers with an id that nothing asked for.
    WrongId,
    /// Answers the same read twice.
    Twice,
    /// Announces a packet of so many bytes.
    Length(u32),
    /// Says that the file has so many bytes.
    Size(u64),
    /// Stops answering from that offset on.
    Hangs(u64),
    /// Says that the file is a folder, a named pipe: this mode.
    Mode(u32),
}

/// A running server; it ends when it is dropped.
pub struct Rogue {
    address: SocketAddr,
    key: PublicKey,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Rogue {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let private = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        let key = private.public_key().clone();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let methods = script.methods();
        let config = Arc::new(Config {
            keys: vec![private],
            methods,
            auth_rejection_time: Duration::ZERO,
            ..Config::default()
        });
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let visit = Visit {
                    script: script.clone(),
                    seen: shared.clone(),
                    since: tokio::time::Instant::now(),
                    rounds: 0,
                    channels: Vec::new(),
                };
                let config = config.clone();
                tokio::spawn(async move {
                    if let Ok(session) = run_stream(config, stream, visit).await {
                        let _ = session.await;
                    }
                });
            }
        });
        Self { address, key, seen, task }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn host_key(&self) -> &PublicKey {
        &self.key
    }

    /// `SHA256:…` of its host key.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// What clients did, in order: `key`, `password …`, `answer …`, `exec …`.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server that sends these bytes to everyone and then says nothing more.
pub async fn raw(bytes: &'static [u8]) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(bytes).await;
            open.push(stream);
        }
    });
    (address, task)
}

/// One connection.
struct Visit {
    script: Script,
    seen: Arc<Mutex<Vec<String>>>,
    since: tokio::time::Instant,
    rounds: usize,
    channels: Vec<Channel<Msg>>,
}

impl Visit {
    fn saw(&self, what: String) {
        self.seen.lock().unwrap().push(what);
    }

    fn late(&self) -> bool {
        self.script.patience.is_some_and(|patience| self.since.elapsed() > patience)
    }

    fn program(&mut self, id: ChannelId) -> Option<ChannelStream<Msg>> {
        let place = self.channels.iter().position(|channel| channel.id() == id)?;
        Some(self.channels.swap_remove(place).into_stream())
    }
}

impl Handler for Visit {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: server::VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        self.saw("key".to_owned());
        Ok(if self.script.any_key { Auth::Accept } else { self.script.reject() })
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        if self.late() {
            return Err(russh::Error::Disconnect);
        }
        self.saw(format!("password {password}"));
        let right = self.script.password.as_deref() == Some(password);
        Ok(if right { Auth::Accept } else { self.script.reject() })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        if let Some(mut response) = response {
            let answer = String::from_utf8_lossy(&response.next().unwrap_or_default()).into_owned();
            self.saw(format!("answer {answer}"));
            if self.script.questions.get(self.rounds).is_none_or(|(_, right)| *right != answer) {
                self.rounds = 0;
                return Ok(self.script.reject());
            }
            self.rounds += 1;
        } else {
            self.rounds = 0;
        }
        Ok(match self.script.questions.get(self.rounds) {
            None => Auth::Accept,
            Some((question, _)) => Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: vec![(question.clone().into(), false)].into(),
            },
        })
    }

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        Ok(self.script.banner.clone())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.push(channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match (self.script.sftp.clone(), self.program(id)) {
            (Some(sftp), Some(stream)) => {
                session.channel_success(id)?;
                let handle = session.handle();
                tokio::spawn(async move {
                    let _ = sftp.serve(stream).await;
                    let _ = handle.close(id).await;
                });
            }
            _ => session.channel_failure(id)?,
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.saw(format!("exec {}", String::from_utf8_lossy(line)));
        match (self.script.exec.clone(), self.program(id)) {
            (Some(steps), Some(stream)) => {
                session.channel_success(id)?;
                tokio::spawn(perform(steps, stream, session.handle(), id));
            }
            _ => session.channel_failure(id)?,
        }
        Ok(())
    }
}

async fn perform(steps: Vec<Step>, mut stream: ChannelStream<Msg>, handle: Handle, id: ChannelId) {
    let mut exit = None;
    for step in steps {
        let gone = match step {
            Step::Wait => stream.read_u8().await.is_err(),
            Step::Send(bytes) => stream.write_all(&bytes).await.is_err(),
            Step::Errors(bytes) => handle.extended_data(id, 1, bytes).await.is_err(),
            Step::Flood(bytes) => {
                while stream.write_all(&bytes).await.is_ok() {}
                true
            }
            Step::Hang => std::future::pending().await,
            Step::Exit(status) => {
                exit = Some(status);
                false
            }
        };
        if gone {
            return;
        }
    }
    let _ = stream.flush().await;
    if let Some(status) = exit {
        let _ = handle.exit_status_request(id, status).await;
    }
    let _ = handle.eof(id).await;
    let _ = handle.close(id).await;
}

impl Sftp {
    async fn serve(self, mut stream: ChannelStream<Msg>) -> std::io::Result<()> {
        let mut waiting: VecDeque<Vec<u8>> = VecDeque::new();
        match self.trick {
            Trick::Closes => return Ok(()),
            Trick::Text => stream.write_all(b"Welcome to the \x1b[2Jbackup server\n").await?,
            _ => {}
        }
        loop {
            let request = match tokio::time::timeout(Duration::from_millis(50), packet(&mut stream)).await {
                Ok(request) => request?,
                // Nothing more is asked: those that wait are answered, the last first.
                Err(_) => {
                    while let Some(answer) = waiting.pop_back() {
                        stream.write_all(&answer).await?;
                    }
                    packet(&mut stream).await?
                }
            };
            let (kind, id) = (request[0], &request[1..5]);
            let answer = match kind {
                1 => framed(&[&[2], &3u32.to_be_bytes()[..]].concat()),
                3 => framed(&[&[102], id, &string(b"h")].concat()),
                8 | 17 => framed(&[&[105], id, &self.attributes()].concat()),
                5 => self.read(id, &request[5..]),
                _ => continue,
            };
            let stops = kind == 5 && matches!(self.trick, Trick::Hangs(from) if offset(&request) >= from);
            if stops {
                continue;
            }
            if kind == 5 && self.trick == Trick::Reversed {
                waiting.push_back(answer);
                continue;
            }
            stream.write_all(&answer).await?;
            if kind == 5 && self.trick == Trick::Twice {
                stream.write_all(&answer).await?;
            }
        }
    }

    /// Size, mode and time.
    fn attributes(&self) -> Vec<u8> {
        let size = if let Trick::Size(size) = self.trick { size } else { self.file.len() as u64 };
        let mode = if let Trick::Mode(mode) = self.trick { mode } else { 0o100_644 };
        let mut attributes = (1u32 | 4 | 8).to_be_bytes().to_vec();
        attributes.extend_from_slice(&size.to_be_bytes());
        for value in [mode, 1_000_000_000, 1_234_567_890] {
            attributes.extend_from_slice(&value.to_be_bytes());
        }
        attributes
    }

    fn read(&self, id: &[u8], rest: &[u8]) -> Vec<u8> {
        let from = u64::from_be_bytes(rest[5..13].try_into().unwrap()) as usize;
        let length = u32::from_be_bytes(rest[13..17].try_into().unwrap()) as usize;
        let length = match self.trick {
            Trick::More(more) => length + more as usize,
            Trick::Short(most) => length.min(most as usize),
            Trick::Empty => 0,
            Trick::Length(bytes) => return [&bytes.to_be_bytes()[..], &[103], id].concat(),
            _ => length,
        };
        if from >= self.file.len() {
            return framed(&[&[101], id, &1u32.to_be_bytes()[..], &string(b"end"), &string(b"")].concat());
        }
        let mut data = self.file[from..self.file.len().min(from + length)].to_vec();
        if let Trick::More(_) = self.trick {
            data.resize(length, 0);
        }
        let id = if self.trick == Trick::WrongId { &[0xff, 0xff, 0, 0] } else { id };
        framed(&[&[103], id, &string(&data)].concat())
    }
}

fn offset(request: &[u8]) -> u64 {
    u64::from_be_bytes(request[10..18].try_into().unwrap())
}

async fn packet(stream: &mut ChannelStream<Msg>) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; stream.read_u32().await? as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    string(bytes)
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}
