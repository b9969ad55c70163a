//! What clients ask of the agent.

use std::path::{Component, Path};

use axum::body::to_bytes;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::FutureExt;
use reinstate_agent::configure::describe;
use reinstate_agent::{backups, server};
use reinstate_api::{
    AnswerRequest, ClearLock, Code, ConfigureRequest, ExtractRequest, Failure, ImportRequest, RenameRequest,
    RestoreRequest, Source,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::refused;

/// A body is refused as one that is not understood, or it is a request that says the same when it is written.
pub fn api(input: &[u8]) {
    if let Some(RestoreRequest { source: Source::Backup(file), .. }) = asked(input) {
        name(&file);
    }
    if let Some(ImportRequest { file: Some(file) }) = asked(input) {
        name(&file);
    }
    if let Some(ExtractRequest { bundle, .. }) = asked(input) {
        name(&bundle);
    }
    if let Some(request) = asked::<ConfigureRequest>(input) {
        let line = describe(&request.changes, request.setup);
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    asked::<RenameRequest>(input);
    asked::<AnswerRequest>(input);
    asked::<ClearLock>(input);
}

fn asked<T: Serialize + DeserializeOwned>(input: &[u8]) -> Option<T> {
    match server::asked::<T>(input) {
        Ok(request) => {
            let text = serde_json::to_vec(&request).unwrap();
            let again = server::asked::<T>(&text).unwrap_or_else(|_| panic!("it is not understood again"));
            assert_eq!(serde_json::to_vec(&again).unwrap(), text);
            Some(request)
        }
        Err(answer) => {
            #[derive(Deserialize)]
            struct Body {
                failures: Vec<Failure>,
            }
            let response = answer.into_response();
            assert_eq!(response.status(), StatusCode::BAD_REQUEST);
            let body = to_bytes(response.into_body(), usize::MAX).now_or_never().unwrap().unwrap();
            let Body { failures } = serde_json::from_slice(&body).unwrap();
            assert_eq!(failures.len(), 1);
            refused(&failures[0], &[Code::BadRequest]);
            None
        }
    }
}

/// A backup's name that is let through is a name in the backup folder.
fn name(file: &str) {
    match backups::check_name(file) {
        Ok(()) => {
            let parts: Vec<_> = Path::new(file).components().collect();
            assert!(matches!(parts[..], [Component::Normal(_)]), "{file:?}");
        }
        Err(failure) => refused(&failure, &[Code::BadRequest]),
    }
}
