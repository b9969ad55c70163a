//! What is in a folder, read.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::Mode;

use super::{FOLDER, Folder, Kind, Result, Stat, open_beneath};

impl Folder {
    /// Opens a regular file to read; anything else is an error.
    pub fn open_file(&self, rel: impl AsRef<Path>) -> Result<File> {
        let rel = rel.as_ref();
        // O_NONBLOCK: opening a FIFO must not wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(self.resolve("open", rel, flags, Mode::empty())?);
        let meta = file.metadata().map_err(|e| self.error("examine", rel, e))?;
        if !meta.is_file() {
            let wrong = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(self.error("open", rel, wrong));
        }
        Ok(file)
    }

    /// A whole file of at most `max` bytes.
    pub fn read(&self, rel: impl AsRef<Path>, max: u64) -> Result<Vec<u8>> {
        let rel = rel.as_ref();
        let mut bytes = Vec::new();
        let mut file = self.open_file(rel)?.take(max + 1);
        file.read_to_end(&mut bytes).map_err(|e| self.error("read", rel, e))?;
        if bytes.len() as u64 > max {
            let large = io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {max} bytes"));
            return Err(self.error("read", rel, large));
        }
        Ok(bytes)
    }

    /// A whole file of at most `max` bytes, links followed as if this folder were the root: for the
    /// machine's own facts (sysfs is made of links), never for configuration.
    pub fn read_in_root(&self, rel: impl AsRef<Path>, max: u64) -> Result<Vec<u8>> {
        let rel = rel.as_ref();
        let mut bytes = Vec::new();
        let file = File::from(self.resolve_in_root(rel, OFlag::O_RDONLY | OFlag::O_CLOEXEC)?);
        file.take(max).read_to_end(&mut bytes).map_err(|e| self.error("read", rel, e))?;
        Ok(bytes)
    }

    /// The target of the link at `rel`, links on the way followed as if this folder were the root.
    pub fn read_link_in_root(&self, rel: impl AsRef<Path>) -> Result<OsString> {
        let rel = rel.as_ref();
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let link = self.resolve_in_root(rel, flags)?;
        nix::fcntl::readlinkat(&link, "").map_err(|e| self.error("read", rel, e.into()))
    }

    fn resolve_in_root(&self, rel: &Path, flags: OFlag) -> Result<OwnedFd> {
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        open_beneath(&self.fd, rel, how).map_err(|e| self.error("open", rel, e.into()))
    }

    pub fn read_link(&self, rel: impl AsRef<Path>) -> Result<OsString> {
        let rel = rel.as_ref();
        let (parent, name) = self.parent("read", rel)?;
        nix::fcntl::readlinkat(&parent, name.as_path()).map_err(|e| self.error("read", rel, e.into()))
    }

    pub fn stat(&self, rel: impl AsRef<Path>) -> Result<Stat> {
        let rel = rel.as_ref();
        let fd = self.resolve(
            "examine",
            rel,
            OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        let stat = File::from(fd).metadata().map_err(|e| self.error("examine", rel, e))?;
        let kind = match stat.file_type() {
            t if t.is_file() => Kind::File,
            t if t.is_dir() => Kind::Folder,
            t if t.is_symlink() => Kind::Link,
            _ => Kind::Other,
        };
        Ok(Stat {
            kind,
            mode: stat.mode() & 0o7777,
            uid: stat.uid(),
            gid: stat.gid(),
            size: stat.size(),
            links: stat.nlink(),
            modified: stat.mtime(),
        })
    }

    /// Names and kinds, sorted by name.
    pub fn list(&self, rel: impl AsRef<Path>) -> Result<Vec<(OsString, Kind)>> {
        let rel = rel.as_ref();
        let fd = self.resolve("list", rel, FOLDER, Mode::empty())?;
        let mut dir = nix::dir::Dir::from_fd(fd).map_err(|e| self.error("list", rel, e.into()))?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry.map_err(|e| self.error("list", rel, e.into()))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let name = OsString::from_vec(name.to_vec());
            let kind = match entry.file_type() {
                Some(nix::dir::Type::File) => Kind::File,
                Some(nix::dir::Type::Directory) => Kind::Folder,
                Some(nix::dir::Type::Symlink) => Kind::Link,
                Some(_) => Kind::Other,
                None => self.stat(rel.join(&name))?.kind,
            };
            names.push((name, kind));
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(names)
    }
}
