//! Pairs of virtual interfaces with one end in another network. They are asked of the kernel itself: `ip`
//! looks for another network below /proc, which a confined process does not have.

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::unistd::Pid;

// linux/rtnetlink.h, linux/if_link.h, linux/veth.h
const NEW_LINK: u16 = 16;
const REQUEST_ACK_EXCLUSIVE_CREATE: u16 = 0x1 | 0x4 | 0x200 | 0x400;
const NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const NETWORK_OF: u16 = 19;
const KIND: u16 = 1;
const DATA: u16 = 2;
const PEER: u16 = 1;
const ERROR: u16 = 2;

/// Length, type and the rest of a message's header.
const HEADER: usize = 16;

/// An interface's own header: nothing is known of it but its attributes.
const INTERFACE: [u8; 16] = [0; 16];

/// An interface of this name here, joined to one of the same name in the network of that thread.
pub(super) fn pair(name: &str, other: Pid) -> io::Result<()> {
    let named = attribute(NAME, &[name.as_bytes(), &[0]].concat());
    let there = attribute(NETWORK_OF, &other.as_raw().to_ne_bytes());
    let peer = attribute(PEER, &[&INTERFACE[..], &named, &there].concat());
    let info = attribute(LINK_INFO, &[attribute(KIND, b"veth"), attribute(DATA, &peer)].concat());
    ask(NEW_LINK, &[&INTERFACE[..], &named, &info].concat())
}

/// Length and type, the value, and zeros up to the next multiple of four.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn ask(kind: u16, body: &[u8]) -> io::Result<()> {
    let length = (HEADER + body.len()) as u32;
    let flags = REQUEST_ACK_EXCLUSIVE_CREATE;
    let header = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8]].concat();
    let route = SockProtocol::NetlinkRoute;
    let kernel = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, route)?;
    send(kernel.as_raw_fd(), &[header, body.to_vec()].concat(), MsgFlags::empty())?;
    let mut answer = [0; 4096];
    let length = recv(kernel.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is none");
    let field = |at: usize| answer[..length].get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let (kind, code) = (field(4).ok_or_else(strange)?, field(HEADER).ok_or_else(strange)?);
    match (u32::from_ne_bytes(kind) as u16, i32::from_ne_bytes(code)) {
        (ERROR, 0) => Ok(()),
        (ERROR, code) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(strange()),
    }
}
