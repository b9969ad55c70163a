//! A cluster's bundle, and each rule of it broken alone.

use reinstate_agent::archive::{Limits, MAX_PACKED, Packed, read, read_bundle, read_manifest};
use reinstate_agent::tree::Digest;
use reinstate_api::{Code, Failure};

use crate::build::{Block, Member, folder, gnu_long, link, member, pax, pax_record, put, seal};
use crate::sample::{Numbers, Recorder, archive, gzip, pattern};

pub const A: &str = "a_control_20260105080000.tar";
pub const B: &str = "b_data_20260105080000.tar.gz";

/// A tar of these members.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(Member::bytes).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// An archive in a bundle.
pub fn packed(name: impl AsRef<[u8]>) -> Member {
    member(name, b'0', &archive().1)
}

fn good() -> Vec<Member> {
    vec![packed(A), member(B, b'0', &gzip(&archive().1))]
}

/// Every content, as far as the reader gave it.
fn contents(bytes: &[u8]) -> Result<(Vec<Packed>, Vec<Vec<u8>>), Failure> {
    let mut contents = Vec::new();
    let packed = read_bundle(bytes, &Limits::default(), &mut |_, _, content| {
        let mut all = Vec::new();
        content.read_to_end(&mut all).map_err(|error| Failure::io("cannot read", &error))?;
        contents.push(all);
        Ok(())
    })?;
    Ok((packed, contents))
}

fn refused(bytes: &[u8], says: &[&str]) {
    let failure = contents(bytes).expect_err("the bundle was accepted");
    assert_eq!(failure.code, Code::ArchiveInvalid, "{failure}");
    for part in says {
        assert!(failure.message.contains(part), "'{part}' is not in: {failure}");
    }
    // Whoever passes over what is in it, hears the same.
    let passed = read_bundle(bytes, &Limits::default(), &mut |_, _, _| Ok(()));
    assert_eq!(passed.unwrap_err(), failure);
    // And a restore does, where it begins as a bundle does.
    if bytes.starts_with(A.as_bytes()) {
        assert_eq!(read(bytes, &Limits::default(), &mut Recorder::default()).unwrap_err(), failure);
    }
}

/// A good archive, and then this.
fn refused_second(second: Member, says: &[&str]) {
    refused(&tar(&[packed(A), second]), says);
}

#[test]
fn a_bundle_gives_its_archives_byte_for_byte() {
    let whole = tar(&good());
    for bytes in [gzip(&whole), whole] {
        let (packed, contents) = contents(&bytes).unwrap();
        assert_eq!(packed.iter().map(|one| one.file.as_str()).collect::<Vec<_>>(), [A, B]);
        for (packed, (member, content)) in packed.iter().zip(good().iter().zip(&contents)) {
            assert_eq!(content, &member.content);
            assert_eq!((packed.bytes, packed.sha256), (content.len() as u64, Digest::of(content)));
            read_manifest(&content[..], &Limits::default()).unwrap();
        }
    }
}

#[test]
fn a_bundle_is_told_from_an_archive_by_its_first_member() {
    let whole = tar(&good());
    for bytes in [gzip(&whole), whole] {
        let failure = read_manifest(&bytes[..], &Limits::default()).unwrap_err();
        assert_eq!(failure.code, Code::ArchiveBundle);
        assert!(failure.hint.contains("backup extract"), "{failure:?}");
        let mut recorder = Recorder::default();
        let failure = read(&bytes[..], &Limits::default(), &mut recorder).unwrap_err();
        assert_eq!((failure.code, recorder), (Code::ArchiveBundle, Recorder::default()));
    }
    let failure = contents(&archive().1).unwrap_err();
    assert_eq!(failure.code, Code::BadRequest);
    assert!(failure.message.contains("an archive, not a bundle"), "{failure}");
}

#[test]
fn to_whom_archives_belonged_elsewhere_means_nothing() {
    for owner in ["", "Domain Users", "0"] {
        let nobodys = Member { owner: owner.into(), group: owner.into(), ..packed(A) };
        contents(&tar(&[nobodys])).unwrap();
    }
    let unnamed = Member { owner: String::new(), ..member("manifest.toml", b'0', b"") };
    let failure = read_manifest(&tar(&[unnamed])[..], &Limits::default()).unwrap_err();
    assert!(failure.message.contains("has the owner name ''"), "{failure}");
}

