//! The API: HTTP/JSON on a Unix socket. It parses and answers; the engine decides.

mod access;
mod appliance;
mod configure;
mod error;
mod files;
mod listen;
mod peer;
mod session;

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use reinstate_api::{
    Access, AnswerRequest, BackupEntry, ClearLock, Created, ExtractRequest, Extracted, Failure, HistoryEntry,
    ImportRequest, Manager, PublicKey, RestoreRequest, Started, Status, Texts, Version,
};
use serde::de::DeserializeOwned;
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::engine::{Engine, without_licence};

pub use access::Caller;
pub use error::Refused;
pub use listen::{Readiness, listen};
pub use peer::Peer;

/// The largest request: 64 KiB.
const MAX_BODY: usize = 64 << 10;

/// An event is sent at least this often, so that a watcher knows that the agent lives.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// At most five events a second.
const PACE: Duration = Duration::from_millis(200);

/// Answers until the future that it returns is dropped.
pub async fn serve(engine: Engine, listener: UnixListener) -> Result<(), Failure> {
    let service = router(engine).into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).await.map_err(|e| Failure::io("cannot take requests", &e))
}

fn router(engine: Engine) -> Router {
    let sessions = &engine.parts().profile.sessions;
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/events", get(events))
        .route("/v1/restore", post(restore))
        .route("/v1/rollback", post(rollback))
        .route("/v1/factory", post(factory))
        .route("/v1/answer", post(answer))
        .route("/v1/abort", post(abort))
        .route("/v1/confirm", post(confirm))
        .route("/v1/history", get(history))
        .route("/v1/backups", get(backups).post(create_backup))
        .route("/v1/backups/import", post(import))
        .route("/v1/backups/extract", post(extract))
        .route("/v1/version", get(version))
        .route("/v1/managers", get(managers))
        .route("/v1/lock/clear", post(clear_lock))
        .route("/v1/ha/resume", post(resume_ha))
        .route("/v1/tasks/acknowledge", post(acknowledge_tasks))
        .route("/v1/public-key", get(public_key))
        .route("/v1/texts", get(texts))
        .merge(appliance::routes())
        .merge(configure::routes())
        .merge(files::routes())
        .merge(session::routes(sessions))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_route)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(access::permitted_only))
        .with_state(engine)
}

type Answered<T> = Result<Json<T>, Refused>;

/// What reads or writes files keeps nobody else waiting.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| error::ended_early())?
}

/// A request's body, with errors like every other.
struct Parsed<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Parsed<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let bytes = Bytes::from_request(request, state).await.map_err(|e| error::bad_body(&e.body_text()))?;
        asked(&bytes).map(Parsed)
    }
}

/// What a request's body asks for.
///
/// # Errors
/// `bad-request`.
pub fn asked<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| error::bad_body(&error.to_string()))
}

async fn status(State(engine): State<Engine>, caller: Caller) -> Json<Status> {
    Json(shown(engine.status(), caller.access))
}

/// Licence keys are for those who may restore.
fn shown(status: Status, access: Access) -> Status {
    if access < Access::Config { without_licence(status) } else { status }
}

async fn restore(
    State(engine): State<Engine>,
    caller: Caller,
    Parsed(request): Parsed<RestoreRequest>,
) -> Answered<Started> {
    Ok(Json(Started { id: engine.restore(request, caller.name)? }))
}

async fn rollback(State(engine): State<Engine>, caller: Caller) -> Answered<Started> {
    Ok(Json(Started { id: engine.rollback(caller.name)? }))
}

async fn factory(State(engine): State<Engine>, caller: Caller) -> Answered<Started> {
    Ok(Json(Started { id: engine.factory(caller.name)? }))
}

async fn confirm(State(engine): State<Engine>, caller: Caller) -> Answered<serde_json::Value> {
    engine.confirm(&caller.name)?;
    Ok(Json(serde_json::json!({})))
}

async fn answer(
    State(engine): State<Engine>,
    caller: Caller,
    Parsed(request): Parsed<AnswerRequest>,
) -> Answered<serde_json::Value> {
    tracing::info!(by = %caller.name, question = request.question, "question answered");
    engine.answer(request)?;
    Ok(Json(serde_json::json!({})))
}

