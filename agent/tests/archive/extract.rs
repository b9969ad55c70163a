//! Archives out of a bundle in a backup folder: whole, and all that were asked for or none.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reinstate_agent::archive::Limits;
use reinstate_agent::bundle::{Bundles, extract};
use reinstate_agent::files::{Direct, Folder, Step, Steps};
use reinstate_api::{Code, Extracted, Failure, Role};
use tempfile::TempDir;

use crate::build::{Member, member};
use crate::bundle::{A, B, packed, tar};
use crate::sample::{archive, gzip, manifest, sample};

const BUNDLE: &str = "edge.20260105080000.tar.gz";

/// A backup folder with a bundle of a and b.
struct Place {
    folder: TempDir,
    bundles: Bundles,
}

impl Place {
    fn new() -> Self {
        Self::with(&[packed(A), member(B, b'0', &gzip(&archive().1))])
    }

    fn with(members: &[Member]) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), bundles: Bundles::default() };
        place.put(BUNDLE, &gzip(&tar(members)));
        place
    }

    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn backups(&self) -> Folder {
        self.backups_by(Arc::new(Direct))
    }

    fn backups_by(&self, steps: Arc<dyn Steps>) -> Folder {
        Folder::open(self.folder.path(), steps).unwrap()
    }

    fn extract(&self, node: Option<&str>) -> Result<Extracted, Failure> {
        extract(&self.bundles, &self.backups(), BUNDLE, node, &Limits::default())
    }

    /// Refused, with everything in the folder as it was.
    fn refused(&self, node: Option<&str>, code: Code, says: &[&str]) {
        let before = self.files();
        let failure = self.extract(node).unwrap_err();
        assert_eq!(failure.code, code, "{failure}");
        for part in says {
            assert!(failure.message.contains(part), "'{part}' is not in: {failure}");
        }
        assert!(!failure.hint.is_empty(), "no way on: {failure}");
        assert_eq!(self.files(), before);
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.folder.path()).unwrap().map(Result::unwrap);
        entries
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect()
    }

    fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }
}

fn files(extracted: &Extracted) -> (Vec<&str>, Vec<&str>) {
    (
        extracted.files.iter().map(|created| created.file.as_str()).collect(),
        extracted.there.iter().map(|created| created.file.as_str()).collect(),
    )
}

#[test]
fn all_archives_come_out_byte_for_byte_and_once_more_is_no_error() {
    let place = Place::new();
    let done = place.extract(None).unwrap();
    assert_eq!(files(&done), (vec![A, B], vec![]));
    assert_eq!(place.files()[A], archive().1);
    assert_eq!(place.files()[B], gzip(&archive().1));
    assert_eq!(place.names(), [A, B, BUNDLE]);
    let mode = fs::metadata(place.folder.path().join(A)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert_eq!(files(&place.extract(None).unwrap()), (vec![], vec![A, B]));
    fs::remove_file(place.folder.path().join(B)).unwrap();
    assert_eq!(files(&place.extract(None).unwrap()), (vec![B], vec![A]));
}

#[test]
fn a_node_is_meant_by_its_host_name_in_either_place_or_by_its_archives_name() {
    for node in ["b", B] {
        let place = Place::new();
        assert_eq!(files(&place.extract(Some(node)).unwrap()), (vec![B], vec![]));
        assert_eq!(place.names(), [B, BUNDLE]);
    }
    // The manifest of the sample says fw-a.
    let place = Place::with(&[packed(A), member(B, b'0', b"no archive")]);
    assert_eq!(files(&place.extract(Some("fw-a")).unwrap()), (vec![A], vec![]));
}

#[test]
fn a_node_that_is_not_there_or_there_twice_is_told_with_the_names() {
    Place::new().refused(Some("c"), Code::NotFound, &["'c'", A, B, BUNDLE]);
    Place::new().refused(Some("../a"), Code::NotFound, &["'../a'"]);
    let later = "a_control_20260106080000.tar";
    Place::with(&[packed(A), packed(later)]).refused(
        Some("a"),
        Code::BadRequest,
        &["2 archives of 'a'", A, later],
    );
}

#[test]
fn what_is_no_bundle_is_said() {
    let place = Place::new();
    let asked =
        |file: &str| extract(&place.bundles, &place.backups(), file, None, &Limits::default()).unwrap_err();
    assert_eq!(asked("none.tar").code, Code::NotFound);
    place.put(A, &archive().1);
    let failure = asked(A);
    assert_eq!(failure.code, Code::BadRequest);
    assert!(failure.message.contains(A) && failure.message.contains("not a bundle"), "{failure}");
    std::os::unix::fs::symlink(BUNDLE, place.folder.path().join("link.tar")).unwrap();
    assert_eq!(asked("link.tar").code, Code::Io);
}

#[test]
fn an_archive_that_cannot_be_read_is_left_in_the_bundle_and_the_others_can_be_taken() {
    let place = Place::with(&[packed(A), member(B, b'0', b"no archive")]);
    place.refused(None, Code::ArchiveInvalid, &[B, BUNDLE]);
    place.refused(Some("b"), Code::ArchiveInvalid, &[B]);
    place.extract(Some("a")).unwrap();
    assert_eq!(place.names(), [A, BUNDLE]);
    let inner = tar(&[packed(A)]);
    Place::with(&[packed(A), member(B, b'0', &inner)]).refused(Some("b"), Code::ArchiveBundle, &[B]);
}

#[test]
fn no_archive_is_replaced_by_another_of_its_name() {
    let place = Place::new();
    place.put(B, b"another");
    place.refused(None, Code::BackupExists, &[B, "7 bytes"]);
    let mut same_size = gzip(&archive().1);
    same_size[20] ^= 1;
    place.put(B, &same_size);
    place.refused(None, Code::BackupExists, &[B, "another content"]);
    place.extract(Some("a")).unwrap();
}

#[test]
fn a_damaged_bundle_gives_nothing() {
    let whole = gzip(&tar(&[packed(A), packed("b_data_20260105080000.tar")]));
    for change in [
        |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 9),
        |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1,
        |bytes: &mut Vec<u8>| bytes.push(0),
        |bytes: &mut Vec<u8>| {
            let crc = bytes.len() - 8;
            bytes[crc] ^= 1;
        },
    ] {
        let mut bytes = whole.clone();
        change(&mut bytes);
        let place = Place::new();
        place.put(BUNDLE, &bytes);
        place.refused(None, Code::ArchiveInvalid, &[BUNDLE]);
        place.refused(Some("a"), Code::ArchiveInvalid, &[BUNDLE]);
    }
}

