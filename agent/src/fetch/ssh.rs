//! One SSH connection: the name resolved, every address tried, the host key judged, the windows
//! chosen; and why it ended, for whoever waits on it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reinstate_api::{Code, Failure, one_line};
use russh::client::{self, ChannelOpenHandle, DisconnectReason, Handle, Msg};
use russh::keys::PublicKey;
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, Disconnect, Preferred, cipher, compression};
use tokio::io::BufReader;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::Options;
use super::host_key::{Judge, Judgement};

/// More banner text than this is a flood.
const MAX_BANNERS: usize = 16;
const MAX_BANNER_BYTES: usize = 16 << 10;
/// No connection outlives this silence, not even one whose owner was dropped in a key exchange.
const SILENCE: Duration = Duration::from_secs(20 * 60);

/// The addresses of a host, in the resolver's order.
pub(super) async fn resolve(host: &str, port: u16, options: &Options) -> Result<Vec<SocketAddr>, Failure> {
    let unresolved = |why: String| {
        Failure::new(Code::NameUnresolved, format!("the name {host} does not resolve: {why}"))
            .hint("check the name and the DNS servers, or give the address")
    };
    match timeout(options.connect_timeout, lookup_host((host, port))).await {
        Ok(Ok(found)) => {
            let addresses: Vec<SocketAddr> = found.collect();
            if addresses.is_empty() { Err(unresolved("no address".to_owned())) } else { Ok(addresses) }
        }
        Ok(Err(error)) => Err(unresolved(error.to_string())),
        Err(_) => Err(unresolved(format!("no answer in {} s", options.connect_timeout.as_secs()))),
    }
}

/// An SSH connection whose host key was accepted.
pub(super) struct Session {
    pub handle: Handle<Client>,
    pub link: Link,
    /// Bytes that may be under way to us.
    pub window: u32,
}

/// What came of dialling: a connection, or a host key that needs a decision.
pub(super) enum Dialled {
    Connected(Session, Judgement),
    HostKey(Judgement),
    /// The server has no host key of the algorithms that were asked for.
    NoSuchHostKey,
}

/// Connects to the first address that answers and exchanges keys.
pub(super) async fn dial(
    addresses: &[SocketAddr],
    server: &str,
    judge: &Arc<Judge>,
    tried: &[PublicKey],
    options: &Options,
) -> Result<Dialled, Failure> {
    let (stream, round_trip) = reach(addresses, server, options).await?;
    // Without Nagle's delay: requests are small and answers are waited for.
    stream
        .set_nodelay(true)
        .map_err(|e| Failure::io(format_args!("cannot set up the connection to {server}"), &e))?;
    let link = Link { server: server.to_owned(), state: Arc::default() };
    let client = Client { link: link.clone(), judge: judge.clone() };
    let window = window(round_trip);
    let config = Arc::new(config(judge, tried, window, options));
    // Two reads of the socket for each packet become one for several.
    let stream = BufReader::with_capacity(128 << 10, stream);
    let connected = timeout(options.connect_timeout, client::connect_stream(config, stream, client)).await;
    let judgement = link.state().judgement.take();
    match (connected, judgement) {
        (Ok(Ok(handle)), Some(judgement)) => {
            Ok(Dialled::Connected(Session { handle, link, window }, judgement))
        }
        (_, Some(Judgement::Refused(failure))) => Err(failure),
        (Ok(Err(Broken::Ssh(russh::Error::UnknownKey))), Some(judgement)) => Ok(Dialled::HostKey(judgement)),
        (Ok(Err(Broken::Ssh(russh::Error::NoCommonAlgo { kind: russh::AlgorithmKind::Key, .. }))), _)
            if !tried.is_empty() =>
        {
            Ok(Dialled::NoSuchHostKey)
        }
        (Ok(Err(broken)), _) => Err(broken.into_failure(server)),
        (Ok(Ok(_)), None) => Err(Failure::new(Code::RemoteProtocol, format!("{server} showed no host key"))),
        (Err(_), _) => Err(link.stalled(options.connect_timeout)),
    }
}

