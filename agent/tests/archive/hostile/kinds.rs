//! Kinds of members, and what belongs to each.

use super::{good, refused};
use crate::build::{archive, link, member, pax, pax_record};

#[test]
fn only_files_folders_and_links_are_taken() {
    for (flag, says) in [
        (b'1', "a hard link"),
        (b'3', "a character device"),
        (b'4', "a block device"),
        (b'6', "a FIFO"),
        (b'7', "a contiguous file"),
        (b'S', "a sparse file"),
        (b'g', "a global pax header"),
        (b'D', "a GNU folder listing"),
        (b'M', "a continuation"),
        (b'V', "a volume label"),
        (b'N', "of type 'N'"),
        (b'X', "of type 'X'"),
        (b'A', "of type 'A'"),
        (0, "of the old kind"),
        (0xff, "of type '\\xff'"),
    ] {
        refused(
            &archive(vec![good(), member("config/net/x", flag, b"").unlisted()]),
            &["config/net/x", says],
        );
    }
}

#[test]
fn a_global_pax_header_is_refused_wherever_it_stands() {
    let global = member("pax_global_header", b'g', pax_record("path", "config/net/x").as_bytes());
    refused(&[global.bytes(), archive(vec![good()])].concat(), &["a global pax header"]);
}

#[test]
fn a_link_to_no_path_is_refused() {
    for target in ["", "a\nb", "a\\b", "a\u{1b}b"] {
        refused(&archive(vec![link("config/net/x", target).unlisted()]), &["which is no path"]);
    }
    let long = pax(pax_record("linkpath", &"x".repeat(1025)));
    refused(&archive(vec![link("config/net/x", "y").after(long).unlisted()]), &["which is no path"]);
}

#[test]
fn content_where_none_belongs_is_refused() {
    refused(&archive(vec![member("config/net/x", b'5', b"12").unlisted()]), &["folder, yet has 2 bytes"]);
    let mut with = link("config/net/x", "y").unlisted();
    with.content = b"123".to_vec();
    refused(&archive(vec![with]), &["link, yet has 3 bytes"]);
    let mut with = good().unlisted();
    with.link = b"/etc/passwd".to_vec();
    refused(&archive(vec![with]), &["file, yet points to '/etc/passwd'"]);
}
