//! Fields of a header, and the extended headers before it.

use reinstate_api::Code;

use super::{changed, failure, good, refused};
use crate::build::{Block, Parts, archive, gnu_long, link, member, pax, pax_record, put};

#[test]
fn a_wrong_checksum_is_refused_with_both_sums() {
    let mut bytes = archive(vec![good()]);
    bytes[0] ^= 2;
    refused(&bytes, &["has checksum", "its field says"]);
}

#[test]
fn what_is_not_tar_is_refused() {
    let mut text = b"#!/bin/sh\necho not a tar\n".to_vec();
    text.resize(2048, b'\n');
    refused(&text, &["no tar header"]);
    refused(b"", &["ends at byte 0"]);
    refused(b"short", &["ends at byte 5"]);
    refused(&[0; 4096], &["first member is missing"]);
    refused(&changed(|block| put(block, 257, &[0; 8])), &["no tar header"]);
    refused(&changed(|block| put(block, 263, b"01")), &["no tar header"]);
}

#[test]
fn set_id_and_sticky_bits_are_refused() {
    for mode in [0o4755, 0o2755, 0o1777, 0o100_644] {
        let mut with = good().unlisted();
        with.mode = mode;
        refused(&archive(vec![with]), &[&format!("of mode {mode:o}"), "0 to 777"]);
    }
    let mut with = link("config/net/x", "y").unlisted();
    with.mode = 0o755;
    refused(&archive(vec![with]), &["link of mode 755"]);
}

#[test]
fn a_number_that_is_not_plain_octal_is_refused() {
    type Change = fn(&mut Block);
    let cases: [(Change, &str); 12] = [
        (|b| put(b, 124, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8]), "size"),
        (|b| put(b, 124, &[0xff; 12]), "size"),
        (|b| put(b, 124, b"-0000000001"), "size"),
        (|b| put(b, 124, b"+0000000010"), "size"),
        (|b| put(b, 124, b"0x000000008"), "size"),
        (|b| put(b, 124, b"00000000008"), "size"),
        (|b| put(b, 124, b" 0000000010"), "size"),
        (|b| put(b, 124, b"0000 000010"), "size"),
        (|b| put(b, 124, &[0; 12]), "size"),
        (|b| put(b, 100, b"0x644\0\0"), "mode"),
        (|b| put(b, 108, &[0x80, 0, 0, 0, 0, 0, 0, 1]), "uid"),
        (|b| put(b, 136, &[0xff; 12]), "mtime"),
    ];
    for (change, field) in cases {
        refused(&changed(change), &[&format!("'{field}' is not an octal number")]);
    }
}

#[test]
fn a_size_beyond_the_archive_is_refused() {
    let bytes = archive(vec![good().change(|block| put(block, 124, b"77777777777"))]);
    refused(&bytes, &["has the size 8589934591, SHA256SUMS lists 8"]);
    for name in ["manifest.toml", "SHA256SUMS"] {
        let large = member(name, b'0', b"").change(|block| put(block, 124, b"77777777777"));
        let parts = Parts::of(vec![good()]);
        let before = if name == "SHA256SUMS" { parts.manifest.bytes() } else { Vec::new() };
        let failure = failure(&[before, large.bytes()].concat());
        assert_eq!(failure.code, Code::ArchiveTooLarge);
        assert!(failure.message.contains(name) && failure.message.contains("8589934591"), "{failure}");
    }
}

#[test]
fn fields_that_mean_nothing_must_be_empty() {
    refused(&changed(|block| block[505] = 1), &["'end' is not empty"]);
    refused(&changed(|block| put(block, 329, b"0000001")), &["'device major' is not 0"]);
    refused(&changed(|block| put(block, 337, b"0000001")), &["'device minor' is not 0"]);
    let gnu_times = |block: &mut Block| {
        put(block, 257, b"ustar  \0");
        put(block, 345, b"14761533117\0");
    };
    refused(&changed(gnu_times), &["'end' is not empty"]);
}

#[test]
fn a_member_without_names_of_owner_and_group_is_refused() {
    for owner in ["", "Root", "0", "a b", "root;id", "..", "-rf"] {
        let mut with = good().unlisted();
        with.owner = owner.into();
        refused(&archive(vec![with]), &["has the owner name", &format!("'{owner}'")]);
        let mut with = good().unlisted();
        with.group = owner.into();
        refused(&archive(vec![with]), &["has the group name", &format!("'{owner}'")]);
    }
    for (key, which) in [("uname", "owner"), ("gname", "group")] {
        let long = pax(pax_record(key, &"o".repeat(33)));
        refused(&archive(vec![good().after(long).unlisted()]), &[&format!("has the {which} name")]);
    }
}

#[test]
fn sparse_files_xattrs_and_acls_are_refused() {
    for key in [
        "GNU.sparse.major",
        "GNU.sparse.name",
        "GNU.sparse.map",
        "GNU.sparse.size",
        "SCHILY.xattr.security.capability",
        "SCHILY.acl.access",
        "LIBARCHIVE.xattr.user.x",
        "RHT.security.selinux",
        "SCHILY.realsize",
        "hdrcharset",
        "charset",
        "comment",
        "",
    ] {
        let before = pax(pax_record(key, "1"));
        refused(&archive(vec![good().after(before).unlisted()]), &[&format!("the key '{key}'")]);
    }
}

#[test]
fn a_name_told_twice_is_refused() {
    let path = || pax(pax_record("path", "config/net/x"));
    let long = || gnu_long(b'L', "config/net/x");
    let target = || gnu_long(b'K', "y");
    for before in [
        [path(), path()],
        [long(), long()],
        [target(), target()],
        [path(), long()],
        [long(), path()],
        [path(), target()],
    ] {
        refused(&archive(vec![good().after(before.concat()).unlisted()]), &["told twice"]);
    }
    let twice = pax([pax_record("path", "config/net/x"), pax_record("path", "config/net/y")].concat());
    refused(&archive(vec![good().after(twice).unlisted()]), &["the key 'path' twice"]);
}

#[test]
fn two_sizes_of_one_member_are_refused() {
    let before = pax(pax_record("size", "512"));
    refused(
        &archive(vec![good().after(before).unlisted()]),
        &["size 8 in its header, 512 in its pax record"],
    );
    let before = pax(pax_record("size", "8589934592"));
    refused(&archive(vec![good().after(before)]), &["size 8589934592, SHA256SUMS lists 8"]);
}

#[test]
fn an_extended_header_is_bounded() {
    for (flag, most) in [(b'x', "4096"), (b'L', "1066"), (b'K', "1066")] {
        let huge = |block: &mut Block| put(block, 124, b"02000000000");
        for before in [member("x", flag, b"").change(huge).bytes(), member("x", flag, &[b'a'; 5000]).bytes()]
        {
            refused(&archive(vec![good().after(before).unlisted()]), &[&format!("of 1 to {most}")]);
        }
        refused(&archive(vec![good().after(member("x", flag, b"").bytes())]), &["has 0 bytes"]);
    }
    let unended = member("x", b'L', b"config/net/x").bytes();
    refused(&archive(vec![good().after(unended).unlisted()]), &["ends with a NUL"]);
}

#[test]
fn a_long_name_of_no_member_is_refused() {
    let mut parts = Parts::of(vec![good()]);
    parts.end = [gnu_long(b'L', "config/net/x"), vec![0; 1024]].concat();
    refused(&parts.bytes(), &["belongs to no member"]);
}
