//! One attempt.

use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use reinstate_api::{Code, Failure};

use super::credentials::unusable;
use super::{Answer, Report, Telling};
use crate::https::{Fault, Reply, Server};

/// What one attempt may take, from the name to the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells the manager.
///
/// # Errors
/// `manager-credentials` where what is here cannot be used or is not accepted, `manager-untrusted`
/// where the manager shows another authority's certificate; those of a connection.
pub async fn tell(Telling { credentials, report }: &Telling) -> Result<Answer, Failure> {
    let manager = Server { what: "the manager", host: &credentials.host, port: credentials.port };
    let own = (credentials.certificate.as_str(), &credentials.key);
    let tls = manager.tls(&credentials.ca, Some(own)).map_err(failure)?;
    let request = request(&credentials.path, report)?;
    manager.ask(Some(tls), request, PATIENCE).await.map(answer).map_err(failure)
}

fn request(path: &str, report: &Report) -> Result<Request<Full<Bytes>>, Failure> {
    let internal = |e: String| Failure::new(Code::Internal, format!("the check-in cannot be written: {e}"));
    let body = serde_json::to_vec(report).map_err(|e| internal(e.to_string()))?;
    Request::put(path)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| internal(e.to_string()))
}

fn answer(reply: Reply) -> Answer {
    let text = reply.line(&String::from_utf8_lossy(&reply.body));
    Answer { status: reply.status.as_u16(), text }
}

fn failure(fault: Fault) -> Failure {
    match fault {
        Fault::Unusable(why) | Fault::Unaccepted(why) => unusable(why),
        Fault::Untrusted(why) => Failure::new(Code::ManagerUntrusted, why)
            .hint("check this appliance's clock and the manager's authority in the configuration; it is tried again"),
        Fault::Failed(why) => match why.code {
            Code::ConnectionLost => why.hint("it is tried again"),
            Code::Stalled => why.hint("it is tried again; nothing waits for it"),
            _ => why,
        },
    }
}
