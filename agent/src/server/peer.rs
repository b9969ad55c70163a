//! Who is at the other end of the socket.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use nix::unistd::{Uid, User};
use tokio::net::UnixListener;

/// The account of the process at the other end, as the kernel says.
#[derive(Clone, Debug)]
pub struct Peer {
    uid: Option<u32>,
}

impl Peer {
    /// None where the kernel does not say.
    pub fn uid(&self) -> Option<Uid> {
        self.uid.map(Uid::from_raw)
    }

    /// The account's name; its number where it has none.
    pub fn name(&self) -> String {
        let Some(uid) = self.uid else { return "unknown".into() };
        match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => reinstate_api::one_line(&user.name),
            _ => format!("uid {uid}"),
        }
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred();
        let peer = Self { uid: credentials.ok().map(|credentials| credentials.uid()) };
        tracing::debug!(?peer, "connected");
        peer
    }
}
