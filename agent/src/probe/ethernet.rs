//! Frames of Ethernet II.

use crate::link::Mac;

pub fn frame(to: [u8; 6], from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from.0, &kind.to_be_bytes(), payload].concat()
}

/// What a frame of this type holds, padding included.
pub fn payload(frame: &[u8], kind: u16) -> Option<&[u8]> {
    let (header, payload) = frame.split_first_chunk::<14>()?;
    (header[12..] == kind.to_be_bytes()).then_some(payload)
}

pub fn sender(frame: &[u8]) -> Option<Mac> {
    let header = frame.first_chunk::<14>()?;
    Some(Mac([header[6], header[7], header[8], header[9], header[10], header[11]]))
}
