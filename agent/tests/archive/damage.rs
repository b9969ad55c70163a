//! Damage anywhere is found, or changes nothing.

use reinstate_api::Code;

use crate::sample::{Numbers, Recorder, Sample, gzip, manifest, record};

/// Small, yet with a pax record for a folder, a file, a link and two owners.
fn small() -> Vec<u8> {
    let long = "n".repeat(120);
    let sample = Sample::default()
        .folder("net", &format!("etc/{long}"), 0o755)
        .file("net", &format!("etc/{long}/{long}"), 0o600, b"long\n")
        .file("net", "etc/hosts", 0o644, b"127.0.0.1 localhost\n")
        .link("net", "etc/link", &"../".repeat(50));
    sample.write(manifest(&["net"])).1
}

fn refused_or_same(bytes: &[u8], whole: &Recorder, what: &str) -> bool {
    match record(bytes) {
        Ok(other) => {
            assert_eq!(&other, whole, "{what} was not noticed");
            false
        }
        Err(failure) => {
            let codes =
                [Code::ArchiveInvalid, Code::ArchiveTooLarge, Code::DigestMismatch, Code::ArchiveFormat];
            assert!(codes.contains(&failure.code), "{what}: {failure:?}");
            true
        }
    }
}

#[test]
fn an_archive_cut_at_any_byte_is_refused() {
    let plain = small();
    for whole in [gzip(&plain), plain] {
        record(&whole).unwrap();
        for end in 0..whole.len() {
            let failure = record(&whole[..end]).unwrap_err();
            assert_eq!(failure.code, Code::ArchiveInvalid, "cut at {end}: {failure}");
        }
    }
}

#[test]
fn a_flipped_bit_in_any_byte_is_found_or_changes_nothing() {
    let seed = 20_250_304;
    println!("seed {seed}");
    let mut numbers = Numbers(seed);
    let plain = small();
    for (kind, whole) in [("gzip", gzip(&plain)), ("plain", plain)] {
        let expected = record(&whole).unwrap();
        let mut refused = 0;
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << numbers.next(8);
            refused += usize::from(refused_or_same(&bytes, &expected, &format!("{kind} byte {at}")));
        }
        // Only a gzip header's time and name, and spaces for NUL, may change unnoticed.
        assert!(refused + 100 > whole.len(), "{kind}: {refused} of {} refused", whole.len());
    }
}

#[test]
fn random_blocks_never_do_more_than_be_refused() {
    let seed = 7;
    println!("seed {seed}");
    let mut numbers = Numbers(seed);
    let whole = small();
    let expected = record(&whole).unwrap();
    for round in 0..2_000 {
        let mut bytes = whole.clone();
        for _ in 0..=numbers.next(3) {
            let (from, to) = (numbers.next(bytes.len() as u64 / 512), numbers.next(bytes.len() as u64 / 512));
            let (from, to) = (from as usize * 512, to as usize * 512);
            match numbers.next(4) {
                0 => bytes.copy_within(from..from + 512, to),
                1 => drop(bytes.drain(from..from + 512)),
                2 => drop(bytes.splice(to..to, whole[from.min(whole.len() - 512)..][..512].to_vec())),
                _ => bytes[from..from + 512].fill_with(|| numbers.next(256) as u8),
            }
        }
        refused_or_same(&bytes, &expected, &format!("round {round}"));
    }
}