async fn abort(State(engine): State<Engine>, caller: Caller) -> Answered<serde_json::Value> {
    tracing::info!(by = %caller.name, "abort asked for");
    engine.abort()?;
    Ok(Json(serde_json::json!({})))
}

async fn history(State(engine): State<Engine>) -> Answered<Vec<HistoryEntry>> {
    Ok(Json(engine.parts().state.read()?.history))
}

async fn backups(State(engine): State<Engine>, caller: Caller) -> Answered<Vec<BackupEntry>> {
    let mut listed = blocking(move || engine.list_backups()).await?;
    if caller.access < Access::Config {
        listed
            .iter_mut()
            .filter_map(|entry| entry.details.as_mut())
            .for_each(|details| details.licence.clear());
    }
    Ok(Json(listed))
}

async fn create_backup(State(engine): State<Engine>) -> Answered<Created> {
    Ok(Json(engine.create_backup().await?))
}

async fn import(State(engine): State<Engine>, Parsed(request): Parsed<ImportRequest>) -> Answered<Created> {
    Ok(Json(engine.import(request.file).await?))
}

async fn extract(
    State(engine): State<Engine>,
    Parsed(request): Parsed<ExtractRequest>,
) -> Answered<Extracted> {
    Ok(Json(engine.extract(request).await?))
}

async fn version(State(engine): State<Engine>) -> Answered<Version> {
    let facts = engine.parts().platform.facts().await?;
    Ok(Json(Version {
        product: engine.parts().profile.product.clone(),
        hostname: facts.device.hostname,
        model: facts.hardware.model,
        uuid: facts.device.uuid,
        version: facts.software.version,
        build: facts.software.build,
        patch: facts.software.patch,
        hotfixes: facts.software.hotfixes,
        serial: facts.hardware.serial,
        management: facts.device.management,
        reinstate: env!("CARGO_PKG_VERSION").into(),
    }))
}

async fn managers(State(engine): State<Engine>) -> Answered<Vec<Manager>> {
    Ok(Json(engine.managers().await?))
}

async fn acknowledge_tasks(State(engine): State<Engine>, caller: Caller) -> Answered<serde_json::Value> {
    engine.acknowledge_tasks(caller.name)?;
    Ok(Json(serde_json::json!({})))
}

async fn clear_lock(
    State(engine): State<Engine>,
    caller: Caller,
    Parsed(request): Parsed<ClearLock>,
) -> Answered<serde_json::Value> {
    engine.clear_lock(request, caller.name).await?;
    Ok(Json(serde_json::json!({})))
}

async fn resume_ha(State(engine): State<Engine>) -> Answered<serde_json::Value> {
    engine.resume_ha().await?;
    Ok(Json(serde_json::json!({})))
}

async fn public_key(State(engine): State<Engine>) -> Answered<PublicKey> {
    Ok(Json(PublicKey { line: engine.device_key().await?.public_line() }))
}

async fn texts(State(engine): State<Engine>) -> Json<Texts> {
    let texts = &engine.parts().profile.texts;
    Json(Texts { caution: texts.caution.clone(), post_restore: texts.post_restore.clone() })
}

/// One status a line: the first at once, then whenever something changes, and a heartbeat.
async fn events(State(engine): State<Engine>, caller: Caller) -> Response {
    let mut changes = engine.watch();
    changes.mark_changed();
    let lines = stream::unfold((engine, changes), move |(engine, mut changes)| async move {
        match tokio::time::timeout(HEARTBEAT, changes.changed()).await {
            Ok(Err(_)) => return None,
            Ok(Ok(())) => tokio::time::sleep(PACE).await,
            Err(_) => {}
        }
        let line = line(&shown(engine.status(), caller.access), &mut changes)?;
        Some((Ok::<_, Infallible>(line), (engine, changes)))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

fn line(status: &Status, changes: &mut watch::Receiver<Status>) -> Option<Bytes> {
    changes.mark_unchanged();
    let mut text = serde_json::to_vec(status).ok()?;
    text.push(b'\n');
    Some(text.into())
}