#[test]
fn only_names_of_archives_are_taken_and_none_that_is_a_path() {
    for name in [
        "../x_control_20260105080000.tar",
        "/x_control_20260105080000.tar",
        "./x_control_20260105080000.tar",
        "nodes/x_control_20260105080000.tar",
        "..\\x_control_20260105080000.tar",
        ".x_control_20260105080000.tar",
        "-x_control_20260105080000.tar",
        "x_control_20260105080000.tar/",
        "x_control_20260105080000.tar.part",
        "x\n_control_20260105080000.tar",
        "x.tar",
        "answers.toml",
        "manifest.toml",
        ".",
    ] {
        refused_second(packed(name), &["is no archive's name"]);
        // Said in an extended header, over a name that is good.
        refused_second(packed(B).after(pax(pax_record("path", name))), &["is no archive's name"]);
        refused_second(packed(B).after(gnu_long(b'L', name)), &["is no archive's name"]);
    }
    refused(&tar(&[packed("../x_control_20260105080000.tar")]), &["is no archive's name"]);
}

#[test]
fn only_files_are_taken() {
    refused_second(link(B, A), &["is not a file"]);
    refused_second(link(B, "/etc/shadow"), &["is not a file"]);
    refused_second(folder(B), &["is not a file"]);
    refused_second(folder("nodes/"), &["is no archive's name"]);
    for (flag, says) in [
        (b'1', "a hard link"),
        (b'3', "a character device"),
        (b'6', "a FIFO"),
        (b'S', "a sparse file"),
        (b'g', "a global pax header"),
        (0, "of the old kind"),
    ] {
        refused_second(member(B, flag, b""), &[says]);
    }
    refused(&tar(&[link(A, "/etc/shadow")]), &["is not a file"]);
}

#[test]
fn an_archive_comes_once() {
    refused(&tar(&[packed(A), packed(B), packed(A)]), &["comes a second time", A]);
    refused_second(packed(B).after(pax(pax_record("path", A))), &["comes a second time"]);
}

#[test]
fn a_bundle_without_an_archive_is_refused() {
    refused(&tar(&[]), &["holds no archive"]);
    refused(b"", &["ends at byte 0"]);
    refused(&gzip(b""), &["ends at byte 0"]);
}

#[test]
fn archives_are_counted() {
    let many = |count: usize| -> Vec<u8> {
        tar(&(0..count)
            .map(|n| member(format!("n{n}_data_20260105080000.tar"), b'0', b"x"))
            .collect::<Vec<_>>())
    };
    assert_eq!(contents(&many(MAX_PACKED)).unwrap().0.len(), MAX_PACKED);
    let failure = contents(&many(MAX_PACKED + 1)).unwrap_err();
    assert_eq!(failure.code, Code::ArchiveTooLarge);
    assert!(failure.message.contains("archive 65 of the bundle, of at most 64"), "{failure}");
}

#[test]
fn a_bundle_larger_than_the_limit_is_refused_before_the_excess_is_read() {
    let limits = Limits { bytes: 100, ..Limits::default() };
    let two = [member(A, b'0', &[b'x'; 60]), member(B, b'0', &[b'x'; 41])];
    let mut taken = Vec::new();
    let mut take = |name: &str, bytes: u64, _: &mut dyn std::io::BufRead| -> Result<(), Failure> {
        taken.push((name.to_owned(), bytes));
        Ok(())
    };
    let failure = read_bundle(&tar(&two)[..], &limits, &mut take).unwrap_err();
    assert_eq!((failure.code, taken), (Code::ArchiveTooLarge, vec![(A.to_owned(), 60)]));
    assert!(failure.message.contains("101, of at most 100"), "{failure}");
    // Sizes that overflow when added: of pax records alone.
    let huge = |name: &str| {
        let header: fn(&mut Block) = |block| put(block, 124, b"00000000000");
        member(name, b'0', b"").after(pax(pax_record("size", &u64::MAX.to_string()))).change(header)
    };
    let failure = contents(&tar(&[member(A, b'0', b"x"), huge(B)])).unwrap_err();
    assert_eq!(failure.code, Code::ArchiveTooLarge, "{failure}");
}

