//! Who says on a link that an address is theirs: read from what was recorded of the link.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// One frame by which a machine said that an address is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub mac: String,
    pub address: IpAddr,
}

/// The announcements in a pcap file, in order; a frame that is still being written is left out.
pub fn announcements(pcap: &Path) -> Vec<Announcement> {
    let bytes = fs::read(pcap).unwrap_or_default();
    let mut found = Vec::new();
    let mut at = 24;
    while let Some(header) = bytes.get(at..at + 16) {
        let length = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let Some(frame) = bytes.get(at + 16..at + 16 + length) else { break };
        found.extend(announcement(frame));
        at += 16 + length;
    }
    found
}

/// ARP says it by its sender, neighbour discovery by the target of an advertisement.
fn announcement(frame: &[u8]) -> Option<Announcement> {
    let mac = frame.get(6..12)?.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    let address = match frame.get(12..14)? {
        [0x08, 0x06] => {
            let sender: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
            IpAddr::from(Ipv4Addr::from(sender))
        }
        [0x86, 0xdd] if frame.get(20)? == &58 && frame.get(54)? == &136 => {
            let target: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
            IpAddr::from(Ipv6Addr::from(target))
        }
        _ => return None,
    };
    (!address.is_unspecified()).then_some(Announcement { mac, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: [u8; 2], rest: &[u8]) -> Vec<u8> {
        [&[0xff; 6][..], &[0x52, 0x54, 0, 0x45, 1, 0], &kind, rest].concat()
    }

    fn arp(sender: [u8; 4]) -> Vec<u8> {
        let head = [0, 1, 8, 0, 6, 4, 0, 2, 0x52, 0x54, 0, 0x45, 1, 0];
        frame([8, 6], &[&head[..], &sender, &[0; 10]].concat())
    }

    #[test]
    fn who_has_an_address_is_read_from_arp_and_probes_count_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pcap");
        let mut bytes = vec![0; 24];
        for frame in [arp([192, 168, 45, 60]), arp([0; 4]), frame([8, 0], &[0; 40])] {
            bytes.extend([0; 8]);
            bytes.extend((frame.len() as u32).to_ne_bytes());
            bytes.extend((frame.len() as u32).to_ne_bytes());
            bytes.extend(frame);
        }
        bytes.extend([1; 20]);
        fs::write(&path, bytes).unwrap();
        let address = IpAddr::from([192, 168, 45, 60]);
        assert_eq!(announcements(&path), [Announcement { mac: "52:54:00:45:01:00".into(), address }]);
    }
}
