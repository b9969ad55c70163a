//! Each rule of the profile, broken alone: the archive is refused, and the message says why.

mod bounds;
mod first_members;
mod floods;
mod headers;
mod kinds;
mod listed;
mod names;

use reinstate_api::{Code, Failure};

use crate::build::{Block, archive, file, folder, link, member};
use crate::sample::{Recorder, record};

fn failure(bytes: &[u8]) -> Failure {
    record(bytes).expect_err("the archive was accepted")
}

/// Refused as invalid, with every one of `says` in the message.
fn refused(bytes: &[u8], says: &[&str]) {
    let failure = failure(bytes);
    assert_eq!(failure.code, Code::ArchiveInvalid, "{failure}");
    for part in says {
        assert!(failure.message.contains(part), "'{part}' is not in: {failure}");
    }
}

fn accepted(bytes: &[u8]) -> Recorder {
    record(bytes).unwrap_or_else(|failure| panic!("{failure}"))
}

/// One good file, which a test then makes bad.
fn good() -> crate::build::Member {
    file("config/net/etc/hosts")
}

fn changed(change: fn(&mut Block)) -> Vec<u8> {
    archive(vec![good().change(change)])
}

#[test]
fn an_archive_in_the_profile_is_accepted() {
    let members = vec![
        folder("config"),
        folder("config/net/"),
        folder("config/net/etc/"),
        good(),
        folder("config/net/etc-a"),
        link("config/net/etc/link", "/etc/hosts"),
        file("config/net/etc/Hosts"),
        member("config/vpn/etc/empty", b'0', b""),
    ];
    let recorder = accepted(&archive(members));
    assert_eq!(recorder.entries.len(), 6);
    assert_eq!(recorder.contents[&("net".into(), "etc/hosts".into())], b"content\n");
}
