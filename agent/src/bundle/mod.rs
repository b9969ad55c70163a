//! Bundles in the backup folder: what is in one, remembered as long as the file stays as it is, and the
//! way of archives out of it.

mod extract;

pub use extract::extract;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use reinstate_api::{BundleDetails, Code, Failure, NodeArchive};

use crate::archive::{self, Limits, Manifest, Packed};
use crate::files::{Folder, found};

/// Names that are told in one sentence.
const TOLD: usize = 8;

/// How much of a text from a manifest is kept, in characters.
const KEPT: usize = 255;

/// One archive of a bundle, and what its manifest says.
#[derive(Clone, Debug)]
pub struct Inner {
    pub packed: Packed,
    /// Why it is no readable archive, where it is none.
    pub about: Result<NodeArchive, Failure>,
}

impl Inner {
    fn entry(&self) -> NodeArchive {
        let Packed { file, bytes, .. } = &self.packed;
        match &self.about {
            Ok(about) => about.clone(),
            Err(failure) => NodeArchive {
                file: file.clone(),
                bytes: *bytes,
                problem: failure.message.clone(),
                ..NodeArchive::default()
            },
        }
    }
}

/// The archives of one bundle, in its order.
pub type Contents = Arc<Vec<Inner>>;

/// What was found, and in which file.
type Known = (Identity, Result<Contents, Failure>);

/// The bundles that were looked into. A bundle is one compressed stream, so that looking into it takes
/// reading all of it; it is done once for as long as the file stays as it is.
#[derive(Default)]
pub struct Bundles {
    known: Mutex<BTreeMap<String, Known>>,
}

impl Bundles {
    /// What is in a bundle that is whole, its own checksum included.
    ///
    /// # Errors
    /// `not-found`, and as [`archive::read_bundle`].
    pub fn look(&self, backups: &Folder, file: &str, limits: &Limits) -> Result<Contents, Failure> {
        let input = open(backups, file)?;
        let before = Identity::of(&input)?;
        // Held while reading: whoever asks for the same meanwhile gets what the first has found.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, contents)) = known.get(file).filter(|(identity, _)| *identity == before) {
            return contents.clone();
        }
        let contents = contents(&input, limits).map(Arc::new).map_err(|failure| named(file, &failure));
        let passing = contents.as_ref().is_err_and(|failure| failure.code == Code::Io);
        if !passing && Identity::of(&input)? == before {
            known.insert(file.to_owned(), (before, contents.clone()));
        }
        contents
    }

    /// What a listing shows of a bundle; as [`Bundles::look`].
    pub fn details(&self, backups: &Folder, file: &str, limits: &Limits) -> Result<BundleDetails, Failure> {
        let archives = self.look(backups, file, limits)?.iter().map(Inner::entry).collect();
        Ok(BundleDetails { cluster: cluster(file), archives })
    }

    /// Forgets the bundles that `is_there` does not know.
    pub fn forget_others(&self, is_there: impl Fn(&str) -> bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|file, _| is_there(file));
    }
}

/// What a restore says that was given a bundle, whole and in the backup folder by then.
pub fn refusal(file: &str, archives: &[String]) -> Failure {
    let of = match cluster(file) {
        cluster if cluster.is_empty() => String::new(),
        cluster => format!(" of the cluster {cluster}"),
    };
    Failure::new(Code::ArchiveBundle, format!("{file} is a bundle{of} with the archives {}", list(archives)))
        .hint(format!("`backup extract {file} NODE` takes one out of it; then restore that"))
}

fn cluster(file: &str) -> String {
    archive::cluster_in_name(file).unwrap_or_default().to_owned()
}

/// Names in a sentence, not more than are read.
fn list(names: &[impl AsRef<str>]) -> String {
    let told: Vec<_> = names.iter().take(TOLD).map(AsRef::as_ref).collect();
    let more = names.len() - told.len();
    match more {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

fn open(backups: &Folder, file: &str) -> Result<File, Failure> {
    found(backups.open_file(file))?.ok_or_else(|| {
        Failure::new(Code::NotFound, format!("there is no bundle '{file}' in /var/sf/backup"))
            .hint("`show backups` lists those that are there")
    })
}

fn contents(input: &File, limits: &Limits) -> Result<Vec<Inner>, Failure> {
    let mut abouts = Vec::new();
    let input = BufReader::with_capacity(archive::BUFFER, input);
    let packed = archive::read_bundle(input, limits, &mut |name, bytes, content| {
        abouts.push(archive::read_manifest(content, limits).map(|manifest| about(name, bytes, &manifest)));
        Ok(())
    })?;
    Ok(packed.into_iter().zip(abouts).map(|(packed, about)| Inner { packed, about }).collect())
}

fn about(file: &str, bytes: u64, manifest: &Manifest) -> NodeArchive {
    let kept = |text: &str| text.chars().take(KEPT).collect();
    NodeArchive {
        file: file.to_owned(),
        bytes,
        hostname: kept(&manifest.device.hostname),
        uuid: kept(&manifest.device.uuid),
        role: manifest.device.role,
        created: Some(manifest.created),
        version: kept(&manifest.software.version),
        build: kept(&manifest.software.build),
        problem: String::new(),
    }
}

/// The reader does not know the file's name.
fn named(file: &str, failure: &Failure) -> Failure {
    let hint = match failure.code {
        Code::ArchiveInvalid => "bring the bundle here again, or take another one",
        _ => &failure.hint,
    };
    Failure::new(failure.code, format!("the bundle {file}: {}", failure.message)).hint(hint)
}

/// Whatever is written to a file, or takes its place, has another one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(file: &File) -> Result<Self, Failure> {
        let meta = file.metadata().map_err(|e| Failure::io("cannot examine the bundle", &e))?;
        Ok(Self {
            file: (meta.dev(), meta.ino()),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_cluster_and_not_more_archives_than_are_read() {
        let names: Vec<_> = (0..10).map(|n| format!("n{n}_data_20260105080000.tar")).collect();
        let failure = refusal("edge.20260105080000.tar.gz", &names);
        assert!(failure.message.contains("of the cluster edge with"), "{failure}");
        assert!(failure.message.ends_with("n7_data_20260105080000.tar and 2 more"), "{failure}");
        let failure = refusal("x.tar", &names[..1]);
        assert_eq!(failure.message, "x.tar is a bundle with the archives n0_data_20260105080000.tar");
    }
}
