//! Questions to a link and the answers to them, on a packet socket.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use uuid::Uuid;

use super::{arp, neighbour};
use crate::link::{Link, Mac};

/// As RFC 5227 has it; between two of them is less, because somebody waits.
const PROBES: usize = 3;

/// After the last one. A proxy may take 0.8 s to answer.
const LAST: Duration = Duration::from_millis(1000);

/// The longest answer that is understood is 86 bytes.
const FRAME: usize = 256;

/// What the socket may keep while a link is busy: 4 MiB.
const BUFFER: usize = 4 << 20;

/// Whoever says of an address that he has it.
pub type Holders = BTreeMap<IpAddr, BTreeSet<Mac>>;

/// Asks for all of `targets` at once, three times, and listens for about three seconds.
///
/// # Errors
/// `EPERM` without the right to raw sockets, `ENETDOWN` where the link goes down.
pub fn ask(link: &Link, from: Mac, targets: &[IpAddr]) -> nix::Result<Holders> {
    let socket = open(link)?;
    let mut holders = Holders::new();
    for probe in 1..=PROBES {
        for target in targets {
            let frame = match target {
                IpAddr::V4(target) => arp::probe(from, *target),
                IpAddr::V6(target) => neighbour::solicitation(from, *target),
            };
            match send(socket.as_raw_fd(), &frame, MsgFlags::empty()) {
                // Not sent: the link is busy, and there are two more, or has lost its carrier this instant.
                Ok(_) | Err(Errno::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
        let pause = if probe < PROBES { between() } else { LAST };
        listen(&socket, Instant::now() + pause, targets, &mut holders)?;
    }
    Ok(holders)
}

/// 0.8 to 1.0 s, another time each time: two appliances that start at one instant do not stay in step.
fn between() -> Duration {
    let [random, ..] = Uuid::new_v4().into_bytes();
    Duration::from_millis(800 + u64::from(random) * 200 / 255)
}

fn open(link: &Link) -> nix::Result<OwnedFd> {
    let all = SockProtocol::EthAll;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, all)?;
    bind(socket.as_raw_fd(), &link.socket)?;
    // Without it a busy link may cost an answer, and there are two more.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER);
    // Until it was bound it heard every link.
    let mut frame = [0; FRAME];
    loop {
        match recv(socket.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(socket),
            Err(error) => return Err(error),
        }
    }
}

fn listen(socket: &OwnedFd, until: Instant, targets: &[IpAddr], holders: &mut Holders) -> nix::Result<()> {
    let mut frame = [0; FRAME];
    loop {
        let left = until.saturating_duration_since(Instant::now()).as_millis() as i64;
        if left == 0 {
            return Ok(());
        }
        setsockopt(socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(left))?;
        let length = match recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            Ok(length) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => return Err(error),
        };
        let frame = &frame[..length];
        let v4 = arp::holder(frame).map(|(ip, mac)| (IpAddr::V4(ip), mac));
        let holder = v4.or_else(|| neighbour::holder(frame).map(|(ip, mac)| (IpAddr::V6(ip), mac)));
        if let Some((ip, mac)) = holder.filter(|(ip, _)| targets.contains(ip)) {
            holders.entry(ip).or_default().insert(mac);
        }
    }
}
