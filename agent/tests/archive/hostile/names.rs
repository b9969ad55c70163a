//! Names of members.

use super::{accepted, changed, failure, good, refused};
use crate::build::{archive, file, folder, gnu_long, link, member, pax, pax_record, put};

#[test]
fn a_name_that_leaves_its_place_is_refused() {
    for (name, says) in [
        ("/etc/passwd", "outside config/<domain>/"),
        ("../etc/passwd", "outside config/<domain>/"),
        ("etc/passwd", "outside config/<domain>/"),
        ("./config/net/x", "outside config/<domain>/"),
        ("configx/net/x", "outside config/<domain>/"),
        ("config/../x", "is no domain's name"),
        ("config//x", "is no domain's name"),
        ("config/./x", "is no domain's name"),
        ("config/Net/x", "is no domain's name"),
        ("config/1net/x", "is no domain's name"),
        ("config/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/x", "is no domain's name"),
        ("config/net/../x", "holds the part '..'"),
        ("config/net/x/..", "holds the part '..'"),
        ("config/net/./x", "holds the part '.'"),
        ("config/net//etc/x", "absolute"),
        ("config/net/etc//x", "holds the part ''"),
        ("config/net/x/", "holds the part ''"),
        ("config/net/a\\b", "backslash"),
        ("config/net/a\nb", "control character"),
        ("config/net/a\u{1b}[2Jb", "control character"),
        ("config/net/a\u{7f}", "control character"),
        ("config/net/a\u{9b}b", "control character"),
    ] {
        refused(&archive(vec![good(), file(name).unlisted()]), &[says]);
        refused(&archive(vec![good(), file("x").after(pax(pax_record("path", name))).unlisted()]), &[says]);
        refused(&archive(vec![good(), file("x").after(gnu_long(b'L', name)).unlisted()]), &[says]);
    }
    refused(&archive(vec![good(), folder("config/net/x//").unlisted()]), &["holds the part ''"]);
    refused(&archive(vec![good(), member("", b'0', b"").unlisted()]), &["name of 0 bytes"]);
}

#[test]
fn a_message_shows_no_escape_codes_of_a_name() {
    let failure = failure(&archive(vec![good(), file("config/net/a\u{1b}[2J\u{202e}b").unlisted()]));
    assert!(failure.message.contains("\\u{1b}") && !failure.message.contains('\u{1b}'), "{failure}");
    assert!(!failure.message.contains('\u{202e}'), "{failure}");
}

#[test]
fn a_name_that_is_not_utf8_is_refused() {
    refused(&archive(vec![file(b"config/net/\xff").unlisted()]), &["name", "is not UTF-8"]);
    refused(&archive(vec![link("config/net/x", b"\xff").unlisted()]), &["link name", "is not UTF-8"]);
    let long = gnu_long(b'L', b"config/net/\xff");
    refused(&archive(vec![file("x").after(long).unlisted()]), &["not UTF-8"]);
    refused(&archive(vec![file("x").after(pax(b"11 path=\xff\xfe\n")).unlisted()]), &["not UTF-8"]);
    refused(&changed(|block| block[265] = 0xff), &["owner name", "is not UTF-8"]);
}

#[test]
fn a_name_hidden_behind_a_nul_is_refused() {
    refused(
        &changed(|block| put(block, 60, b"/../../etc/passwd")),
        &["'name' holds something behind its end"],
    );
    refused(&changed(|block| block[296] = b'x'), &["'owner name' holds something behind its end"]);
    refused(&changed(|block| block[256] = b'x'), &["'link name' holds something behind its end"]);
    let name = "config/net/etc/hosts\0.bak";
    refused(&archive(vec![file("x").after(gnu_long(b'L', name)).unlisted()]), &["control character"]);
    refused(
        &archive(vec![file("x").after(pax(pax_record("path", name))).unlisted()]),
        &["control character"],
    );
}

#[test]
fn names_deeper_or_longer_than_the_limits_are_refused() {
    let deep = format!("config/net/{}x", "d/".repeat(32));
    refused(&archive(vec![file("x").after(gnu_long(b'L', &deep)).unlisted()]), &["33 levels"]);
    let wide = format!("config/net/{}", "w".repeat(256));
    refused(&archive(vec![file("x").after(gnu_long(b'L', wide)).unlisted()]), &["holds the part"]);
    let long = format!("config/net/{}", "dir/".repeat(300));
    refused(&archive(vec![file("x").after(pax(pax_record("path", &long))).unlisted()]), &["1211 bytes"]);
    refused(&archive(vec![file("x").after(gnu_long(b'L', long)).unlisted()]), &["1212 bytes"]);
}

#[test]
fn names_that_differ_only_by_case_or_by_unicode_form_are_different_names() {
    // ext4 and tmpfs, which appliances have, compare bytes: none of these takes another's place.
    let names = [
        "config/net/etc/hosts",
        "config/net/etc/HOSTS",
        "config/net/Etc/hosts",
        "config/net/etc/caf\u{e9}",
        "config/net/etc/cafe\u{301}",
        "config/net/etc/\u{fb01}le",
        "config/net/etc/file",
        "config/net/etc/\u{212a}",
        "config/net/etc/K",
        "config/net/etc/k",
    ];
    let members = names.iter().map(|name| member(name, b'0', name.as_bytes()));
    let contents = accepted(&archive(members.collect())).contents;
    assert_eq!(contents.len(), names.len());
    for name in names {
        let path = name.strip_prefix("config/net/").unwrap();
        assert_eq!(contents[&("net".into(), path.into())], name.as_bytes());
    }
    let other_form = file("config/net/etc/cafe\u{301}").unlisted();
    refused(&archive(vec![file("config/net/etc/caf\u{e9}"), other_form]), &["is not listed"]);
    let other_case = file("config/net/etc/Hosts").unlisted();
    refused(&archive(vec![good(), other_case]), &["'config/net/etc/Hosts' is not listed"]);
}
