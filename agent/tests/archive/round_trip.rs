//! What is written is read, by this agent and by the tools that every admin has.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use reinstate_agent::archive::{Limits, Manifest, read, read_manifest, write};
use reinstate_agent::tree::Entry;
use reinstate_api::{Code, Failure};

use crate::sample::{Recorder, archive, gzip, manifest, record, sample};

fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn everything_written_is_read_again() {
    let sample = sample();
    let (manifest, bytes) = archive();
    for bytes in [gzip(&bytes), bytes] {
        let recorder = record(&bytes).unwrap();
        assert_eq!(recorder.manifest.as_ref(), Some(&manifest));
        assert_eq!(recorder.index(), sample.index);
        assert_eq!(recorder.contents, sample.contents);
        assert_eq!(read_manifest(&bytes[..], &Limits::default()).unwrap(), manifest);
        let sums = recorder.sums.unwrap();
        for (domain, entry) in sample.index.iter().filter(|(_, entry)| entry.is_file()) {
            assert!(sums.get(domain, &entry.path).is_some(), "{}", entry.path);
        }
    }
    assert_eq!(manifest.totals(), sample.index.totals());
    assert_eq!(manifest.domain("vpn").unwrap().files, 0);
}

#[test]
fn the_same_configuration_makes_the_same_bytes() {
    assert_eq!(archive(), archive());
}

#[test]
fn the_ha_domain_comes_first() {
    let recorder = record(&archive().1).unwrap();
    let mut domains: Vec<_> = recorder.entries.into_iter().map(|(domain, _)| domain).collect();
    domains.dedup();
    assert_eq!(domains, ["ha", "firewall", "pki", "system"]);
}

#[test]
fn the_details_shown_are_those_of_the_manifest() {
    let (manifest, _) = archive();
    let details = manifest.details("fw-a_primary_20250304050607.tar");
    assert_eq!((details.bytes, details.files), sample().index.totals());
    assert_eq!(details.device.hostname, "fw-a");
}

#[test]
fn tar_lists_and_unpacks_it_and_sha256sum_accepts_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("a.tar"), archive().1).unwrap();
    let listing = run("tar", &["tvf", "a.tar"], at);
    assert_eq!(listing.lines().count(), sample().index.iter().count() + 2);
    let key = listing.lines().find(|line| line.contains("a key.pem")).unwrap();
    assert!(key.starts_with("-r--------") && key.contains("root/root"), "{key}");
    assert!(key.contains("70001 2025-03-04 05:06"), "{key}");
    assert!(listing.contains("config/system/etc/localtime -> /usr/share/zoneinfo/UTC"), "{listing}");

    run("tar", &["xpf", "a.tar"], at);
    let checked = run("sha256sum", &["-c", "--strict", "SHA256SUMS"], at);
    assert_eq!(checked.lines().count() as u64, sample().index.totals().1);
    for ((domain, path), content) in &sample().contents {
        assert_eq!(&std::fs::read(at.join("config").join(domain).join(path)).unwrap(), content, "{path}");
    }
}

#[test]
fn an_archive_that_tar_packed_again_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("a.tar"), archive().1).unwrap();
    run("tar", &["xpf", "a.tar"], at);
    let whole = ["manifest.toml", "SHA256SUMS", "config"];
    let owners = ["--owner=root", "--group=root"];
    for format in ["--format=pax", "--format=gnu"] {
        for compress in ["--no-auto-compress", "--gzip"] {
            let arguments = [&["cf", "b.tar", format, compress][..], &owners, &whole].concat();
            run("tar", &arguments, at);
            let recorder = record(&std::fs::read(at.join("b.tar")).unwrap()).unwrap();
            assert_eq!(recorder.index(), sample().index, "{format} {compress}");
            assert_eq!(recorder.contents, sample().contents, "{format} {compress}");
        }
    }
}

