//! Routes that change the configuration, and those of stored configurations.

use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use reinstate_api::{
    Configuration, ConfigureRequest, DomainChange, Expert, ExpertEntry, ExpertRequest, PasswordCheck,
    RenameRequest, Setup, Started,
};

use super::access::Caller;
use super::{Answered, Parsed, blocking};
use crate::engine::Engine;

pub(super) fn routes() -> Router<Engine> {
    Router::new()
        .route("/v1/configure", post(configure))
        .route("/v1/password/check", post(check_password))
        .route("/v1/setup", get(setup))
        .route("/v1/manager", delete(delete_manager))
        .route("/v1/configurations", get(configurations))
        .route("/v1/configurations/{which}", delete(delete_configuration))
        .route("/v1/configurations/{which}/activate", post(activate))
        .route("/v1/configurations/{which}/rename", post(rename))
        .route("/v1/configurations/{which}/diff", get(changes))
        .route("/v1/expert", post(expert))
        .route("/v1/expert/allow", post(allow_expert))
}

async fn configure(
    State(engine): State<Engine>,
    caller: Caller,
    Parsed(request): Parsed<ConfigureRequest>,
) -> Answered<Started> {
    Ok(Json(Started { id: engine.configure(request, caller.name, caller.access).await? }))
}

async fn check_password(
    State(engine): State<Engine>,
    caller: Caller,
    Parsed(asked): Parsed<PasswordCheck>,
) -> Answered<serde_json::Value> {
    engine.check_password(&asked, &caller.name)?;
    Ok(Json(serde_json::json!({})))
}

async fn setup(State(engine): State<Engine>) -> Answered<Setup> {
    Ok(Json(engine.setup().await?))
}

async fn delete_manager(State(engine): State<Engine>, caller: Caller) -> Answered<Started> {
    Ok(Json(Started { id: engine.delete_manager(caller.name)? }))
}

async fn configurations(State(engine): State<Engine>) -> Answered<Vec<Configuration>> {
    Ok(Json(blocking(move || engine.configurations()).await?))
}

async fn activate(
    State(engine): State<Engine>,
    caller: Caller,
    Path(which): Path<String>,
) -> Answered<Started> {
    Ok(Json(Started { id: blocking(move || engine.activate_configuration(&which, caller.name)).await? }))
}

async fn changes(State(engine): State<Engine>, Path(which): Path<String>) -> Answered<Vec<DomainChange>> {
    Ok(Json(engine.configuration_changes(&which).await?))
}

async fn delete_configuration(
    State(engine): State<Engine>,
    caller: Caller,
    Path(which): Path<String>,
) -> Answered<serde_json::Value> {
    blocking(move || engine.delete_configuration(&which, &caller.name)).await?;
    Ok(Json(serde_json::json!({})))
}

async fn rename(
    State(engine): State<Engine>,
    caller: Caller,
    Path(which): Path<String>,
    Parsed(request): Parsed<RenameRequest>,
) -> Answered<serde_json::Value> {
    blocking(move || engine.rename_configuration(&which, &request.to, &caller.name)).await?;
    Ok(Json(serde_json::json!({})))
}

async fn expert(
    State(engine): State<Engine>,
    caller: Caller,
    Parsed(entry): Parsed<ExpertEntry>,
) -> Answered<Expert> {
    Ok(Json(engine.expert(entry, &caller.name)?))
}

async fn allow_expert(
    State(engine): State<Engine>,
    caller: Caller,
    Parsed(request): Parsed<ExpertRequest>,
) -> Answered<serde_json::Value> {
    engine.allow_expert(request.allowed, &caller.name)?;
    Ok(Json(serde_json::json!({})))
}
