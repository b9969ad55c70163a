//! Errors on the wire: a status and `{"failures": […]}`.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use reinstate_api::{Code, Failure, one_line};

/// A request that was not carried out.
pub struct Refused(Failure);

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::BadRequest | Code::PasswordRefused => StatusCode::BAD_REQUEST,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Busy | Code::LockHeld | Code::RegisteredOtherManager => StatusCode::CONFLICT,
            Code::TooManySessions => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(serde_json::json!({ "failures": [self.0] }))).into_response()
    }
}

pub fn bad_body(why: &str) -> Refused {
    Refused(Failure::new(Code::BadRequest, format!("the request's body is not understood: {why}")))
}

pub fn ended_early() -> Failure {
    Failure::new(Code::Internal, "the reading thread ended early")
}

pub fn unknown_peer() -> Refused {
    Refused(Failure::new(Code::Forbidden, "the kernel does not say which account is asking"))
}

pub async fn no_such_route(method: Method, uri: Uri) -> Refused {
    Refused(Failure::new(Code::NotFound, format!("there is no {method} {}", one_line(uri.path()))))
}
