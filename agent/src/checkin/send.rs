//! One attempt.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use reinstate_api::{Code, Failure, one_line};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::credentials::unusable;
use super::{Answer, Credentials, Report, Telling};
use crate::dial::dial_any;

/// What one attempt may take, from the name to the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What each of the manager's addresses may take of it.
const CONNECTING: Duration = Duration::from_secs(5);

/// What is read of an answer's body, and what is shown of it.
const MAX_BODY: usize = 16 << 10;
const SHOWN: usize = 200;

/// Tells the manager.
///
/// # Errors
/// `manager-credentials` where what is here cannot be used or is not accepted, `manager-untrusted`
/// where the manager shows another authority's certificate; those of a connection.
pub async fn tell(Telling { credentials, report }: &Telling) -> Result<Answer, Failure> {
    let at = match credentials.host.contains(':') {
        true => format!("[{}]:{}", credentials.host, credentials.port),
        false => format!("{}:{}", credentials.host, credentials.port),
    };
    let attempt = async {
        let stream = connect(credentials, &at).await?;
        exchange(credentials, &at, stream, report).await
    };
    tokio::time::timeout(PATIENCE, attempt).await.unwrap_or_else(|_| {
        let silent = format!("the manager {at} did not answer within {} s", PATIENCE.as_secs());
        Err(Failure::new(Code::Stalled, silent).hint("it is tried again; nothing waits for it"))
    })
}

async fn connect(credentials: &Credentials, at: &str) -> Result<TlsStream<TcpStream>, Failure> {
    let config = config(credentials)?;
    let name = ServerName::try_from(credentials.host.clone()).map_err(|_| {
        unusable(format!("the manager's host is '{}', no name and no address", credentials.host))
    })?;
    let addresses: Vec<_> = lookup_host((credentials.host.as_str(), credentials.port))
        .await
        .map_err(|e| {
            Failure::new(Code::NameUnresolved, format!("the name {} does not resolve: {e}", credentials.host))
                .hint("check the manager's name and the DNS servers")
        })?
        .collect();
    let (stream, _) = dial_any(&addresses, &format!("the manager {at}"), CONNECTING).await?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| broken(at, &e))
}

fn config(credentials: &Credentials) -> Result<ClientConfig, Failure> {
    let bad = |what: &str, why: &dyn std::fmt::Display| unusable(format!("{what} cannot be used: {why}"));
    let certificates = |what: &str, pem: &str| {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        match read {
            Ok(none) if none.is_empty() => Err(bad(what, &"it holds no certificate")),
            Ok(some) => Ok(some),
            Err(e) => Err(bad(what, &e)),
        }
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates("the manager's authority", &credentials.ca)? {
        roots.add(authority).map_err(|e| bad("the manager's authority", &e))?;
    }
    let chain = certificates("the certificate for the manager", &credentials.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(credentials.key.expose().as_bytes())
        .map_err(|e| bad("the key for the manager", &e))?;
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Failure::new(Code::Internal, format!("TLS cannot be set up: {e}")))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|e| bad("the certificate for the manager with its key", &e))
}

async fn exchange(
    credentials: &Credentials,
    at: &str,
    stream: TlsStream<TcpStream>,
    report: &Report,
) -> Result<Answer, Failure> {
    let internal = |e: String| Failure::new(Code::Internal, format!("the check-in cannot be written: {e}"));
    let body = serde_json::to_vec(report).map_err(|e| internal(e.to_string()))?;
    let request = Request::put(&credentials.path)
        .header(HOST, at)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("reinstate/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| internal(e.to_string()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(at, &e))?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(|e| broken(at, &e))?;
        let status = response.status();
        // The status is the answer; a body that breaks off or is too large only is not shown.
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        Ok(answer(status, &body.map(|body| body.to_bytes()).unwrap_or_default()))
    };
    tokio::pin!(connection, answered);
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        // It has ended: what it brought is there.
        _ = &mut connection => answered.await,
    }
}

fn answer(status: StatusCode, body: &[u8]) -> Answer {
    let said = String::from_utf8_lossy(body);
    let said: String = said.trim().chars().take(SHOWN).collect();
    let text = match said.as_str() {
        "" => status.to_string(),
        said => format!("{status}: {said}"),
    };
    Answer { status: status.as_u16(), text: one_line(&text) }
}

/// What broke the connection, with TLS's own reason where it was that.
fn broken(at: &str, error: &(dyn StdError + 'static)) -> Failure {
    use rustls::Error::{AlertReceived, InvalidCertificate};
    match tls(error) {
        Some(InvalidCertificate(why)) => Failure::new(
            Code::ManagerUntrusted,
            format!("the manager {at} shows a certificate that is not accepted: {why}"),
        )
        .hint("check this appliance's clock and the manager's authority in the configuration; it is tried again"),
        Some(AlertReceived(alert)) => {
            unusable(format!("the manager {at} does not accept this appliance's certificate: alert {alert:?}"))
        }
        Some(other) => Failure::new(Code::RemoteProtocol, format!("the manager {at}: {other}")),
        None => Failure::new(Code::ConnectionLost, format!("the manager {at} ended the connection: {error}"))
            .hint("it is tried again"),
    }
}

fn tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = error.downcast_ref().or_else(|| inner?.downcast_ref());
        if tls.is_some() {
            return tls;
        }
        next = error.source();
    }
    None
}
