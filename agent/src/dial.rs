//! Connections to servers: each of a name's addresses gets its turn.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reinstate_api::{Code, Failure};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Connects to the first address that answers, and says how long that took.
///
/// # Errors
/// `host-unreachable` with what each address said; one that says nothing is given up after `limit`.
pub async fn dial_any(
    addresses: &[SocketAddr],
    server: &str,
    limit: Duration,
) -> Result<(TcpStream, Duration), Failure> {
    let mut errors: Vec<String> = Vec::new();
    for address in addresses {
        let begun = Instant::now();
        let why = match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, begun.elapsed())),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer in {} s", limit.as_secs()),
        };
        errors.push(format!("{}: {why}", address.ip()));
    }
    Err(Failure::new(Code::HostUnreachable, format!("{server} cannot be reached ({})", errors.join("; ")))
        .hint("check the address, the port, the route and what filters between the two"))
}
