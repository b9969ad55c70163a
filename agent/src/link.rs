//! Links as the kernel has them: which interface is meant, its MAC address, and what it is up to.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::LinkAddr;
use reinstate_api::{Code, Failure, one_line};
use serde::{Deserialize, Serialize};

/// `ARPHRD_ETHER`
const ETHERNET: u16 = 1;

/// The kernel's limit for an interface's name, without the byte at its end.
const MAX_NAME: usize = 15;

/// An Ethernet address, written as `52:54:00:12:34:56`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let hex = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let byte = |part: &str| u8::from_str_radix(Some(part).filter(hex)?, 16).ok();
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        let mac = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        mac.map(Self).ok_or_else(|| bad(text, "a MAC address, 52:54:00:12:34:56"))
    }
}

impl TryFrom<String> for Mac {
    type Error = Failure;

    fn try_from(text: String) -> Result<Self, Failure> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// An address of an interface with the length of its subnet's prefix: `192.0.2.10/24`, `2001:db8::10/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    pub prefix: u8,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl FromStr for Address {
    type Err = Failure;

    /// # Errors
    /// `bad-request` also for an address that no interface can have: the unspecified one, multicast.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let parsed = text.split_once('/').and_then(|(ip, prefix)| {
            let (ip, prefix) = (ip.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?);
            let longest = if ip.is_ipv4() { 32 } else { 128 };
            (prefix <= longest && !ip.is_unspecified() && !ip.is_multicast()).then_some(Self { ip, prefix })
        });
        parsed.ok_or_else(|| bad(text, "an address with prefix length, 192.0.2.10/24"))
    }
}

fn bad(text: &str, wanted: &str) -> Failure {
    Failure::new(Code::BadRequest, format!("'{}' is not {wanted}", one_line(text)))
}

/// One interface, by the kernel's name and its MAC address: an interface of the same name on another machine is
/// another one. A sandbox describes interfaces that the machine it runs on does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    name: String,
    mac: Mac,
}

impl Card {
    /// # Errors
    /// `bad-request` where the kernel would take no interface of that name.
    pub fn new(name: &str, mac: &str) -> Result<Self, Failure> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let named = (1..=MAX_NAME).contains(&name.len()) && !name.starts_with(['-', '.']);
        match named && name.chars().all(fits) {
            true => Ok(Self { name: name.to_owned(), mac: mac.parse()? }),
            false => Err(bad(name, "the kernel's name of an interface, eth0")),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// As it is at this moment; none where this machine does not have it.
    pub fn look(&self) -> Result<Option<Link>, Failure> {
        let of_it: Vec<_> = all()?.into_iter().filter(|entry| entry.interface_name == self.name).collect();
        let Some((socket, flags)) = of_it.iter().find_map(|entry| Some((link(entry)?, entry.flags))) else {
            return Ok(None);
        };
        let addresses = of_it.iter().filter_map(address).collect();
        Ok((socket.addr() == Some(self.mac.0)).then_some(Link { socket, flags, addresses }))
    }
}

/// An interface that is there.
pub struct Link {
    /// To bind a packet socket to.
    pub socket: LinkAddr,
    flags: InterfaceFlags,
    pub addresses: Vec<Address>,
}

impl Link {
    pub fn is_ethernet(&self) -> bool {
        self.socket.hatype() == ETHERNET
    }

    /// It is up, and there is somebody at the other end of the cable.
    pub fn is_connected(&self) -> bool {
        self.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING)
    }
}

/// Those that an interface has, with prefix lengths.
pub fn addresses(kernel: &str) -> Result<Vec<String>, Failure> {
    let here = all()?.into_iter().filter(|entry| entry.interface_name == kernel);
    Ok(here.filter_map(|entry| Some(address(&entry)?.to_string())).collect())
}

/// The MAC addresses of all interfaces of this machine.
pub fn own() -> Result<BTreeSet<Mac>, Failure> {
    Ok(all()?.iter().filter_map(|entry| link(entry)?.addr().map(Mac)).collect())
}

fn all() -> Result<Vec<InterfaceAddress>, Failure> {
    let all = getifaddrs().map_err(|e| Failure::io("cannot list the interfaces", &e.into()))?;
    Ok(all.collect())
}

fn link(entry: &InterfaceAddress) -> Option<LinkAddr> {
    entry.address.as_ref()?.as_link_addr().copied()
}

/// The address of an entry that has one.
fn address(entry: &InterfaceAddress) -> Option<Address> {
    let (ip, mask) = (entry.address.as_ref()?, entry.netmask.as_ref()?);
    if let (Some(ip), Some(mask)) = (ip.as_sockaddr_in(), mask.as_sockaddr_in()) {
        return Some(Address { ip: ip.ip().into(), prefix: u32::from(mask.ip()).count_ones() as u8 });
    }
    let (ip, mask) = (ip.as_sockaddr_in6()?, mask.as_sockaddr_in6()?);
    Some(Address { ip: ip.ip().into(), prefix: u128::from(mask.ip()).count_ones() as u8 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_read_as_it_is_written_and_nothing_else_is_one() {
        let text = "52:54:00:0a:ff:01";
        assert_eq!(text.parse::<Mac>().unwrap().to_string(), text);
        for wrong in ["", "52:54:00:0a:ff", "52:54:00:0a:ff:01:02", "52:54:00:0a:ff:+1", "5:54:00:0a:ff:01"] {
            assert_eq!(wrong.parse::<Mac>().unwrap_err().code, Code::BadRequest, "{wrong}");
        }
    }

    #[test]
    fn only_what_an_interface_can_have_is_an_address() {
        for right in ["192.0.2.10/24", "2001:db8::10/64", "10.0.0.1/32"] {
            assert_eq!(right.parse::<Address>().unwrap().to_string(), right);
        }
        for wrong in
            ["192.0.2.10", "192.0.2.10/33", "::1/129", "0.0.0.0/0", "ff02::1/64", "224.0.0.1/4", "dhcp"]
        {
            assert_eq!(wrong.parse::<Address>().unwrap_err().code, Code::BadRequest, "{wrong}");
        }
    }

    #[test]
    fn a_name_that_could_be_an_option_or_a_path_is_no_interface() {
        let card = |name| Card::new(name, "52:54:00:0a:ff:01");
        assert!(card("eth0").is_ok() && card("ens160.12").is_ok());
        for wrong in ["", "-4", "a/b", "..", "sixteen-letters-", "a b", "eth0\n"] {
            assert_eq!(card(wrong).unwrap_err().code, Code::BadRequest, "{wrong}");
        }
    }

    #[test]
    fn an_interface_of_the_same_name_with_another_mac_address_is_not_the_one_that_is_meant() {
        assert!(Card::new("lo", "00:00:00:00:00:00").unwrap().look().unwrap().is_some());
        assert!(Card::new("lo", "52:54:00:0a:ff:01").unwrap().look().unwrap().is_none());
    }
}
