//! The root file system of the image, where the kernel can mount it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::run;
use crate::vm::image;

const SECTOR: u64 = 512;

/// The image's disk as it is, made once for each build of the image, and the place in it where its largest partition begins.
pub fn disk() -> (PathBuf, u64) {
    let folder = super::target();
    // Two runs do not make it at one time; the lock goes with the file's end.
    let lock = File::create(folder.join("disk.lock")).unwrap();
    lock.lock().unwrap();
    let (raw, mark) = (folder.join("disk.raw"), folder.join("disk.inputs"));
    let inputs = fs::read(image("inputs")).unwrap();
    if !raw.exists() || fs::read(&mark).ok().as_ref() != Some(&inputs) {
        let part = folder.join("disk.raw.part");
        run(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(image("reinstate.qcow2")).arg(&part));
        // Who has mounted the old one keeps it.
        fs::rename(&part, &raw).unwrap();
        fs::write(&mark, inputs).unwrap();
    }
    let offset = largest_partition(&raw);
    (raw, offset)
}

/// Where a GPT's largest partition begins, in bytes.
fn largest_partition(disk: &Path) -> u64 {
    let mut disk = File::open(disk).unwrap();
    let mut read = |sector: u64, bytes: usize| {
        let mut block = vec![0; bytes];
        disk.seek(SeekFrom::Start(SECTOR * sector)).unwrap();
        disk.read_exact(&mut block).unwrap();
        block
    };
    let number = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let header = read(1, 512);
    assert_eq!(&header[..8], b"EFI PART");
    let entries = read(number(&header, 72), 128 * 128);
    let partitions = entries.chunks(128).map(|entry| (number(entry, 32), number(entry, 40)));
    let largest = partitions.filter(|(first, _)| *first > 0).max_by_key(|(first, last)| last - first);
    SECTOR * largest.expect("a partition").0
}