#[test]
fn a_compressed_flood_ends_at_the_limit() {
    let header: fn(&mut Block) = |block| put(block, 124, b"77777777777");
    let flood = member(A, b'0', b"").change(header);
    let mut bytes = flood.bytes();
    bytes.resize(bytes.len() + (64 << 20), 0);
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let failure = read_bundle(&gzip(&bytes)[..], &limits, &mut |_, _, _| panic!("it is taken")).unwrap_err();
    assert_eq!(failure.code, Code::ArchiveTooLarge);
    let mut bytes = tar(&good());
    bytes.resize(bytes.len() + (64 << 20), 0);
    refused(&gzip(&bytes), &["more than 1048576 zero bytes"]);
}

#[test]
fn nothing_comes_behind_the_end() {
    let whole = tar(&good());
    refused(&[&whole[..], b"x"].concat(), &["goes on behind its end"]);
    refused(&[whole.clone(), packed("c_data_20260105080000.tar").bytes()].concat(), &["behind its end"]);
    let packed = gzip(&whole);
    for behind in [&b"x"[..], &[0; 512], &gzip(b""), &packed] {
        refused(&[&packed, behind].concat(), &["compressed archive goes on behind its end"]);
    }
    let mut padded = packed_with_padding();
    padded[512 + 3] = 1;
    refused(&padded, &["padding behind member"]);
}

/// One archive of three bytes, so that the fourth is padding.
fn packed_with_padding() -> Vec<u8> {
    tar(&[member(A, b'0', b"abc")])
}

#[test]
fn a_wrong_checksum_or_length_of_gzip_is_refused() {
    let whole = gzip(&tar(&good()));
    for at in 1..=8 {
        let mut bytes = whole.clone();
        let at = bytes.len() - at;
        bytes[at] ^= 0x10;
        refused(&bytes, &["compressed archive is damaged"]);
    }
}

#[test]
fn a_bundle_cut_anywhere_is_refused() {
    let plain = tar(&[member(A, b'0', &pattern(700)), member(B, b'0', b"x")]);
    for whole in [gzip(&plain), plain] {
        contents(&whole).unwrap();
        for end in 0..whole.len() {
            let failure = contents(&whole[..end]).expect_err("cut");
            assert_eq!(failure.code, Code::ArchiveInvalid, "cut at {end}: {failure}");
        }
    }
}

#[test]
fn random_blocks_never_do_more_than_be_refused() {
    let seed = 11;
    println!("seed {seed}");
    let mut numbers = Numbers(seed);
    let whole = tar(&[
        packed(A).after(pax(pax_record("mtime", "1700000000.5"))),
        member(B, b'0', &pattern(1300)),
        member("c_data_20260105080000.tar", b'0', b""),
    ]);
    let mut refused = 0;
    for _ in 0..2_000 {
        let mut bytes = whole.clone();
        for _ in 0..=numbers.next(3) {
            let at = numbers.next(bytes.len() as u64 / 512) as usize * 512;
            match numbers.next(3) {
                0 => bytes[at + numbers.next(512) as usize] ^= 1 << numbers.next(8),
                1 => drop(bytes.drain(at..at + 512)),
                _ => {
                    let mut block: Block = bytes[at..at + 512].try_into().unwrap();
                    block[numbers.next(512) as usize] = numbers.next(256) as u8;
                    seal(&mut block);
                    bytes[at..at + 512].copy_from_slice(&block);
                }
            }
        }
        match contents(&bytes) {
            Ok((packed, _)) => {
                for one in packed {
                    assert!(!one.file.contains('/') && !one.file.starts_with('.'), "{one:?}");
                }
            }
            Err(failure) => {
                let codes = [Code::ArchiveInvalid, Code::ArchiveTooLarge, Code::BadRequest];
                assert!(codes.contains(&failure.code), "{failure:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 500, "{refused} refused");
}
