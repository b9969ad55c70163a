//! Where requests come in, and what systemd hears of it.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use listenfd::ListenFd;
use reinstate_api::Failure;
use sd_notify::NotifyState;
use tokio::net::UnixListener;

/// The socket that systemd has opened, or one of our own where it has not.
pub fn listen(socket: &Path) -> Result<UnixListener, Failure> {
    let cannot = |e: std::io::Error| Failure::io(format_args!("cannot listen on {}", socket.display()), &e);
    if let Some(listener) = ListenFd::from_env().take_unix_listener(0).map_err(cannot)? {
        listener.set_nonblocking(true).map_err(cannot)?;
        return UnixListener::from_std(listener).map_err(cannot);
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(cannot)?;
    // Everybody may ask; who is answered is decided by the account.
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666)).map_err(cannot)?;
    Ok(listener)
}

/// That requests are answered, told to systemd where it has started us.
pub struct Readiness {
    /// Between two signs of life.
    every: Option<Duration>,
}

impl Readiness {
    pub fn tell() -> Self {
        notify(NotifyState::Ready);
        Self { every: sd_notify::watchdog_enabled().map(|limit| limit / 3) }
    }

    /// Tells again and again that the agent lives, as long as its runtime gets round to it.
    pub async fn keep(self) -> Infallible {
        let Some(every) = self.every else { return std::future::pending().await };
        loop {
            tokio::time::sleep(every).await;
            notify(NotifyState::Watchdog);
        }
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("systemd cannot be told: {error}");
    }
}