#[test]
fn what_an_interrupted_download_has_left_is_not_gone_on_with() {
    let place = Place::new();
    place.put(&format!("{A}.part"), b"the beginning of something else, and longer than nothing");
    place.put(&format!(".{A}.part.toml"), b"size = 1");
    place.extract(Some("a")).unwrap();
    assert_eq!(place.names(), [A, BUNDLE]);
    assert_eq!(place.files()[A], archive().1);
}

/// Lets so many steps happen, and fails the next one as a full disk does.
struct Full(AtomicUsize);

impl Steps for Full {
    fn step(&self, step: Step<'_>, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if matches!(step, Step::Remove(_)) {
            return run();
        }
        match self.0.fetch_sub(1, Ordering::Relaxed) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            _ => run(),
        }
    }
}

#[test]
fn a_disk_that_is_full_at_any_step_leaves_nothing_behind() {
    let mut failed = 0;
    loop {
        let place = Place::new();
        let before = place.files();
        let backups = place.backups_by(Arc::new(Full(AtomicUsize::new(failed))));
        match extract(&place.bundles, &backups, BUNDLE, None, &Limits::default()) {
            Ok(_) => break,
            Err(failure) => assert_eq!(failure.code, Code::NoSpace, "step {failed}: {failure}"),
        }
        assert_eq!(place.files(), before, "step {failed}");
        failed += 1;
    }
    // Two files made, written, synced and named, and the folder.
    assert!(failed >= 9, "{failed} steps");
}

#[test]
fn a_bundle_that_changes_while_it_is_taken_apart_gives_nothing() {
    /// Writes another bundle as soon as the first archive is begun.
    struct Swap(std::path::PathBuf, Vec<u8>);
    impl Steps for Swap {
        fn step(&self, step: Step<'_>, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
            if let Step::Remove(_) = step {
                fs::write(&self.0, &self.1)?;
            }
            run()
        }
    }
    let other = sample().file("system", "etc/motd", 0o644, b"another\n");
    let other = other.write(manifest(&["firewall", "ha", "pki", "system", "vpn"])).1;
    for archives in [vec![member(A, b'0', &other)], vec![packed(B)]] {
        let place = Place::with(&[packed(A)]);
        // `forget` removes before the bundle is opened for the second time.
        place.put(&format!("{A}.part"), b"x");
        let swap = Swap(place.folder.path().join(BUNDLE), gzip(&tar(&archives)));
        let backups = place.backups_by(Arc::new(swap));
        let failure = extract(&place.bundles, &backups, BUNDLE, None, &Limits::default()).unwrap_err();
        assert_eq!(failure.code, Code::DigestMismatch, "{failure}");
        assert_eq!(place.names(), [BUNDLE]);
    }
}

#[test]
fn a_listing_says_what_each_manifest_says_and_notices_another_bundle() {
    let place = Place::with(&[packed(A), member(B, b'0', b"no archive")]);
    let details = || place.bundles.details(&place.backups(), BUNDLE, &Limits::default());
    let told = details().unwrap();
    assert_eq!(told.cluster, "edge");
    let [a, b] = &told.archives[..] else { panic!("{told:?}") };
    assert_eq!((a.file.as_str(), a.hostname.as_str(), a.role), (A, "fw-a", Role::Primary));
    assert_eq!((a.bytes, a.created), (archive().1.len() as u64, "2025-03-04T05:06:07Z".parse().ok()));
    assert_eq!((a.version.as_str(), a.build.as_str(), a.problem.as_str()), ("7.4.1", "172", ""));
    assert_eq!((b.file.as_str(), b.bytes), (B, 10));
    assert!(b.problem.contains("ends at byte"), "{b:?}");
    assert_eq!(details().unwrap(), told);
    // Of the same length, in the same second.
    let mut bytes = place.files()[BUNDLE].clone();
    *bytes.last_mut().unwrap() ^= 1;
    place.put(BUNDLE, &bytes);
    assert_eq!(details().unwrap_err().code, Code::ArchiveInvalid);
}
