//! Files that are no tar, compressed ones, and whole backups of others.

use reinstate_tests::hostile::build::{Parts, file};
use reinstate_tests::hostile::sample::{Numbers, gzip};

use super::archives::{NONE, Nasty, REFUSED, TWO, tar};

pub fn all() -> Vec<Nasty> {
    [bytes(), compressed(), backups()].concat()
}

fn bytes() -> Vec<Nasty> {
    let seed = 20_260_105;
    println!("seed {seed}");
    let mut numbers = Numbers(seed);
    let random = (0..10_000).map(|_| numbers.next(256) as u8).collect();
    let cpio =
        b"07070100000001000081a4000000000000000000000001000000000000000500000000000000000000000000000000\
                 0000000700000000canary\0\0";
    vec![
        ("bytes-random", random, "  moved refused "),
        ("bytes-text", b"#!/bin/sh\nexit 1\n".repeat(100), REFUSED),
        ("bytes-cpio", cpio.to_vec(), REFUSED),
        ("bytes-old-cpio", b"070707000000000000000644000000000000000001".to_vec(), REFUSED),
        ("bytes-zip", b"PK\x03\x04\x14\0\0\0\x08\0".repeat(60), REFUSED),
        ("bytes-xz", b"\xfd7zXZ\0\0\x04".repeat(70), REFUSED),
        ("bytes-ones", vec![0xff; 4096], REFUSED),
        ("bytes-one-zero-block", vec![0; 512], NONE),
        ("bytes-zero-blocks", vec![0; 10_240], NONE),
        ("bytes-many-zero-blocks", vec![0; 2 << 20], REFUSED),
        ("bytes-one", vec![b'x'], REFUSED),
    ]
}

fn compressed() -> Vec<Nasty> {
    let whole = tar(&[file("a"), file("b")]);
    let open = &whole[..whole.len() - 1024];
    let one = gzip(&whole);
    let mut damaged = one.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x40;
    let members: Vec<u8> = open.chunks(512).flat_map(gzip).collect();
    vec![
        ("gzip.tar.gz", gzip(open), TWO),
        ("gzip-members.tar.gz", members, TWO),
        ("gzip-bomb.tar.gz", gzip(&vec![0; 100 << 20]), REFUSED),
        ("gzip-in-gzip.tar.gz", gzip(&one), REFUSED),
        ("gzip-cut.tar.gz", one[..one.len() - 8].to_vec(), TWO),
        ("gzip-trailing.tar.gz", [one.clone(), b"x".to_vec()].concat(), TWO),
        ("gzip-damaged.tar.gz", damaged, ""),
        ("gzip-header-alone.tar.gz", one[..10].to_vec(), NONE),
    ]
}

/// Right in themselves, of an appliance that is another one.
fn backups() -> Vec<Nasty> {
    let parts = || Parts::of(vec![file("config/net/etc/hosts")]);
    let whole = parts().bytes();
    let another = Parts::of(vec![file("config/firewall/etc/nftables.conf")]).bytes();
    let mut second = parts();
    second.members.push(second.manifest.clone());
    let two = [&whole[..whole.len() - 1024], &another].concat();
    vec![
        ("backup-of-another.tar", whole, "+model-mismatch"),
        ("backup-twice.tar", two, "+model-mismatch"),
        ("backup-with-two-manifests.tar", second.bytes(), "+model-mismatch"),
    ]
}
