//! What must hold of whatever comes from outside: a function for each target of `tests/fuzz`, which takes
//! any bytes and panics where the promise is not kept.

mod api;
mod archive;
mod endpoint;
mod mend;
mod profile;
mod scp;
mod shell;
mod state;
mod texts;

pub use api::api;
pub use archive::archive;
pub use endpoint::endpoint;
pub use profile::{domains, profile};
pub use scp::scp;
pub use shell::shell;
pub use state::state;
pub use texts::{manifest, sums};

use std::path::{Path, PathBuf};

use reinstate_agent::archive::Limits;
use reinstate_agent::dropin::DropIn;
use reinstate_api::{Code, Failure, one_line};

/// A target's name, and what takes its bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("api", api),
    ("archive", archive),
    ("domains", domains),
    ("endpoint", endpoint),
    ("manifest", manifest),
    ("profile", profile),
    ("scp", scp),
    ("shell", shell),
    ("state", state),
    ("sums", sums),
];

/// The folder of `tests/fuzz` with a folder of inputs for each target.
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// Small enough to be met by an input of a few kilobytes.
const LIMITS: Limits = Limits { bytes: 64 << 10, files: 24, depth: 6, manifest: 8 << 10, sums: 8 << 10 };

/// What an archive is refused with: everything else would be the machine's fault, or ours.
const REFUSALS: [Code; 4] =
    [Code::ArchiveInvalid, Code::ArchiveFormat, Code::ArchiveTooLarge, Code::DigestMismatch];

/// A refusal has one of these codes, and a sentence that is safe to show.
#[track_caller]
fn refused(failure: &Failure, codes: &[Code]) {
    assert!(codes.contains(&failure.code), "{}: {failure}", failure.code);
    assert!(!failure.message.is_empty());
    for text in [&failure.message, &failure.hint] {
        assert_eq!(&one_line(text), text);
    }
}

/// Files of a folder, from one input: lines of `%` stand between them.
fn files(input: &[u8]) -> Option<Vec<DropIn>> {
    let text = std::str::from_utf8(input).ok()?;
    let file = |(at, text): (usize, &str)| DropIn { path: format!("/{at}.toml"), text: text.to_owned() };
    Some(text.split("\n%\n").enumerate().map(file).collect())
}

/// A folder of this thread's own, in memory where there is such a place.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}
