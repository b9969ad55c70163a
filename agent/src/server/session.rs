//! Sessions: an answer that lasts as long as the client does is one that is counted.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use reinstate_api::{Code, Failure, Session, one_line};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access::Caller;
use super::error::Refused;
use crate::engine::Engine;
use crate::facts;
use crate::profile::{Profile, Sessions};

/// Between two of them.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// What the profile's reading says once the first login is over.
const DONE: &str = "done";

pub(super) fn routes(sessions: &Sessions) -> Router<Engine> {
    let ssh = Arc::new(Semaphore::new(sessions.ssh));
    Router::new().route("/v1/session", get(session)).layer(Extension(ssh))
}

/// The session, then nothing until one of the two ends goes.
async fn session(
    State(engine): State<Engine>,
    caller: Caller,
    Extension(ssh): Extension<Arc<Semaphore>>,
    uri: Uri,
) -> Result<Response, Refused> {
    let profile = &engine.parts().profile;
    let (from, place) = match uri.query() {
        // The last way in is never full.
        Some("from=console") => ("console", None),
        Some("from=ssh") => {
            let place = ssh.try_acquire_owned();
            ("ssh", Some(place.map_err(|_| too_many(&caller, profile.sessions.ssh))?))
        }
        other => {
            let got = one_line(other.unwrap_or_default());
            let why = format!("'{got}' does not say where a session is from: from=console or from=ssh");
            return Err(Failure::new(Code::BadRequest, why).into());
        }
    };
    let session = Session {
        setup: needs_setup(&engine)?,
        user: caller.name,
        access: caller.access,
        idle: profile.sessions.idle,
        expert: engine.is_expert_allowed(),
    };
    let line = serde_json::to_string(&session)
        .map_err(|e| Failure::new(Code::Internal, format!("the session cannot be written: {e}")))?;
    let open = Open { user: session.user, from, _place: place };
    tracing::info!(by = %open.user, from, "session opened");
    let lines = stream::unfold((Some(line + "\n"), open), |(line, open)| async move {
        match line {
            Some(line) => Some((Ok::<_, Infallible>(Bytes::from(line)), (None, open))),
            // Whoever is gone without a word is noticed by writing.
            None => {
                tokio::time::sleep(SIGN_OF_LIFE).await;
                Some((Ok(Bytes::from_static(b"\n")), (None, open)))
            }
        }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// A session, over when it is dropped.
struct Open {
    user: String,
    from: &'static str,
    _place: Option<OwnedSemaphorePermit>,
}

impl Drop for Open {
    fn drop(&mut self) {
        tracing::info!(by = %self.user, from = self.from, "session ended");
    }
}

/// Whether the questions of the first login are still to be asked: never where the profile has none.
pub(super) fn needs_setup(engine: &Engine) -> Result<bool, Failure> {
    let Profile { setup: Some(setup), .. } = &engine.parts().profile else { return Ok(false) };
    let said = facts::read(&engine.parts().root, &setup.done)?;
    Ok(said.first().is_none_or(|said| said != DONE))
}

fn too_many(caller: &Caller, limit: usize) -> Failure {
    Failure::new(
        Code::TooManySessions,
        format!("{limit} SSH sessions are open, of at most {limit}: {} gets none", caller.name),
    )
    .hint("end one of them, or log in on the console")
}
