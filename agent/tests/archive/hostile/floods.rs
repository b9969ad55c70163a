//! More than any appliance has: refused by count or size, before much of it is read or kept.

use std::io::{BufReader, Read};

use reinstate_agent::archive::{BUFFER, Limits, read};
use reinstate_agent::tree::Digest;
use reinstate_api::{Code, Failure};

use super::{good, refused};
use crate::build::{Block, Member, Parts, file, folder, link, member, put};
use crate::sample::{Recorder, gzip, record, record_with};

const MILLION: u64 = 1_000_000;

/// Makes an archive's bytes as they are asked for, and counts them.
struct Stream<I> {
    pieces: I,
    piece: std::io::Cursor<Vec<u8>>,
    made: u64,
}

impl<I: Iterator<Item = Vec<u8>>> Read for Stream<I> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let count = self.piece.read(buffer)?;
            if count > 0 {
                self.made += count as u64;
                return Ok(count);
            }
            match self.pieces.next() {
                Some(piece) => self.piece = std::io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

/// What is refused of such a stream, how many of its bytes were taken, and how many entries the receiver got.
fn flooded(pieces: impl Iterator<Item = Vec<u8>>) -> (Failure, u64, usize) {
    let mut stream = Stream { pieces, piece: std::io::Cursor::default(), made: 0 };
    let mut recorder = Recorder::default();
    let input = BufReader::with_capacity(BUFFER, &mut stream);
    let failure = read(input, &Limits::default(), &mut recorder).unwrap_err();
    (failure, stream.made, recorder.entries.len())
}

fn small_file(number: u64) -> Member {
    member(format!("config/net/{number:07}"), b'0', b"")
}

fn first_members(parts: &Parts) -> Vec<u8> {
    [parts.manifest.bytes(), parts.sums.bytes()].concat()
}

fn too_large(failure: &Failure, says: &str) {
    assert_eq!(failure.code, Code::ArchiveTooLarge, "{failure}");
    assert!(failure.message.contains(says), "'{says}' is not in: {failure}");
}

#[test]
fn a_million_files_are_refused_by_the_manifest_before_one_is_read() {
    let count = |text: &mut String| *text = text.replace("files = 1\n", &format!("files = {MILLION}\n"));
    let first = first_members(&Parts::with(vec![good()], count, |_| {}));
    let flood = std::iter::once(first).chain((0..MILLION).map(|number| small_file(number).bytes()));
    let (failure, made, entries) = flooded(flood);
    too_large(&failure, "files of configuration: 1000000, of at most 100000");
    assert_eq!((made <= BUFFER as u64, entries), (true, 0), "{made} bytes");
}

#[test]
fn a_million_files_that_the_manifest_conceals_are_refused_by_the_size_of_their_list() {
    let huge = |block: &mut Block| put(block, 124, format!("{:011o}", 130 * MILLION).as_bytes());
    let manifest = Parts::of(vec![good()]).manifest.bytes();
    let list = member("SHA256SUMS", b'0', b"").change(huge).bytes();
    let lines = (0..MILLION).map(|number| format!("{}  config/net/{number}\n", Digest::of(b"")).into_bytes());
    let (failure, made, _) = flooded([manifest, list].into_iter().chain(lines));
    too_large(&failure, "bytes of 'SHA256SUMS': 130000000, of at most 16777216");
    assert!(made <= BUFFER as u64, "{made} bytes");
}

#[test]
fn more_members_than_the_limit_are_refused_by_their_list() {
    let list = |text: &mut String| {
        let digest = Digest::of(b"");
        let digests: String = (0..110_000).map(|n| format!("{digest}  config/net/{n:07}\n")).collect();
        let comments = (0..110_000).map(|n| format!("# file\t0644\troot\troot\t0\tconfig/net/{n:07}\n"));
        *text = digests + &comments.collect::<String>();
    };
    let parts = Parts::with(vec![good()], |_| {}, list);
    let (failure, _, entries) = flooded(std::iter::once(first_members(&parts)));
    too_large(&failure, "100001, of at most 100000");
    assert_eq!(entries, 0);
}

#[test]
fn a_million_members_that_are_not_listed_are_refused_at_the_first() {
    let parts = Parts::of(vec![good()]);
    let first = [first_members(&parts), parts.members[0].bytes()].concat();
    let member = |name: String, kind| match kind {
        0 => file(name),
        1 => folder(name),
        _ => link(name, "x"),
    };
    for kind in 0..3 {
        let members = (0..MILLION).map(|number| member(format!("config/net/{number:07}"), kind).bytes());
        let (failure, made, entries) = flooded(std::iter::once(first.clone()).chain(members));
        assert_eq!(failure.code, Code::ArchiveInvalid, "{failure}");
        assert!(failure.message.contains("'config/net/0000000' is not listed"), "{failure}");
        assert_eq!((made <= BUFFER as u64, entries), (true, 1), "{made} bytes");
    }
}

#[test]
fn folders_that_are_only_implied_count_too() {
    // Few files, each in folders of its own down to the deepest level.
    let deep = |number| member(format!("config/net/{number}{}", "/d".repeat(31)), b'0', b"");
    let files = 100_000 / 32 + 1;
    let parts = Parts::of((0..files).map(deep).collect());
    let (failure, _, entries) = flooded(std::iter::once(first_members(&parts)));
    too_large(&failure, "with the folders above them: 100032, of at most 100000");
    assert_eq!(entries, 0);
    let most = Parts::of((0..files - 1).map(deep).collect());
    record(&most.bytes()).unwrap();
}

#[test]
fn an_implied_folder_counts_once_and_a_listed_one_is_not_implied() {
    let members = || {
        vec![
            file("config/net/a-b/x"),
            folder("config/net/b"),
            file("config/net/b/c/x"),
            file("config/net/a/x"),
        ]
    };
    let bytes =
        Parts::of([members(), vec![file("config/net/a/y"), file("config/net/b/c/y")]].concat()).bytes();
    // Six listed, and a, a-b and b/c.
    let limits = |files| Limits { files, ..Limits::default() };
    record_with(&bytes, &limits(9)).unwrap();
    too_large(&record_with(&bytes, &limits(8)).unwrap_err(), "9, of at most 8");
}

#[test]
fn a_gzip_header_without_end_is_refused_soon() {
    for (flags, byte) in [(0x08, b'n'), (0x10, b'c')] {
        let header = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
        let endless = (0..1 << 20).map(|_| vec![byte; 1024]);
        let (failure, made, _) = flooded(std::iter::once(header).chain(endless));
        assert_eq!(failure.code, Code::ArchiveInvalid, "{failure}");
        assert!(made <= 4 * BUFFER as u64, "{made} bytes");
    }
}

#[test]
fn an_archive_in_many_gzip_members_is_refused_where_the_first_ends() {
    let whole = Parts::of(vec![good()]).bytes();
    let many = whole.chunks(512).map(gzip);
    let (failure, _, entries) = flooded(many);
    assert_eq!((failure.code, entries), (Code::ArchiveInvalid, 0), "{failure}");
    let empty = std::iter::repeat_with(|| gzip(b"")).take(10_000);
    refused(&empty.chain([gzip(&whole)]).collect::<Vec<_>>().concat(), &["ends at byte 0"]);
}
