//! A folder itself: whose it is, what file system it is on, its lock.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{Gid, Uid};

use super::{Folder, Result, Step};

/// Bytes and inodes of a file system; no inodes where it does not count them.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    pub size: u64,
    pub free: u64,
    pub inodes: u64,
    pub free_inodes: u64,
}

impl Folder {
    /// The same folder, for a root process that works in another account's folder: whatever it makes
    /// there belongs to that account.
    pub fn for_its_owner(self) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(self);
        }
        let stat = self.stat("")?;
        let heir = (stat.uid != 0).then(|| (Uid::from_raw(stat.uid), Gid::from_raw(stat.gid)));
        Ok(Self { heir, ..self })
    }

    /// Of the folder itself, which is open: nobody can put another one in its place.
    pub fn set_own_mode(&self, mode: u32) -> Result<()> {
        self.step(Step::Mode(&self.path), || {
            Ok(nix::sys::stat::fchmod(&*self.fd, Mode::from_bits_truncate(mode))?)
        })
        .map_err(|e| self.error("change the mode of", Path::new(""), e))
    }

    /// Of the folder itself.
    pub fn set_own_owner(&self, uid: u32, gid: u32) -> Result<()> {
        self.step(Step::Owner(&self.path), || std::os::unix::fs::fchown(&*self.fd, Some(uid), Some(gid)))
            .map_err(|e| self.error("change the owner of", Path::new(""), e))
    }

    /// Makes everything on the folder's file system durable, in one step.
    pub fn sync_all(&self) -> Result<()> {
        self.step(Step::SyncAll(&self.path), || Ok(nix::unistd::syncfs(self.fd.as_fd())?))
            .map_err(|e| self.error("sync", Path::new(""), e))
    }

    /// The file system that the folder is on.
    pub fn device(&self) -> Result<u64> {
        let stat =
            nix::sys::stat::fstat(&*self.fd).map_err(|e| self.error("examine", Path::new(""), e.into()))?;
        Ok(stat.st_dev)
    }

    /// How large the folder's file system is, and what of it a process without privileges may still use.
    pub fn space(&self) -> Result<Space> {
        let stat = nix::sys::statvfs::fstatvfs(&*self.fd)
            .map_err(|e| self.error("examine", Path::new(""), e.into()))?;
        Ok(Space {
            size: stat.blocks() * stat.fragment_size(),
            free: stat.blocks_available() * stat.fragment_size(),
            inodes: stat.files(),
            free_inodes: stat.files_available(),
        })
    }

    /// Free bytes and free inodes of the folder's file system, for a process without privileges.
    pub fn free(&self) -> Result<(u64, u64)> {
        let stat = nix::sys::statvfs::fstatvfs(&*self.fd)
            .map_err(|e| self.error("examine", Path::new(""), e.into()))?;
        // A file system without a fixed number of inodes (btrfs) reports none at all.
        let inodes = if stat.files() == 0 { u64::MAX } else { stat.files_available() };
        Ok((stat.blocks_available() * stat.fragment_size(), inodes))
    }

    /// Takes the folder's advisory lock.
    pub fn lock(&self, how: FlockArg) -> io::Result<Flock<File>> {
        let fd = self.fd.try_clone()?;
        Flock::lock(File::from(fd), how).map_err(|(_, errno)| errno.into())
    }

    pub(super) fn bequeath(&self, parent: &OwnedFd, name: &Path) -> nix::Result<()> {
        let Some((uid, gid)) = self.heir else { return Ok(()) };
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = nix::fcntl::openat(parent, name, flags, Mode::empty())?;
        // The heir may have put a link to somebody else's file there meanwhile.
        let stat = nix::sys::stat::fstat(&made)?;
        let is_folder = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
        if !is_folder && stat.st_nlink != 1 {
            return Err(Errno::EPERM);
        }
        nix::unistd::fchownat(&made, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)
    }
}