async fn reach(
    addresses: &[SocketAddr],
    server: &str,
    options: &Options,
) -> Result<(TcpStream, Duration), Failure> {
    let mut errors: Vec<String> = Vec::new();
    for address in addresses {
        let begun = Instant::now();
        let why = match timeout(options.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, begun.elapsed())),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer in {} s", options.connect_timeout.as_secs()),
        };
        errors.push(format!("{}: {why}", address.ip()));
    }
    Err(Failure::new(Code::HostUnreachable, format!("{server} cannot be reached ({})", errors.join("; ")))
        .hint("check the address, the port, the route and what filters between the two"))
}

fn config(judge: &Judge, tried: &[PublicKey], window: u32, options: &Options) -> client::Config {
    let mut config = client::Config {
        preferred: Preferred {
            key: Cow::Owned(judge.algorithms(tried)),
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::AES_128_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
                cipher::AES_192_CTR,
                cipher::AES_128_CTR,
            ]),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        window_size: window,
        // The largest packet that every server may send.
        maximum_packet_size: 32 << 10,
        // A whole window fits, so that the session never waits for us while keys are exchanged.
        channel_buffer_size: (window >> 15) as usize * 5 / 4 + 16,
        inactivity_timeout: Some(SILENCE),
        ..client::Config::default()
    };
    if let Some(limit) = options.rekey_read_limit {
        config.limits.rekey_read_limit = limit;
    }
    config
}

/// Bytes that may be under way: what a fast network needs for one round trip, without the memory for
/// it where the server is near.
fn window(round_trip: Duration) -> u32 {
    if round_trip < Duration::from_millis(5) { 1 << 20 } else { 8 << 20 }
}

impl Session {
    pub async fn channel(&self, options: &Options) -> Result<Channel<Msg>, Failure> {
        match timeout(options.connect_timeout, self.handle.channel_open_session()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => Err(Failure::new(
                Code::RemoteProtocol,
                format!("{} opens no session channel: {reason:?}", self.link.server),
            )),
            Ok(Err(_)) => Err(self.link.lost()),
            Err(_) => Err(self.link.stalled(options.connect_timeout)),
        }
    }

    /// Says goodbye, as far as the server still listens.
    pub async fn close(self) {
        let goodbye = self.handle.disconnect(Disconnect::ByApplication, "", "");
        let _ = timeout(Duration::from_secs(1), goodbye).await;
    }
}

/// What the connection's own task and those who wait on it both know.
#[derive(Clone)]
pub(super) struct Link {
    /// `host:port`, for messages.
    pub server: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    judgement: Option<Judgement>,
    banners: Vec<String>,
    banner_bytes: usize,
    banner_count: usize,
    ended: Option<Failure>,
    /// What the server said when it closed the connection, quoted.
    farewell: Option<String>,
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn banners(&self) -> Vec<String> {
        std::mem::take(&mut self.state().banners)
    }

    pub fn farewell(&self) -> Option<String> {
        self.state().farewell.clone()
    }

    /// The connection is gone: why, as far as it is known.
    pub fn lost(&self) -> Failure {
        self.state().ended.clone().unwrap_or_else(|| broken_off(&self.server, "closed without a word"))
    }

    pub fn stalled(&self, limit: Duration) -> Failure {
        let seconds = limit.as_secs_f32();
        Failure::new(Code::Stalled, format!("{} sent nothing of use for {seconds} s", self.server))
            .hint("check the network and the load of the server, then try again")
    }

    /// The server broke the protocol; `how` completes the sentence that begins with its name.
    pub fn wrong(&self, how: impl std::fmt::Display) -> Failure {
        Failure::new(Code::RemoteProtocol, format!("{} {how}", self.server))
            .hint("check that this is the right server, and its SSH software")
    }
}

