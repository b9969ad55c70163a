//! The root file system of the image, where the kernel can mount it.

use std::fs::{self, File};
use std::path::PathBuf;

use crate::vm::{image, largest_partition, raw_copy};

/// The image's disk as it is, made once for each build of the image, and the place in it where its largest partition begins.
pub fn disk() -> (PathBuf, u64) {
    let folder = crate::target("container");
    // Two runs do not make it at one time; the lock goes with the file's end.
    let lock = File::create(folder.join("disk.lock")).unwrap();
    lock.lock().unwrap();
    let (raw, mark) = (folder.join("disk.raw"), folder.join("disk.inputs"));
    let inputs = fs::read(image("inputs")).unwrap();
    if !raw.exists() || fs::read(&mark).ok().as_ref() != Some(&inputs) {
        let part = raw_copy(&image("reinstate.qcow2"), &folder.join("disk.raw.part"));
        // Who has mounted the old one keeps it.
        fs::rename(&part, &raw).unwrap();
        fs::write(&mark, inputs).unwrap();
    }
    let offset = largest_partition(&mut File::open(&raw).unwrap());
    (raw, offset)
}
