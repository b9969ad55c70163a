//! Tars that a careful reader refuses, and a few that it takes once they are listed.

use reinstate_tests::hostile::build::{
    Block, Member, file, folder, gnu_long, link, member, pax, pax_record, put,
};

/// What the line of a file has to hold.
pub const REFUSED: &str = "  moved refused archive-invalid  ";
/// All files of the valid backup, and none more.
pub const NONE: &str = "  moved accepted 3 files";
/// At the places behind the folder that they are in.
pub const TWO: &str = "  moved accepted 5 files";

pub fn tar(members: &[Member]) -> Vec<u8> {
    [members.iter().map(Member::bytes).collect::<Vec<_>>().concat(), vec![0; 1024]].concat()
}

/// Without the mark of its end, so that what is behind it is read too.
fn open(members: &[Member]) -> Vec<u8> {
    members.iter().map(Member::bytes).collect::<Vec<_>>().concat()
}

fn changed(change: fn(&mut Block)) -> Vec<u8> {
    open(&[file("a").change(change)])
}

pub type Nasty = (&'static str, Vec<u8>, &'static str);

pub fn all(outside: &str) -> Vec<Nasty> {
    [names(outside), links(outside), headers(), kinds(), rows()].concat()
}

fn names(outside: &str) -> Vec<Nasty> {
    let canary = format!("{outside}/canary");
    let long = format!("{}/x", "long-".repeat(30));
    let up = |name: &str| open(&[file(name)]);
    vec![
        ("name-absolute.tar", open(&[file(&canary)]), REFUSED),
        ("name-absolute-long.tar", open(&[file("a").after(gnu_long(b'L', &canary))]), "listed refused"),
        (
            "name-absolute-pax.tar",
            open(&[file("a").after(pax(pax_record("path", &canary)))]),
            "listed refused",
        ),
        ("name-up.tar", up("../../../../../../canary"), REFUSED),
        ("name-up-inside.tar", up("a/../../canary"), REFUSED),
        ("name-up-deep.tar", up(&format!("{}canary", "../".repeat(20))), REFUSED),
        ("name-dot.tar", up("./a"), REFUSED),
        ("name-empty.tar", open(&[file("")]), REFUSED),
        ("name-backslash.tar", up("..\\..\\canary"), REFUSED),
        ("name-control.tar", up("a\u{1b}[2J\nb"), REFUSED),
        ("name-bytes.tar", open(&[file(b"a\xff\xfe")]), REFUSED),
        ("name-with-nul.tar", open(&[file("a").change(|block| put(block, 50, b"/../canary"))]), REFUSED),
        ("name-deep.tar", up(&format!("{}x", "d/".repeat(40))), REFUSED),
        ("name-gnu-long.tar", open(&[file("a").after(gnu_long(b'L', &long))]), "listed refused"),
        (
            "name-gnu-huge.tar",
            open(&[file("a").after(gnu_long(b'L', "n".repeat(1 << 20)))]),
            "listed refused",
        ),
        ("name-activation.tar", open(&[file(".reinstate-new.0/a")]), "refused path-not-owned  "),
        ("name-case.tar", open(&[file("a"), file("A")]), TWO),
        ("name-unicode-forms.tar", open(&[file("caf\u{e9}"), file("cafe\u{301}")]), TWO),
        ("name-bundle.tar", open(&[file("fw-b_20260105080000.tar")]), "plain refused archive-"),
    ]
}

fn links(outside: &str) -> Vec<Nasty> {
    let through = |target: &str| open(&[link("d", target), file("d/canary")]);
    vec![
        ("link-write-through.tar", through(outside), REFUSED),
        ("link-write-through-up.tar", through("../../.."), REFUSED),
        (
            "link-in-place-of-file.tar",
            open(&[link("canary", format!("{outside}/canary")), file("canary")]),
            REFUSED,
        ),
        ("link-to-shadow.tar", open(&[link("shadow", "/etc/shadow")]), REFUSED),
        ("link-to-itself.tar", open(&[link("a", "a")]), REFUSED),
        (
            "link-hard.tar",
            open(&[file("a"), Member { link: b"a".to_vec(), ..member("b", b'1', b"") }]),
            REFUSED,
        ),
        (
            "link-hard-outside.tar",
            open(&[Member { link: b"/etc/shadow".to_vec(), ..member("b", b'1', b"") }]),
            REFUSED,
        ),
        ("link-with-content.tar", open(&[Member { content: b"x".to_vec(), ..link("a", "b") }]), REFUSED),
    ]
}

