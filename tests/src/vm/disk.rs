//! Disks of machines, and what is on them while no machine has them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::until;
use crate::{Result, must};

/// How the error begins where a file system is too damaged to be looked at.
pub const NOT_MOUNTED: &str = "it is not mounted";

/// A disk over another one that is only read.
pub(super) fn overlay(backing: &Path, disk: &Path) {
    let format = backing.extension().and_then(OsStr::to_str).expect("a disk's name ends with its format");
    let _ = fs::remove_file(disk);
    let done = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
        .arg(backing)
        .arg(disk)
        .status()
        .unwrap();
    assert!(done.success(), "cannot make a disk over {}", backing.display());
}

/// The disk with everything below it, as one file that is raw.
pub fn raw_copy(disk: &Path, raw: &Path) -> PathBuf {
    must(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(disk).arg(raw));
    raw.to_owned()
}

/// Shows the root file system of a raw disk that no machine has.
pub fn with_root<T>(raw: &Path, look: impl FnOnce(&Path) -> T) -> T {
    try_with_root(raw, look).unwrap()
}

/// The same with a disk that may be damaged.
///
/// # Errors
/// [`NOT_MOUNTED`], and what `mount` says.
pub fn try_with_root<T>(raw: &Path, look: impl FnOnce(&Path) -> T) -> Result<T> {
    let root = tempfile::tempdir()?;
    let offset = largest_partition(&mut File::open(raw)?);
    let options = format!("loop,offset={offset}");
    let done = Command::new("mount").args(["-o", &options]).arg(raw).arg(root.path()).output()?;
    if !done.status.success() {
        return Err(format!("{NOT_MOUNTED}: {}", String::from_utf8_lossy(&done.stderr).trim()).into());
    }
    let mounted = Mounted(root.path());
    let seen = look(mounted.0);
    drop(mounted);
    Ok(seen)
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // A process that was killed has its files open until it has gone.
        until("the end of all who use the disk", Duration::from_secs(60), || {
            Command::new("umount").arg(self.0).output().unwrap().status.success().then_some(())
        });
    }
}

/// Where a GPT's largest partition begins, in bytes.
pub(crate) fn largest_partition(disk: &mut File) -> u64 {
    let mut read = |at: u64, bytes: usize| {
        let mut block = vec![0; bytes];
        disk.seek(SeekFrom::Start(at)).unwrap();
        disk.read_exact(&mut block).unwrap();
        block
    };
    let number = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let header = read(512, 512);
    assert_eq!(&header[..8], b"EFI PART");
    let entries = read(512 * number(&header, 72), 128 * 128);
    let partitions = entries.chunks(128).map(|entry| (number(entry, 32), number(entry, 40)));
    let largest = partitions.filter(|(first, _)| *first > 0).max_by_key(|(first, last)| last - first);
    512 * largest.expect("a partition").0
}
