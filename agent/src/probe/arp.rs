//! ARP for Ethernet and IPv4: the probe of RFC 5227, and whose address a packet says is whose.

use std::net::Ipv4Addr;

use super::ethernet;
use crate::link::Mac;

const TYPE: u16 = 0x0806;
/// Ethernet, IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Asks who has `target`, without an address of our own: nobody's cache changes.
pub fn probe(from: Mac, target: Ipv4Addr) -> Vec<u8> {
    let sender = [&from.0[..], &Ipv4Addr::UNSPECIFIED.octets()].concat();
    let wanted = [&[0; 6][..], &target.octets()].concat();
    ethernet::frame([0xff; 6], from, TYPE, &[&KIND[..], &REQUEST, &sender, &wanted].concat())
}

/// The address that a packet's sender says it has, and who that is. A probe's sender has none yet.
pub fn holder(frame: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let packet = ethernet::payload(frame, TYPE)?.get(..28)?;
    let (kind, rest) = packet.split_first_chunk::<6>()?;
    let (operation, rest) = rest.split_first_chunk::<2>()?;
    let (mac, rest) = rest.split_first_chunk::<6>()?;
    let (ip, _) = rest.split_first_chunk::<4>()?;
    let ip = Ipv4Addr::from(*ip);
    (*kind == KIND && [REQUEST, REPLY].contains(operation) && !ip.is_unspecified()).then_some((ip, Mac(*mac)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    const US: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEM: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn reply() -> Vec<u8> {
        let packet = [&KIND[..], &REPLY, &THEM.0, &TARGET.octets(), &US.0, &[0; 4]].concat();
        ethernet::frame(US.0, THEM, TYPE, &packet)
    }

    #[test]
    fn a_probe_is_as_rfc_5227_has_it_and_claims_nothing() {
        let frame = probe(US, TARGET);
        let expected =
            "ffffffffffff 020000000001 0806 0001080006040001 020000000001 00000000 000000000000 c000020a";
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.replace(' ', ""));
        assert_eq!(holder(&frame), None);
    }

    #[test]
    fn a_reply_tells_who_has_the_address_and_a_packet_that_is_cut_tells_nothing() {
        let reply = reply();
        assert_eq!(holder(&reply), Some((TARGET, THEM)));
        assert_eq!(holder(&[&reply[..], &[0; 18]].concat()), Some((TARGET, THEM)), "padded");
        for length in 0..reply.len() {
            assert_eq!(holder(&reply[..length]), None, "{length} bytes");
        }
    }
}
