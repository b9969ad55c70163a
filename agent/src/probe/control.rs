//! Addresses that nobody should have: whoever answers for them answers for everybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use uuid::Uuid;

use crate::link::Address;

/// How many are asked for beside one address.
const CONTROLS: usize = 2;

/// How often one is drawn before a subnet counts as too small.
const DRAWS: usize = 64;

/// Addresses drawn from an address's subnet, none of which is in `known`: two, or fewer where the subnet has no more.
pub fn of(address: &Address, known: &[IpAddr]) -> Vec<IpAddr> {
    let mut controls = Vec::new();
    for _ in 0..DRAWS {
        if controls.len() == CONTROLS {
            break;
        }
        let drawn = draw(address, Uuid::new_v4().as_u128());
        controls.extend(drawn.filter(|ip| !known.contains(ip) && !controls.contains(ip)));
    }
    controls
}

/// None where a host cannot have what was drawn: the subnet's first address, and IPv4's last.
fn draw(address: &Address, random: u128) -> Option<IpAddr> {
    match address.ip {
        IpAddr::V4(ip) => {
            let hosts = u32::MAX.checked_shr(address.prefix.into()).unwrap_or(0);
            let host = random as u32 & hosts;
            let ip = Ipv4Addr::from(u32::from(ip) & !hosts | host);
            (host != 0 && host != hosts).then_some(ip.into())
        }
        IpAddr::V6(ip) => {
            let hosts = u128::MAX.checked_shr(address.prefix.into()).unwrap_or(0);
            let host = random & hosts;
            (host != 0).then(|| Ipv6Addr::from(u128::from(ip) & !hosts | host).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(address: &str) -> Vec<IpAddr> {
        let address: Address = address.parse().unwrap();
        of(&address, &[address.ip])
    }

    #[test]
    fn controls_are_other_hosts_of_the_same_subnet() {
        for _ in 0..100 {
            let controls = drawn("192.0.2.10/29");
            assert_eq!(controls.len(), 2);
            for control in controls {
                let IpAddr::V4(control) = control else { panic!("{control}") };
                let [a, b, c, last] = control.octets();
                assert!((a, b, c) == (192, 0, 2) && (9..=14).contains(&last) && last != 10, "{control}");
            }
        }
        let [IpAddr::V6(one), IpAddr::V6(two)] = drawn("2001:db8::10/64")[..] else { panic!() };
        assert!(one != two && one.segments()[..4] == [0x2001, 0xdb8, 0, 0]);
    }

    #[test]
    fn a_subnet_without_other_hosts_has_no_controls() {
        assert_eq!(drawn("192.0.2.1/30").len(), 1);
        for alone in ["192.0.2.1/31", "192.0.2.1/32", "2001:db8::1/128", "2001:db8::1/127"] {
            assert_eq!(drawn(alone), Vec::<IpAddr>::new(), "{alone}");
        }
    }
}