fn headers() -> Vec<Nasty> {
    let with = |before: Vec<u8>| open(&[file("a").after(before)]);
    let record = |key, value| with(pax(pax_record(key, value)));
    let global = member("g", b'g', pax_record("path", "../../canary").as_bytes()).bytes();
    vec![
        ("pax-size-huge.tar", record("size", "8589934592"), REFUSED),
        ("pax-size-overflows.tar", record("size", "18446744073709551616"), REFUSED),
        ("pax-size-smaller.tar", record("size", "1"), REFUSED),
        ("pax-global.tar", with(global), REFUSED),
        ("pax-sparse.tar", with(pax([pax_record("GNU.sparse.major", "1")].concat())), REFUSED),
        ("pax-capability.tar", record("SCHILY.xattr.security.capability", "x"), REFUSED),
        ("pax-acl.tar", record("SCHILY.acl.access", "user::rwx"), REFUSED),
        (
            "pax-twice.tar",
            with([pax(pax_record("mtime", "1")), pax(pax_record("mtime", "2"))].concat()),
            REFUSED,
        ),
        ("pax-without-end.tar", (0..2000).flat_map(|_| pax(pax_record("mtime", "1"))).collect(), REFUSED),
        ("pax-times.tar", open(&[file("a").after(pax(pax_record("mtime", "1.5"))), file("b")]), TWO),
        (
            "size-base-256.tar",
            changed(|block| put(block, 124, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8])),
            REFUSED,
        ),
        ("size-negative.tar", changed(|block| put(block, 124, &[0xff; 12])), REFUSED),
        ("size-huge.tar", changed(|block| put(block, 124, b"77777777777")), REFUSED),
        ("size-spaces.tar", changed(|block| put(block, 124, b"         10 ")), REFUSED),
        ("header-v7.tar", changed(|block| put(block, 257, &[0; 8])), "  listed refused archive-invalid  "),
        ("header-checksum.tar", wrong_checksum(), REFUSED),
        ("header-set-id.tar", open(&[Member { mode: 0o4755, ..file("a") }]), REFUSED),
        ("header-no-owner.tar", open(&[Member { owner: String::new(), ..file("a") }]), REFUSED),
        ("header-other-owner.tar", open(&[Member { owner: "-rf".into(), ..file("a") }]), REFUSED),
        ("header-device-numbers.tar", changed(|block| put(block, 329, b"0000010")), REFUSED),
    ]
}

fn wrong_checksum() -> Vec<u8> {
    let mut bytes = open(&[file("a")]);
    bytes[150] ^= 1;
    bytes
}

fn kinds() -> Vec<Nasty> {
    let of = |flag| open(&[member("a", flag, b"")]);
    vec![
        ("kind-sparse.tar", of(b'S'), REFUSED),
        ("kind-character-device.tar", of(b'3'), REFUSED),
        ("kind-block-device.tar", of(b'4'), REFUSED),
        ("kind-pipe.tar", of(b'6'), REFUSED),
        ("kind-contiguous.tar", of(b'7'), REFUSED),
        ("kind-other-volume.tar", of(b'M'), REFUSED),
        ("kind-volume-label.tar", of(b'V'), REFUSED),
        ("kind-listing.tar", of(b'D'), REFUSED),
        ("kind-old-file.tar", of(0), REFUSED),
        ("kind-unknown.tar", of(b'Z'), REFUSED),
        ("kind-folder-with-content.tar", open(&[member("a", b'5', b"content")]), REFUSED),
    ]
}

fn rows() -> Vec<Nasty> {
    let plain = [folder("d"), file("d/a"), file("b")];
    let whole = tar(&plain);
    let mut dirty = open(&[file("a")]);
    *dirty.last_mut().unwrap() = b'x';
    vec![
        ("row-plain.tar", open(&plain), TWO),
        ("row-with-its-end.tar", whole.clone(), TWO),
        ("row-two-tars.tar", [whole.clone(), whole.clone()].concat(), REFUSED),
        ("row-twice.tar", open(&[file("a"), file("a")]), REFUSED),
        ("row-file-then-folder.tar", open(&[file("a"), folder("a")]), REFUSED),
        ("row-folder-then-file.tar", open(&[folder("a"), file("a")]), REFUSED),
        ("row-file-as-folder.tar", open(&[file("a"), file("a/b")]), REFUSED),
        ("row-folder-behind.tar", open(&[file("d/a"), folder("d")]), REFUSED),
        ("row-cut-in-content.tar", open(&[member("a", b'0', &[b'x'; 2000])])[..1024].to_vec(), REFUSED),
        ("row-cut-in-header.tar", open(&plain)[..700].to_vec(), REFUSED),
        ("row-padding.tar", dirty, REFUSED),
        ("row-empty.tar", Vec::new(), NONE),
    ]
}
