//! Neighbour discovery for Ethernet: the solicitation of duplicate address detection (RFC 4862), and whose address an
//! advertisement says is whose.

use std::net::Ipv6Addr;

use super::ethernet;
use crate::link::Mac;
use crate::ping;

const TYPE: u16 = 0x86dd;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// What has passed a router has less.
const HOP_LIMIT: u8 = 255;
/// The option that holds the target's Ethernet address, and its length in units of eight bytes.
const TARGET_MAC: [u8; 2] = [2, 1];

/// Asks who has `target`, without an address of our own: nobody's cache changes.
pub fn solicitation(from: Mac, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut message = [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
    let sum = checksum(Ipv6Addr::UNSPECIFIED, group, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let header = [0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, HOP_LIMIT];
    let packet = [&header[..], &Ipv6Addr::UNSPECIFIED.octets(), &group.octets(), &message].concat();
    ethernet::frame([0x33, 0x33, 0xff, a, b, c], from, TYPE, &packet)
}

/// The address that an advertisement is about, and who has it.
pub fn holder(frame: &[u8]) -> Option<(Ipv6Addr, Mac)> {
    let packet = ethernet::payload(frame, TYPE)?;
    let (header, rest) = packet.split_first_chunk::<40>()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = rest.get(..length)?;
    let (head, rest) = message.split_first_chunk::<8>()?;
    let (target, options) = rest.split_first_chunk::<16>()?;
    let fits = header[0] >> 4 == 6 && header[6] == ICMPV6 && header[7] == HOP_LIMIT;
    if !fits || head[..2] != [ADVERTISEMENT, 0] {
        return None;
    }
    Some((Ipv6Addr::from(*target), target_mac(options).or_else(|| ethernet::sender(frame))?))
}

fn target_mac(mut options: &[u8]) -> Option<Mac> {
    loop {
        let option = options.get(..usize::from(*options.get(1)?).max(1) * 8)?;
        if option[..2] == TARGET_MAC {
            return option[2..].first_chunk().copied().map(Mac);
        }
        options = &options[option.len()..];
    }
}

/// Of an ICMPv6 message whose own checksum is zero still.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = (message.len() as u32).to_be_bytes();
    let covered = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, ICMPV6], message].concat();
    ping::checksum(&covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEM: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn target() -> Ipv6Addr {
        "2001:db8::12:3456".parse().unwrap()
    }

    fn advertisement(hop_limit: u8, options: &[u8]) -> Vec<u8> {
        let message = [&[ADVERTISEMENT, 0, 0, 0, 0x20, 0, 0, 0][..], &target().octets(), options].concat();
        let header = [0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, hop_limit];
        let packet = [&header[..], &target().octets(), &[0; 16], &message].concat();
        ethernet::frame([0x33, 0x33, 0, 0, 0, 1], THEM, TYPE, &packet)
    }

    #[test]
    fn a_solicitation_comes_from_nobody_and_its_checksum_is_right() {
        let frame = solicitation(US, target());
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
        assert_eq!(frame[22..38], [0; 16]);
        assert_eq!(frame[38..54], group.octets());
        // Over all, its own value included, it is nothing.
        assert_eq!(checksum(Ipv6Addr::UNSPECIFIED, group, &frame[54..]), 0);
        assert_eq!(holder(&frame), None);
    }

    #[test]
    fn an_advertisement_from_this_link_tells_who_has_the_address() {
        let other = [2, 1, 2, 0, 0, 0, 0, 9];
        let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
        assert_eq!(holder(&advertisement(255, &[])), Some((target(), THEM)));
        assert_eq!(holder(&advertisement(255, &other)), Some((target(), Mac([2, 0, 0, 0, 0, 9]))));
        let behind = [nonce, other].concat();
        assert_eq!(holder(&advertisement(255, &behind)), Some((target(), Mac([2, 0, 0, 0, 0, 9]))));
        assert_eq!(holder(&advertisement(254, &other)), None, "it has passed a router");
    }

    #[test]
    fn an_advertisement_that_is_cut_or_nonsense_tells_nothing_of_its_options() {
        let whole = advertisement(255, &[2, 1, 2, 0, 0, 0, 0, 9]);
        for length in 0..whole.len() {
            assert_eq!(holder(&whole[..length]), None, "{length} bytes");
        }
        for options in [&[2, 0][..], &[2, 1, 2], &[0, 0, 0, 0, 0, 0, 0, 0], &[9, 255, 0]] {
            assert_eq!(holder(&advertisement(255, options)), Some((target(), THEM)), "{options:?}");
        }
    }
}
