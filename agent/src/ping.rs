//! One echo request, by a socket that takes no rights: the kernel lets the groups in `net.ipv4.ping_group_range` have one
//! for echoes alone.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use reinstate_api::{Code, Failure, PingRequest, Pinged, one_line};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// For the name to resolve, and for the answer to come.
const RESOLVING: Duration = Duration::from_secs(5);
const ANSWERING: Duration = Duration::from_secs(1);

/// So many at once: a name that nobody resolves holds a thread of the agent for longer than anybody waits for it.
static PLACES: Semaphore = Semaphore::const_new(4);

/// The longest name of a host.
const MAX_HOST: usize = 253;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_6: u8 = 128;
const ECHO_REPLY_6: u8 = 129;

/// Type, code, checksum, identifier, sequence.
const HEADER: usize = 8;

/// # Errors
/// `name-unresolved`; `busy`; `host-unreachable` where the kernel or a router says that nothing gets there. Silence is
/// no error.
pub async fn ping(request: &PingRequest) -> Result<Pinged, Failure> {
    let busy = || Failure::new(Code::Busy, "too many hosts are pinged at once").hint("try again in a moment");
    let place = timeout(RESOLVING, PLACES.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())?;
    let (ip, _place) = resolve(&request.host, place).await?;
    let unreachable = |e: io::Error| match e.kind() {
        io::ErrorKind::PermissionDenied => Failure::io(format_args!("cannot ping {ip}"), &e)
            .hint("net.ipv4.ping_group_range has to include the agent's group"),
        _ => Failure::new(Code::HostUnreachable, format!("{ip} cannot be reached: {e}"))
            .hint("check the address, the routes and the link"),
    };
    let time = echo(ip, request.sequence).await.map_err(unreachable)?;
    Ok(Pinged { address: ip.to_string(), time: time.map(|time| time.as_secs_f64() * 1000.0) })
}

/// The place is free again when the thread that looks has ended.
async fn resolve(
    host: &str,
    place: SemaphorePermit<'static>,
) -> Result<(IpAddr, SemaphorePermit<'static>), Failure> {
    let shown = || one_line(&host.chars().take(MAX_HOST).collect::<String>());
    if host.is_empty() || host.len() > MAX_HOST {
        let why = format!("'{}' is no host: 1 to {MAX_HOST} characters are expected", shown());
        return Err(Failure::new(Code::BadRequest, why));
    }
    let unresolved = |why: String| {
        Failure::new(Code::NameUnresolved, format!("the name {} does not resolve: {why}", shown()))
            .hint("check the name and the DNS servers, or give the address")
    };
    let name = host.to_owned();
    let looked = tokio::task::spawn_blocking(move || ((name.as_str(), 0).to_socket_addrs(), place));
    match timeout(RESOLVING, looked).await {
        Ok(Ok((Ok(mut found), place))) => {
            let ip = found.next().map(|at| at.ip()).ok_or_else(|| unresolved("no address".into()))?;
            Ok((ip, place))
        }
        Ok(Ok((Err(error), _))) => Err(unresolved(error.to_string())),
        Ok(Err(_)) => Err(unresolved("the looking thread ended early".into())),
        Err(_) => Err(unresolved(format!("no answer in {} s", RESOLVING.as_secs()))),
    }
}

/// How long the answer took; none where there was none in time.
async fn echo(ip: IpAddr, sequence: u16) -> io::Result<Option<Duration>> {
    // By what it carries an answer is known to be ours.
    let mark = *Uuid::new_v4().as_bytes();
    let packet = request(ip, sequence, &mark);
    let socket = open(ip)?;
    // From here on it hears of this address only.
    socket.connect(SocketAddr::new(ip, 0)).await?;
    let begun = Instant::now();
    socket.send(&packet).await?;
    let answer = async {
        let mut buffer = [0; 256];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if is_reply(ip, &buffer[..length], sequence, &mark) {
                return Ok(begun.elapsed());
            }
        }
    };
    timeout(ANSWERING, answer).await.ok().transpose()
}

/// Datagrams are sent and received as over UDP.
fn open(ip: IpAddr) -> io::Result<UdpSocket> {
    let (family, protocol) = match ip {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let opened = match socket(family, SockType::Datagram, flags, protocol) {
        // A sandbox of root's on a machine that gives nobody such sockets.
        Err(Errno::EACCES) => socket(family, SockType::Raw, flags, protocol).map_err(|_| Errno::EACCES),
        opened => opened,
    }?;
    UdpSocket::from_std(opened.into())
}

fn request(ip: IpAddr, sequence: u16, mark: &[u8; 16]) -> Vec<u8> {
    let kind = if ip.is_ipv4() { ECHO_REQUEST } else { ECHO_REQUEST_6 };
    // The kernel puts a number of its own in place of these for a socket without rights.
    let id = [mark[0], mark[1]];
    let mut packet = vec![kind, 0, 0, 0, id[0], id[1]];
    packet.extend(sequence.to_be_bytes());
    packet.extend(mark);
    // For IPv6 the kernel computes it, over addresses too.
    if ip.is_ipv4() {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// A raw socket gives the IPv4 header too, and every other message.
fn is_reply(ip: IpAddr, bytes: &[u8], sequence: u16, mark: &[u8; 16]) -> bool {
    let kind = if ip.is_ipv4() { ECHO_REPLY } else { ECHO_REPLY_6 };
    let header = match bytes.first() {
        Some(first) if ip.is_ipv4() && first >> 4 == 4 => usize::from(first & 0xf) * 4,
        _ => 0,
    };
    let Some(packet) = bytes.get(header..).filter(|packet| packet.len() == HEADER + mark.len()) else {
        return false;
    };
    packet[0] == kind && packet[6..8] == sequence.to_be_bytes() && packet[HEADER..] == *mark
}

/// The Internet checksum, RFC 1071.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    const MARK: [u8; 16] = *b"0123456789abcdef";

    fn reply(ip: IpAddr) -> Vec<u8> {
        let mut packet = request(ip, 7, &MARK);
        packet[0] = if ip.is_ipv4() { ECHO_REPLY } else { ECHO_REPLY_6 };
        packet
    }

    #[test]
    fn an_echo_request_sums_up_to_nothing() {
        assert_eq!(checksum(&request(V4, 7, &MARK)), 0);
        assert_eq!(checksum(&[0x45, 0, 0x1c]), !0x6100);
    }

    #[test]
    fn only_the_answer_to_this_request_counts() {
        for ip in [V4, V6] {
            let right = reply(ip);
            assert!(is_reply(ip, &right, 7, &MARK));
            assert!(!is_reply(ip, &request(ip, 7, &MARK), 7, &MARK), "what was sent");
            assert!(!is_reply(ip, &right, 8, &MARK), "another sequence");
            assert!(!is_reply(ip, &right, 7, b"fedcba9876543210"), "another's");
            for end in 0..right.len() {
                assert!(!is_reply(ip, &right[..end], 7, &MARK), "{end} bytes");
            }
        }
    }

    #[test]
    fn a_raw_sockets_header_is_passed_over() {
        let mut packet = vec![0x46; 24];
        packet.extend(reply(V4));
        assert!(is_reply(V4, &packet, 7, &MARK));
        assert!(!is_reply(V4, &[0x4f], 7, &MARK) && !is_reply(V4, &[], 7, &MARK));
    }
}
