//! The one file layer: every durable step of the agent goes through a [`Folder`].
//!
//! Paths are resolved beneath the folder by the kernel (`openat2`): none leaves it, and no symbolic
//! link is ever followed. A [`Steps`] decorator sees each step that changes a disk; tests use it to
//! stop, fail or drop one.

mod itself;
mod read;
mod step;
mod writer;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use itself::Space;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, UnlinkatFlags};
pub use step::{Direct, Error, Result, Step, Steps, found};
pub use writer::Writer;

/// What a folder holds under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link,
    Other,
}

/// What the system knows about a path, without following a link.
#[derive(Clone, Debug)]
pub struct Stat {
    pub kind: Kind,
    /// Permission bits, set-id bits included.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub links: u64,
    /// Seconds since 1970.
    pub modified: i64,
}

/// An open folder; everything below it is reached through it.
#[derive(Clone)]
pub struct Folder {
    fd: Arc<OwnedFd>,
    path: PathBuf,
    steps: Arc<dyn Steps>,
    /// To whom everything goes that is made through this folder; where not set, to who makes it.
    heir: Option<(Uid, Gid)>,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder({})", self.path.display())
    }
}

const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_RDONLY).union(OFlag::O_CLOEXEC);

impl Folder {
    /// Opens `path`, which the operator named: links on the way to it are followed.
    pub fn open(path: &Path, steps: Arc<dyn Steps>) -> Result<Self> {
        let fd =
            nix::fcntl::open(path, FOLDER, Mode::empty()).map_err(|errno| failed("open", path, errno))?;
        Ok(Self { fd: Arc::new(fd), path: path.to_owned(), steps, heir: None })
    }

    /// The folder's own path, for messages and for other programs' arguments.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// A folder below this one.
    pub fn folder(&self, rel: impl AsRef<Path>) -> Result<Self> {
        let rel = rel.as_ref();
        let fd = self.resolve("open", rel, FOLDER, Mode::empty())?;
        Ok(Self { fd: Arc::new(fd), path: self.path.join(rel), steps: self.steps.clone(), heir: self.heir })
    }

