//! Padding, the end, compression and limits.

use std::io::Write;

use reinstate_agent::archive::Limits;
use reinstate_api::Code;

use super::{accepted, good, refused};
use crate::build::{Parts, archive, file, folder, seal};
use crate::sample::{Recorder, gzip, record_with};

#[test]
fn padding_that_is_not_empty_is_refused() {
    let mut bytes = archive(vec![good()]);
    let last = bytes.len() - 1024 - 1;
    bytes[last] = 1;
    refused(&bytes, &["padding behind member 'config/net/etc/hosts'", "0x01, not 0"]);
}

#[test]
fn nothing_but_zeros_comes_after_the_end() {
    let with_end = |end: Vec<u8>| {
        let mut parts = Parts::of(vec![good()]);
        parts.end = end;
        parts.bytes()
    };
    accepted(&with_end(vec![0; 10_240]));
    accepted(&with_end(vec![0; 1024 + (1 << 20)]));
    refused(&with_end(vec![0; 1024 + (1 << 20) + 1]), &["more than 1048576 zero bytes"]);
    refused(&with_end([vec![0; 1024], good().bytes()].concat()), &["goes on behind its end"]);
    refused(&with_end([vec![0; 512], good().bytes()].concat()), &["goes on behind its end"]);
    refused(&with_end([vec![0; 20_000], vec![1]].concat()), &["goes on behind its end", "0x01, not 0"]);
    refused(&with_end(vec![0; 512]), &["ends at byte", "mark of its end"]);
    refused(&with_end(Vec::new()), &["ends at byte", "before the end was marked"]);
    let two = [archive(vec![good()]), archive(vec![good()])].concat();
    refused(&two, &["goes on behind its end"]);
}

#[test]
fn nothing_comes_after_the_one_gzip_stream() {
    let whole = gzip(&archive(vec![good()]));
    accepted(&whole);
    for behind in [&b"x"[..], &[0], &[0; 512], &gzip(b""), &whole] {
        refused(&[&whole, behind].concat(), &["compressed archive goes on behind its end"]);
    }
    refused(&gzip(&whole), &["no tar header"]);
}

#[test]
fn a_wrong_checksum_or_length_of_gzip_is_refused() {
    let whole = gzip(&archive(vec![good()]));
    for at in 1..=8 {
        let mut bytes = whole.clone();
        let at = bytes.len() - at;
        bytes[at] ^= 0x10;
        refused(&bytes, &["compressed archive is damaged"]);
    }
}

#[test]
fn a_compressed_flood_is_refused_after_the_first_excess() {
    let zeros = |bytes: u64| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&archive(vec![good()])).unwrap();
        let block = vec![0; 1 << 20];
        (0..bytes >> 20).for_each(|_| encoder.write_all(&block).unwrap());
        encoder.finish().unwrap()
    };
    refused(&zeros(64 << 20), &["more than 1048576 zero bytes"]);
}

#[test]
fn every_limit_is_named_with_both_values() {
    let members = || {
        vec![folder("config/net/a"), folder("config/net/a/b"), file("config/net/a/b/c"), file("config/net/d")]
    };
    let parts = Parts::of(members());
    let (manifest, sums) = (parts.manifest.content.len() as u64, parts.sums.content.len() as u64);
    let bytes = parts.bytes();
    let exact = Limits { bytes: 16, files: 4, depth: 3, manifest, sums };
    record_with(&bytes, &exact).unwrap();
    for (limits, says) in [
        (Limits { bytes: 15, ..exact.clone() }, "bytes of configuration: 16, of at most 15".to_owned()),
        (Limits { files: 1, ..exact.clone() }, "files of configuration: 2, of at most 1".to_owned()),
        (Limits { files: 3, ..exact.clone() }, "4, of at most 3".to_owned()),
        (Limits { depth: 2, ..exact.clone() }, "'config/net/a/b/c': 3, of at most 2".to_owned()),
        (
            Limits { manifest: manifest - 1, ..exact.clone() },
            format!("'manifest.toml': {manifest}, of at most"),
        ),
        (Limits { sums: sums - 1, ..exact.clone() }, format!("'SHA256SUMS': {sums}, of at most")),
    ] {
        let failure = record_with(&bytes, &limits).unwrap_err();
        assert_eq!(failure.code, Code::ArchiveTooLarge, "{failure}");
        assert!(failure.message.contains(&says), "{says}: {failure}");
    }
}

#[test]
fn folders_that_are_not_listed_count_as_members() {
    let members = ["config", "config/net", "config/net/etc"].map(|name| folder(name).unlisted());
    let bytes = archive([&members[..], &[good()]].concat());
    record_with(&bytes, &Limits { files: 4, ..Limits::default() }).unwrap();
    let failure = record_with(&bytes, &Limits { files: 3, ..Limits::default() }).unwrap_err();
    assert_eq!(failure.code, Code::ArchiveTooLarge);
    assert!(failure.message.contains("members of the archive: 4, of at most 3"), "{failure}");
}

#[test]
fn sizes_that_overflow_when_added_are_refused() {
    let most = |text: &mut String| *text = text.replace("bytes = 8", &format!("bytes = {}", i64::MAX));
    let bytes = Parts::with(vec![good(), file("config/vpn/x"), file("config/dns/x")], most, |_| {}).bytes();
    let failure = record_with(&bytes, &Limits::default()).unwrap_err();
    assert_eq!(failure.code, Code::ArchiveTooLarge, "{failure}");
}

#[test]
fn a_receiver_hears_nothing_of_a_bad_archive_before_the_bad_part() {
    let mut block = [0; 512];
    seal(&mut block);
    let parts = Parts::of(vec![good(), file("config/net/../../x").unlisted(), file("config/net/z")]);
    let mut recorder = Recorder::default();
    let failure = reinstate_agent::archive::read(&parts.bytes()[..], &Limits::default(), &mut recorder);
    // The list itself is whole, so the archive is refused at the bad member.
    assert_eq!(failure.unwrap_err().code, Code::ArchiveInvalid);
    assert_eq!(recorder.entries.len(), 1);
}