fn broken_off(server: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::ConnectionLost, format!("the connection to {server} broke off: {why}"))
        .hint("try again; what was received so far is kept where the server lets us go on")
}

/// At most `max` characters of a server's text, safe to show.
pub(super) fn excerpt(text: &str, max: usize) -> String {
    let text = text.trim();
    let mut line = one_line(&text.chars().take(max).collect::<String>());
    if text.chars().nth(max).is_some() {
        line.push('…');
    }
    line
}

/// Like [`excerpt`], between quotes.
pub(super) fn quote(text: &str, max: usize) -> String {
    format!("\"{}\"", excerpt(text, max))
}

/// Why the session's task ended.
#[derive(Debug)]
pub(super) enum Broken {
    Ssh(russh::Error),
    Refused(Failure),
}

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Self {
        Broken::Ssh(error)
    }
}

impl Broken {
    fn into_failure(self, server: &str) -> Failure {
        use russh::Error;
        let error = match self {
            Broken::Refused(failure) => return failure,
            Broken::Ssh(error) => error,
        };
        match error {
            Error::IO(error) => broken_off(server, error),
            Error::Disconnect | Error::HUP | Error::SendError | Error::RecvError => {
                broken_off(server, "closed by the server")
            }
            Error::KeepaliveTimeout | Error::InactivityTimeout | Error::ConnectionTimeout => {
                broken_off(server, "silent for too long")
            }
            Error::Version => Failure::new(Code::RemoteProtocol, format!("{server} is not an SSH server"))
                .hint("check the address and the port"),
            Error::NoCommonAlgo { kind, theirs, .. } => Failure::new(
                Code::RemoteProtocol,
                format!(
                    "{server} has none of our {kind:?} algorithms; it has {}",
                    excerpt(&theirs.join(", "), 400)
                ),
            )
            .hint("update the server's SSH software"),
            other => Failure::new(
                Code::RemoteProtocol,
                format!("{server} broke the SSH protocol: {}", excerpt(&other.to_string(), 200)),
            )
            .hint("check that this is the right server, and its SSH software"),
        }
    }
}

/// Hears what the server says outside of channels.
pub(super) struct Client {
    link: Link,
    judge: Arc<Judge>,
}

impl client::Handler for Client {
    type Error = Broken;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        let judgement = match shown.certificate() {
            Some(_) => Judgement::Refused(self.link.wrong("showed a certificate, which was not asked for")),
            None => self.judge.judge(&shown.public_key()),
        };
        let accepted = judgement.accepts();
        self.link.state().judgement = Some(judgement);
        Ok(accepted)
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), Broken> {
        let mut state = self.link.state();
        state.banner_bytes += banner.len();
        state.banner_count += 1;
        if state.banner_bytes > MAX_BANNER_BYTES || state.banner_count > MAX_BANNERS {
            drop(state);
            let limits = format!("{MAX_BANNERS} banners or {MAX_BANNER_BYTES} bytes of them");
            return Err(Broken::Refused(self.link.wrong(format_args!("sent more than {limits}"))));
        }
        let lines = banner.lines().filter(|line| !line.trim().is_empty());
        state.banners.extend(lines.take(MAX_BANNERS).map(|line| excerpt(line, 200)));
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Broken>) -> Result<(), Broken> {
        let server = &self.link.server;
        let (failure, farewell) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let words = quote(&info.message, 200);
                (broken_off(server, format_args!("the server says {words}")), Some(words))
            }
            DisconnectReason::Error(broken) => (broken.into_failure(server), None),
        };
        let mut state = self.link.state();
        state.ended = Some(failure);
        state.farewell = farewell;
        Ok(())
    }

    // We asked for no channel towards us, so none is let in: dropping the handle refuses it.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Broken> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Broken> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Broken> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Broken> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Broken> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Broken> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Broken> {
        Ok(())
    }
}