    /// Creates a file that must not exist yet.
    pub fn create(&self, rel: impl AsRef<Path>, mode: u32) -> Result<Writer> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        self.writer(rel.as_ref(), flags, mode)
    }

    /// Opens an existing regular file to write from its beginning, without cutting it.
    pub fn open_to_write(&self, rel: impl AsRef<Path>) -> Result<Writer> {
        self.writer(rel.as_ref(), OFlag::O_WRONLY, 0)
    }

    fn writer(&self, rel: &Path, flags: OFlag, mode: u32) -> Result<Writer> {
        let mut file = None;
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        self.step(Step::Create(&self.path.join(rel)), || {
            let made = self.raw(rel, flags, Mode::from_bits_truncate(mode))?;
            if let (true, Some((uid, gid))) = (flags.contains(OFlag::O_CREAT), self.heir) {
                nix::unistd::fchown(&made, Some(uid), Some(gid))?;
            }
            file = Some(made);
            Ok(())
        })
        .map_err(|e| self.error("create", rel, e))?;
        let file = File::from(file.ok_or_else(|| self.error("create", rel, io::ErrorKind::Other.into()))?);
        Ok(Writer { file, path: self.path.join(rel), steps: self.steps.clone() })
    }

    /// Replaces a file's content durably: temporary file, fsync, rename, fsync of the folder.
    pub fn replace(&self, rel: impl AsRef<Path>, content: &[u8], mode: u32) -> Result<()> {
        let rel = rel.as_ref();
        let new = self.write_temporary(rel, content, mode)?;
        self.rename(&new, rel)?;
        self.sync_parent(rel)
    }

    /// Like [`Folder::replace`], but fails with `AlreadyExists` where the file exists.
    pub fn publish(&self, rel: impl AsRef<Path>, content: &[u8], mode: u32) -> Result<()> {
        let rel = rel.as_ref();
        let new = self.write_temporary(rel, content, mode)?;
        self.rename_new(&new, rel).inspect_err(|_| {
            // What cannot be removed is written over by the next one.
            let _ = self.remove_if_there(&new);
        })?;
        self.sync_parent(rel)
    }

    fn write_temporary(&self, rel: &Path, content: &[u8], mode: u32) -> Result<PathBuf> {
        let mut name = OsString::from(".");
        name.push(rel.file_name().unwrap_or_default());
        name.push(".new");
        let new = rel.with_file_name(name);
        self.remove_if_there(&new)?;
        let mut writer = self.create(&new, mode)?;
        writer.write_all(content).map_err(|e| self.error("write", &new, e))?;
        writer.sync()?;
        Ok(new)
    }

    /// Makes a folder; one that exists already is left as it is.
    pub fn make_folder(&self, rel: impl AsRef<Path>, mode: u32) -> Result<()> {
        let rel = rel.as_ref();
        let made = self.at_parent("make", rel, Step::MakeFolder(&self.path.join(rel)), |parent, name| {
            nix::sys::stat::mkdirat(parent, name, Mode::from_bits_truncate(mode))?;
            self.bequeath(parent, name)
        });
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.folder(rel).map(drop),
            other => other,
        }
    }

    /// Makes a folder and those above it that are missing.
    pub fn make_folders(&self, rel: impl AsRef<Path>, mode: u32) -> Result<()> {
        let rel = rel.as_ref();
        let mut missing = Vec::new();
        for folder in rel.ancestors().take_while(|p| !p.as_os_str().is_empty()) {
            if found(self.folder(folder))?.is_some() {
                break;
            }
            missing.push(folder);
        }
        missing.iter().rev().try_for_each(|folder| self.make_folder(folder, mode))
    }

    pub fn link(&self, target: &str, rel: impl AsRef<Path>) -> Result<()> {
        let rel = rel.as_ref();
        self.at_parent("link", rel, Step::Link(&self.path.join(rel)), |parent, name| {
            nix::unistd::symlinkat(target, parent, name)?;
            self.bequeath(parent, name)
        })
    }

    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        self.rename_with(from.as_ref(), to.as_ref(), RenameFlags::empty())
    }

    /// Fails with `AlreadyExists` rather than replace.
    pub fn rename_new(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        self.rename_with(from.as_ref(), to.as_ref(), RenameFlags::RENAME_NOREPLACE)
    }

    fn rename_with(&self, from: &Path, to: &Path, flags: RenameFlags) -> Result<()> {
        let (old, old_name) = self.parent("rename", from)?;
        let (new, new_name) = self.parent("rename", to)?;
        self.step(Step::Rename(&self.path.join(from), &self.path.join(to)), || {
            nix::fcntl::renameat2(&old, &old_name, &new, &new_name, flags)?;
            Ok(())
        })
        .map_err(|e| self.error("rename to", to, e))
    }

    pub fn remove_file(&self, rel: impl AsRef<Path>) -> Result<()> {
        self.unlink(rel.as_ref(), UnlinkatFlags::NoRemoveDir)
    }

    /// Removes an empty folder.
    pub fn remove_folder(&self, rel: impl AsRef<Path>) -> Result<()> {
        self.unlink(rel.as_ref(), UnlinkatFlags::RemoveDir)
    }

    fn unlink(&self, rel: &Path, flags: UnlinkatFlags) -> Result<()> {
        self.at_parent("remove", rel, Step::Remove(&self.path.join(rel)), |parent, name| {
            nix::unistd::unlinkat(parent, name, flags)
        })
    }

    pub fn remove_if_there(&self, rel: impl AsRef<Path>) -> Result<()> {
        found(self.remove_file(rel)).map(drop)
    }

    /// Removes whatever stands at `rel`, with everything below it.
    pub fn remove_all(&self, rel: impl AsRef<Path>) -> Result<()> {
        let rel = rel.as_ref();
        match found(self.stat(rel))?.map(|stat| stat.kind) {
            None => Ok(()),
            Some(Kind::Folder) => {
                for (name, _) in self.list(rel)? {
                    self.remove_all(rel.join(name))?;
                }
                self.remove_folder(rel)
            }
            Some(_) => self.remove_file(rel),
        }
    }

    /// Of the path itself, should it be a link.
    pub fn set_owner(&self, rel: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
        let rel = rel.as_ref();
        self.at_parent("change the owner of", rel, Step::Owner(&self.path.join(rel)), |parent, name| {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            nix::unistd::fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
        })
    }

    /// Makes the folder's own entries durable.
    pub fn sync(&self, rel: impl AsRef<Path>) -> Result<()> {
        let rel = rel.as_ref();
        let folder = File::from(self.resolve("sync", rel, FOLDER, Mode::empty())?);
        self.step(Step::Sync(&self.path.join(rel)), || folder.sync_all())
            .map_err(|e| self.error("sync", rel, e))
    }

    pub fn sync_parent(&self, rel: impl AsRef<Path>) -> Result<()> {
        self.sync(parent_of(rel.as_ref()))
    }

    fn at_parent(
        &self,
        doing: &'static str,
        rel: &Path,
        step: Step<'_>,
        act: impl Fn(&OwnedFd, &Path) -> nix::Result<()>,
    ) -> Result<()> {
        let (parent, name) = self.parent(doing, rel)?;
        self.step(step, || Ok(act(&parent, &name)?)).map_err(|e| self.error(doing, rel, e))
    }

    fn parent(&self, doing: &'static str, rel: &Path) -> Result<(OwnedFd, PathBuf)> {
        let name = rel.file_name().ok_or_else(|| self.error(doing, rel, Errno::EINVAL.into()))?;
        let fd = self.resolve(doing, parent_of(rel), FOLDER, Mode::empty())?;
        Ok((fd, PathBuf::from(name)))
    }

    fn resolve(&self, doing: &'static str, rel: &Path, flags: OFlag, mode: Mode) -> Result<OwnedFd> {
        self.raw(rel, flags, mode).map_err(|e| self.error(doing, rel, e))
    }

    fn raw(&self, rel: &Path, flags: OFlag, mode: Mode) -> io::Result<OwnedFd> {
        let rel = if rel.as_os_str().is_empty() { Path::new(".") } else { rel };
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        // The kernel refuses O_PATH | O_NOFOLLOW on a link under RESOLVE_NO_SYMLINKS only for links
        // on the way; the last component is what O_NOFOLLOW is for.
        let how = OpenHow::new().flags(flags).mode(mode).resolve(resolve);
        Ok(open_beneath(&self.fd, rel, how)?)
    }

    fn step(&self, step: Step<'_>, mut run: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        self.steps.step(step, &mut run)
    }

    fn error(&self, doing: &'static str, rel: &Path, source: io::Error) -> Error {
        Error { doing, path: self.path.join(rel), source }
    }
}

/// The kernel gives up on a `..` while anything on the machine is renamed or mounted, and asks to be
/// asked again.
fn open_beneath(folder: &OwnedFd, rel: &Path, how: OpenHow) -> nix::Result<OwnedFd> {
    const TRIES: u32 = 1000;
    for _ in 1..TRIES {
        match nix::fcntl::openat2(folder, rel, how) {
            Err(Errno::EAGAIN) => std::thread::yield_now(),
            done => return done,
        }
    }
    nix::fcntl::openat2(folder, rel, how)
}

fn parent_of(rel: &Path) -> &Path {
    rel.parent().unwrap_or(Path::new(""))
}

fn failed(doing: &'static str, path: &Path, errno: Errno) -> Error {
    Error { doing, path: path.to_owned(), source: errno.into() }
}
