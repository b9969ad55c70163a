//! One SSH connection: the name resolved, every address tried, the host key judged, the windows
//! chosen; and why it ended, for whoever waits on it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reinstate_api::{Code, Failure};
use russh::client::{self, Handle, Msg};
use russh::keys::PublicKey;
use russh::{Channel, Disconnect, Preferred, cipher, compression};
use tokio::io::BufReader;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::Options;
use super::host_key::{Judge, Judgement};
use super::link::{Broken, Client, Link};

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
    let (stream, round_trip) = crate::dial::dial_any(addresses, server, options.connect_timeout).await?;
    // Without Nagle's delay: requests are small and answers are waited for.
    stream
        .set_nodelay(true)
        .map_err(|e| Failure::io(format_args!("cannot set up the connection to {server}"), &e))?;
    let link = Link::new(server);
    let client = Client { link: link.clone(), judge: judge.clone() };
    let window = window(round_trip);
    let config = Arc::new(config(judge, tried, window, options));
    // Two reads of the socket for each packet become one for several.
    let stream = BufReader::with_capacity(128 << 10, stream);
    let connected = timeout(options.connect_timeout, client::connect_stream(config, stream, client)).await;
    let judgement = link.judgement();
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
        // A server that can sends more at a time than the 32 KiB that each can.
        maximum_packet_size: (64 << 10) - 1,
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
    if round_trip < Duration::from_millis(5) { 2 << 20 } else { 8 << 20 }
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
