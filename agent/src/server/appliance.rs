//! What an admin asks about the appliance itself, and its power.

use axum::extract::State;
use axum::http::Uri;
use axum::routing::{get, post};
use axum::{Json, Router};
use reinstate_api::{
    Code, Created, Disk, Failure, InterfaceView, Log, Network, PingRequest, Pinged, Ssh, Time, UserView,
    one_line,
};

use super::access::Caller;
use super::{Answered, Parsed, error};
use crate::engine::Engine;
use crate::{clock, ping, tail, usage};

/// Lines of the log where nobody says how many.
const LINES: usize = 1000;

pub(super) fn routes() -> Router<Engine> {
    Router::new()
        .route("/v1/network", get(network))
        .route("/v1/interfaces", get(interfaces))
        .route("/v1/disk", get(disk))
        .route("/v1/users", get(users))
        .route("/v1/time", get(time))
        .route("/v1/ssh", get(ssh))
        .route("/v1/log", get(log))
        .route("/v1/ping", post(echo))
        .route("/v1/tech-support", post(tech_support))
        .route("/v1/reboot", post(reboot))
        .route("/v1/shutdown", post(shutdown))
}

async fn network(State(engine): State<Engine>) -> Answered<Network> {
    Ok(Json(engine.network().await?))
}

async fn interfaces(State(engine): State<Engine>) -> Answered<Vec<InterfaceView>> {
    Ok(Json(engine.interfaces().await?))
}

async fn disk(State(engine): State<Engine>) -> Answered<Disk> {
    let looked = tokio::task::spawn_blocking(move || {
        let parts = engine.parts();
        usage::read(&parts.root, parts.store.folder())
    });
    Ok(Json(looked.await.map_err(|_| error::ended_early())??))
}

async fn users(State(engine): State<Engine>) -> Answered<Vec<UserView>> {
    Ok(Json(engine.parts().platform.people().await?))
}

async fn time(State(engine): State<Engine>) -> Answered<Time> {
    Ok(Json(clock::read(&engine.parts().root)?))
}

async fn ssh(State(engine): State<Engine>) -> Answered<Ssh> {
    Ok(Json(engine.ssh()?))
}

async fn log(State(engine): State<Engine>, uri: Uri) -> Answered<Log> {
    let lines = match uri.query().map(|query| query.strip_prefix("lines=").ok_or(query)) {
        None => LINES,
        Some(Ok(count)) => tail::count(count)?,
        Some(Err(other)) => {
            let why = format!("'{}' is not understood: lines=N is", one_line(other));
            return Err(Failure::new(Code::BadRequest, why).into());
        }
    };
    Ok(Json(Log { lines: engine.parts().platform.log(lines).await? }))
}

async fn echo(Parsed(request): Parsed<PingRequest>) -> Answered<Pinged> {
    Ok(Json(ping::ping(&request).await?))
}

async fn tech_support(State(engine): State<Engine>, caller: Caller) -> Answered<Created> {
    Ok(Json(engine.tech_support(&caller.name).await?))
}

async fn reboot(State(engine): State<Engine>, caller: Caller) -> Answered<serde_json::Value> {
    engine.restart(&caller.name)?;
    Ok(Json(serde_json::json!({})))
}

async fn shutdown(State(engine): State<Engine>, caller: Caller) -> Answered<serde_json::Value> {
    engine.power_off(&caller.name)?;
    Ok(Json(serde_json::json!({})))
}
