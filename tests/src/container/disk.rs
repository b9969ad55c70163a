//! A file that the kernel takes for a disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A loop device, read-only; it goes when it is dropped and nobody has mounted it any more.
pub struct Disk {
    pub node: PathBuf,
    /// Major and minor.
    pub(super) number: [u64; 2],
}

impl Disk {
    pub(super) fn attach(file: &Path) -> Self {
        let said =
            Command::new("losetup").args(["--find", "--show", "--read-only"]).arg(file).output().unwrap();
        assert!(said.status.success(), "losetup: {}", String::from_utf8_lossy(&said.stderr));
        let node = PathBuf::from(String::from_utf8(said.stdout).unwrap().trim());
        let device = fs::metadata(&node).unwrap().rdev();
        let number = [nix::sys::stat::major(device), nix::sys::stat::minor(device)];
        Self { node, number }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.node).output();
    }
}
