//! HTTP as a client: one request to one server, over TLS with the authority that is named for it.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use reinstate_api::{Code, Failure, Secret, one_line};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::dial::dial_any;

/// What each of the server's addresses may take of an attempt.
const CONNECTING: Duration = Duration::from_secs(5);

/// What is read of an answer's body.
const MAX_BODY: usize = 16 << 10;

/// What of it is shown, in characters.
const SHOWN: usize = 200;

/// A server that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// For messages: `the manager`.
    pub what: &'a str,
    /// A name or an address, without brackets.
    pub host: &'a str,
    pub port: u16,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    /// Empty where it broke off, did not end in time or is over 16 KiB: the status is the answer.
    pub body: Bytes,
}

/// Why there is no answer. Each is a sentence for people.
#[derive(Debug)]
pub enum Fault {
    /// What is configured for the server cannot be used.
    Unusable(String),
    /// The server's certificate is not accepted.
    Untrusted(String),
    /// The server does not accept this client's certificate, or that it has none.
    Unaccepted(String),
    /// `name-unresolved`, `host-unreachable`, `connection-lost`, `remote-protocol`, `stalled` or `internal`.
    Failed(Failure),
}

impl Reply {
    /// One line for people: the status, and the beginning of what was said with it.
    pub fn line(&self, said: &str) -> String {
        let said: String = said.trim().chars().take(SHOWN).collect();
        one_line(&match said.as_str() {
            "" => self.status.to_string(),
            said => format!("{}: {said}", self.status),
        })
    }
}

impl Server<'_> {
    /// Host and port as a URL has them.
    pub fn at(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The authorities that the server's certificate may be of.
    pub fn authorities(&self, pem: &str) -> Result<RootCertStore, Fault> {
        let what = format!("{}'s authority", self.what);
        let mut roots = RootCertStore::empty();
        for authority in certificates(&what, pem)? {
            roots.add(authority).map_err(|e| unusable(&what, &e))?;
        }
        Ok(roots)
    }

    /// TLS with this server alone; `own` is this client's certificate and its key. PEM, all three.
    pub fn tls(&self, authority: &str, own: Option<(&str, &Secret)>) -> Result<ClientConfig, Fault> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| Fault::Failed(Failure::new(Code::Internal, format!("TLS cannot be set up: {e}"))))?
            .with_root_certificates(self.authorities(authority)?);
        let Some((certificate, key)) = own else {
            return Ok(builder.with_no_client_auth());
        };
        let certificate_for = format!("the certificate for {}", self.what);
        let chain = certificates(&certificate_for, certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
            .map_err(|e| unusable(&format!("the key for {}", self.what), &e))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| unusable(&format!("{certificate_for} with its key"), &e))
    }

    /// Asks once, in plain where there is no `tls`; redirects are not followed. `limit` is for all of it,
    /// from the name to the answer.
    pub async fn ask(
        &self,
        tls: Option<ClientConfig>,
        mut request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Reply, Fault> {
        let host = HeaderValue::try_from(self.at()).map_err(|_| self.no_host())?;
        request.headers_mut().insert(HOST, host);
        let agent = HeaderValue::from_static(concat!("reinstate/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let in_time = Deadline { until: Instant::now() + limit, limit };
        let Some(config) = tls else {
            let stream = in_time.keep(self, self.connect()).await?;
            return self.exchange(stream, request, in_time).await;
        };
        let name = ServerName::try_from(self.host.to_owned()).map_err(|_| self.no_host())?;
        let stream = in_time.keep(self, async {
            let connector = TlsConnector::from(Arc::new(config));
            connector.connect(name, self.connect().await?).await.map_err(|e| self.broken(&e))
        });
        self.exchange(stream.await?, request, in_time).await
    }

    async fn connect(&self) -> Result<TcpStream, Fault> {
        let addresses: Vec<_> = lookup_host((self.host, self.port))
            .await
            .map_err(|e| {
                let why = format!("the name {} does not resolve: {e}", self.host);
                let hint = format!("check {}'s name and the DNS servers", self.what);
                Fault::Failed(Failure::new(Code::NameUnresolved, why).hint(hint))
            })?
            .collect();
        let server = format!("{} {}", self.what, self.at());
        let (stream, _) = dial_any(&addresses, &server, CONNECTING).await.map_err(Fault::Failed)?;
        Ok(stream)
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        request: Request<Full<Bytes>>,
        in_time: Deadline,
    ) -> Result<Reply, Fault> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(&e))?;
        let answered = async {
            let response = async { sender.send_request(request).await.map_err(|e| self.broken(&e)) };
            let response = in_time.keep(self, response).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_BODY).collect();
            let body = timeout_at(in_time.until, body).await.ok().and_then(Result::ok);
            Ok(Reply { status, body: body.map(|body| body.to_bytes()).unwrap_or_default() })
        };
        tokio::pin!(connection, answered);
        tokio::select! {
            biased;
            reply = &mut answered => reply,
            // It has ended: what it brought is there.
            _ = &mut connection => answered.await,
        }
    }

    fn no_host(&self) -> Fault {
        Fault::Unusable(format!("{}'s host is '{}', no name and no address", self.what, self.host))
    }

    /// What broke the connection, with TLS's own reason where it was that.
    fn broken(&self, error: &(dyn StdError + 'static)) -> Fault {
        use rustls::Error::{AlertReceived, InvalidCertificate};
        let server = format!("{} {}", self.what, self.at());
        match tls_error(error) {
            Some(InvalidCertificate(why)) => {
                Fault::Untrusted(format!("{server} shows a certificate that is not accepted: {why}"))
            }
            Some(AlertReceived(alert)) => Fault::Unaccepted(format!(
                "{server} does not accept this appliance's certificate: alert {alert:?}"
            )),
            Some(other) => Fault::Failed(Failure::new(Code::RemoteProtocol, format!("{server}: {other}"))),
            None => {
                let why = format!("{server} ended the connection: {error}");
                Fault::Failed(Failure::new(Code::ConnectionLost, why))
            }
        }
    }
}

/// When an attempt has to have its answer.
#[derive(Clone, Copy)]
struct Deadline {
    until: Instant,
    limit: Duration,
}

impl Deadline {
    async fn keep<T>(
        self,
        server: &Server<'_>,
        step: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        timeout_at(self.until, step).await.unwrap_or_else(|_| {
            let (what, at, limit) = (server.what, server.at(), self.limit.as_secs());
            let silent = format!("{what} {at} did not answer within {limit} s");
            Err(Fault::Failed(Failure::new(Code::Stalled, silent)))
        })
    }
}

fn certificates(what: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(none) if none.is_empty() => Err(unusable(what, &"it holds no certificate")),
        Ok(some) => Ok(some),
        Err(e) => Err(unusable(what, &e)),
    }
}

fn unusable(what: &str, why: &dyn std::fmt::Display) -> Fault {
    Fault::Unusable(format!("{what} cannot be used: {why}"))
}

fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
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
