//! Media with the label REINSTATE.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::must;

const LABEL: &str = "REINSTATE";

/// Room for the small archives of tests.
const BYTES: u64 = 32 << 20;

/// The file system of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Ext4,
    Fat,
    /// ISO 9660, in a disc drive.
    Disc,
}

/// A medium with some files, read-only to the machine that it is in.
#[derive(Clone, Debug)]
pub struct Medium {
    pub format: Format,
    pub path: PathBuf,
}

impl Medium {
    /// Makes it in `folder`, with these names and contents.
    pub fn new(folder: &Path, format: Format, files: &[(&str, &[u8])]) -> Self {
        let content = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(content.path().join(name), bytes).unwrap();
        }
        let path = folder.join("medium");
        let _ = fs::remove_file(&path);
        let (content, file) = (content.path(), path.as_path());
        if format != Format::Disc {
            File::create(file).and_then(|file| file.set_len(BYTES)).unwrap();
        }
        match format {
            Format::Ext4 => must(
                Command::new("mke2fs").args(["-q", "-t", "ext4", "-L", LABEL, "-d"]).arg(content).arg(file),
            ),
            Format::Fat => {
                must(Command::new("mkfs.vfat").args(["-n", LABEL]).arg(file));
                for (name, _) in files {
                    must(Command::new("mcopy").arg("-i").arg(file).arg(content.join(name)).arg("::"));
                }
            }
            Format::Disc => must(
                Command::new("xorriso")
                    .args(["-as", "mkisofs", "-quiet", "-R", "-J", "-V", LABEL, "-o"])
                    .arg(file)
                    .arg(content),
            ),
        }
        Self { format, path }
    }
}