#[test]
fn an_archive_through_a_pipe_in_small_pieces_is_read() {
    /// One byte at a time, interrupted in between.
    struct Drip<'a>(&'a [u8], bool);
    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            let most = buffer.len().min(1);
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(&mut buffer[..most]) }
        }
    }
    let (manifest, bytes) = archive();
    for bytes in [gzip(&bytes), bytes] {
        let read = read(BufReader::new(Drip(&bytes, false)), &Limits::default(), &mut Recorder::default());
        assert_eq!(read.unwrap(), manifest);
    }
}

#[test]
fn a_failure_of_the_stream_comes_out_as_it_was() {
    struct Broken<'a>(&'a [u8]);
    impl Read for Broken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other(Failure::new(Code::ConnectionLost, "the server went away"))),
                count => Ok(count),
            }
        }
    }
    let bytes = archive().1;
    for bytes in [gzip(&bytes), bytes] {
        for end in [0, 1, 100, bytes.len() / 2, bytes.len() - 1] {
            let stream = BufReader::new(Broken(&bytes[..end]));
            let failure = read(stream, &Limits::default(), &mut Recorder::default()).unwrap_err();
            assert_eq!(failure.code, Code::ConnectionLost, "{end}: {failure}");
        }
    }
}

fn write_with(content: &'static [u8]) -> Failure {
    let sample = crate::sample::Sample::default().file("net", "etc/hosts", 0o644, b"twelve bytes");
    let mut open = |_: &str, _: &Entry| Ok(Box::new(content) as Box<dyn Read>);
    write(io::sink(), manifest(&["net"]), &sample.index, &mut open).unwrap_err()
}

#[test]
fn a_file_that_changes_while_it_is_written_ends_the_writing() {
    for (content, says) in [
        (&b"twelve bytez"[..], "SHA-256"),
        (b"short", "only 5 bytes, the index says 12"),
        (b"twelve bytes and more", "more than 12 bytes, the index says 12"),
    ] {
        let failure = write_with(content);
        assert_eq!(failure.code, Code::DigestMismatch);
        assert!(failure.message.contains(says), "{failure}");
        assert!(failure.message.contains("config/net/etc/hosts"), "{failure}");
    }
}

#[test]
fn what_the_reader_would_refuse_is_not_written() {
    let refuse = |change: fn(&mut Entry), manifest: Manifest, says: &str| {
        let sample = crate::sample::Sample::default().link("net", "etc/link", "hosts");
        let mut index = sample.index.clone();
        let mut entry = index.iter().next().unwrap().1.clone();
        change(&mut entry);
        index.insert("net", entry);
        let mut open = |_: &str, _: &Entry| Ok(Box::new(io::empty()) as Box<dyn Read>);
        let failure = write(io::sink(), manifest, &index, &mut open).unwrap_err();
        assert_eq!(failure.code, Code::ArchiveInvalid);
        assert!(failure.message.contains(says), "{failure}");
    };
    let net = || manifest(&["net"]);
    refuse(|entry| entry.owner = "Domain Users".into(), net(), "'Domain Users' is no owner's name");
    refuse(|entry| entry.mode = 0o755, net(), "mode 755, not 777");
    refuse(
        |entry| entry.kind = reinstate_agent::tree::EntryKind::Folder,
        manifest(&[]),
        "'net' is not in the manifest",
    );
    let four = |entry: &mut Entry| {
        entry.kind = reinstate_agent::tree::EntryKind::Folder;
        entry.mode = 0o4755;
    };
    refuse(four, net(), "mode 4755, not at most 777");
    let target = |entry: &mut Entry| {
        entry.kind = reinstate_agent::tree::EntryKind::Link { target: "a\nb".into() };
    };
    refuse(target, net(), "is no path");
    refuse(|_| {}, manifest(&["net", "net"]), "'net' twice");
}

/// Just the reading of a stream by real gzip, which other packers of archives use.
#[test]
fn an_archive_that_gzip_compressed_is_read() {
    let mut child =
        Command::new("gzip").arg("-9").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&archive().1).unwrap());
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(record(&bytes).unwrap().index(), sample().index);
}
