//! What is known of a connection by its own task and by those who wait on it: banners, the host key's
//! judgement, and why it ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reinstate_api::{Code, Failure, one_line};
use russh::Channel;
use russh::client::{self, ChannelOpenHandle, DisconnectReason, Msg};
use russh::keys::PublicKeyOrCertificate;

use super::host_key::{Judge, Judgement};

/// More banner text than this is a flood.
const MAX_BANNERS: usize = 16;
const MAX_BANNER_BYTES: usize = 16 << 10;

/// What the connection's own task and those who wait on it both know.
#[derive(Clone)]
pub struct Link {
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
    pub fn new(server: &str) -> Self {
        Self { server: server.to_owned(), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was said of the host key, once.
    pub(super) fn judgement(&self) -> Option<Judgement> {
        self.state().judgement.take()
    }

    /// Lines of banners that were not shown yet.
    pub fn banners(&self) -> Vec<String> {
        std::mem::take(&mut self.state().banners)
    }

    /// What the server said when it closed the connection, quoted.
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
    pub fn into_failure(self, server: &str) -> Failure {
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
    pub link: Link,
    pub judge: Arc<Judge>,
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
