//! A private root for a checker: the tree to check, the image's programs, nothing else.
//!
//! The checker runs in namespaces of its own (user, mount, network, IPC): it sees the configuration
//! at the paths that it will have, read-only, with its private keys unsealed in memory, and
//! nothing of the network.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use reinstate_api::{Code, Failure};

use crate::domain::{Domain, Domains};
use crate::dropin;
use crate::files::Folder;
use crate::profile::Profile;
use crate::secrets;
use crate::store::Store;
use crate::tree::EntryKind;

/// Which configuration is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    Generation(u64),
    Live,
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tree::Generation(number) => write!(f, "{number}"),
            Tree::Live => f.write_str("live"),
        }
    }
}

impl FromStr for Tree {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "live" => Ok(Tree::Live),
            number => number.parse().map(Tree::Generation).map_err(|_| {
                format!("'{}' is neither a generation nor 'live'", reinstate_api::one_line(number))
            }),
        }
    }
}

/// What belongs at one place of the private root.
enum Content {
    /// Something that exists, seen read-only.
    Bound(PathBuf),
    /// A link, as it is: the live tree's secrets are links into memory.
    Link(PathBuf),
    /// A private key, unsealed.
    Clear(zeroize::Zeroizing<Vec<u8>>, u32),
}

/// Becomes the domain's checker, confined. Returns only when that failed.
pub fn confined(
    root: &Folder,
    profile: &Profile,
    domains: &Domains,
    store: &Store,
    tree: Tree,
    domain: &Domain,
) -> Failure {
    let entered = contents(root, domains, store, tree).and_then(|mut places| {
        places.extend(keys(root, store, tree)?);
        places.extend(vendor(root));
        enter(store, profile, &places)
    });
    if let Err(failure) = entered {
        return failure;
    }
    let mut argv = domain.validate.iter().map(|word| word.replace("{root}", "").replace("{vendor}", VENDOR));
    let program = argv.next().unwrap_or_default();
    let error = Command::new(&program).args(argv).current_dir("/").exec();
    Failure::io(format_args!("cannot run {program}"), &error)
}

/// Where a checker sees the vendor's folder: below `/usr` it would be the machine's, which in a sandbox is another.
const VENDOR: &str = "/vendor";

fn vendor(root: &Folder) -> Option<(PathBuf, Content)> {
    let folder = root.path().join(dropin::PLACES[0]);
    folder.is_dir().then(|| (PathBuf::from(&VENDOR[1..]), Content::Bound(folder)))
}

/// Confines this process, which must have one thread, as a checker is confined; the tree's private keys
/// stay outside.
///
/// # Errors
/// `validation-failed` where the kernel does not give it namespaces.
pub fn confine(
    root: &Folder,
    profile: &Profile,
    domains: &Domains,
    store: &Store,
    tree: Tree,
) -> Result<(), Failure> {
    enter(store, profile, &contents(root, domains, store, tree)?)
}

fn enter(store: &Store, profile: &Profile, places: &[(PathBuf, Content)]) -> Result<(), Failure> {
    let new_root = store.folder().path().join("drafts");
    build(&new_root, profile, places).map_err(|(doing, error)| {
        Failure::new(
            Code::ValidationFailed,
            format!("the checker's private tree cannot be made: {doing}: {error}"),
        )
        .hint("the kernel must allow user namespaces to the agent")
    })
}

/// Everything that domains own in the tree, with where it belongs.
fn contents(
    root: &Folder,
    domains: &Domains,
    store: &Store,
    tree: Tree,
) -> Result<Vec<(PathBuf, Content)>, Failure> {
    let base = match tree {
        Tree::Generation(number) => store.generation(number)?.tree()?,
        Tree::Live => root.clone(),
    };
    let mut places = Vec::new();
    for owned in domains.stored().flat_map(|domain| &domain.paths) {
        let path = base.path().join(&owned.path);
        let content = match path.symlink_metadata() {
            Err(_) => continue,
            Ok(meta) if meta.is_symlink() => Content::Link(
                fs::read_link(&path)
                    .map_err(|e| Failure::io(format_args!("cannot read {}", owned.path), &e))?,
            ),
            Ok(_) => Content::Bound(path),
        };
        places.push((PathBuf::from(owned.path.as_str()), content));
    }
    Ok(places)
}

/// The tree's private keys, with where they belong.
fn keys(root: &Folder, store: &Store, tree: Tree) -> Result<Vec<(PathBuf, Content)>, Failure> {
    let mut places = Vec::new();
    match tree {
        Tree::Live => {
            let path = root.path().join(secrets::FOLDER);
            if path.is_dir() {
                places.push((secrets::FOLDER.into(), Content::Bound(path)));
            }
        }
        Tree::Generation(number) => {
            let generation = store.generation(number)?;
            let (index, key) = (generation.index()?, generation.key()?);
            for (_, entry) in index.iter() {
                let EntryKind::File { sealed: true, .. } = entry.kind else { continue };
                let mut clear = zeroize::Zeroizing::new(Vec::new());
                io::Read::read_to_end(&mut generation.open(entry, &key)?, &mut clear)
                    .map_err(|e| Failure::io(format_args!("cannot unseal {}", entry.path), &e))?;
                places.push((PathBuf::from(entry.path.as_str()), Content::Clear(clear, entry.mode)));
            }
        }
    }
    Ok(places)
}

type Step<T> = Result<T, (String, io::Error)>;

fn at<T, E: Into<io::Error>>(doing: impl fmt::Display, result: Result<T, E>) -> Step<T> {
    result.map_err(|error| (doing.to_string(), error.into()))
}

/// Programs live below /usr; on a merged /usr these are links to it.
const USR_LINKS: [&str; 5] = ["bin", "sbin", "lib", "lib32", "lib64"];

/// Folders that programs expect, empty.
const EMPTY: [&str; 6] = ["dev", "proc", "tmp", "run", "run/sshd", "var"];

/// What a checker may take: 1 GiB.
const MEMORY: u64 = 1 << 30;

const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/urandom"];

fn build(new: &Path, profile: &Profile, places: &[(PathBuf, Content)]) -> Step<()> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let spaces = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC;
    at("unshare", unshare(spaces))?;
    at("setgroups", fs::write("/proc/self/setgroups", "deny"))?;
    at("uid_map", fs::write("/proc/self/uid_map", format!("0 {uid} 1")))?;
    at("gid_map", fs::write("/proc/self/gid_map", format!("0 {gid} 1")))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    at("make mounts private", mount(None::<&str>, "/", None::<&str>, private, None::<&str>))?;

    // The configuration is opened before the new root hides the agent's own folder.
    let size = "size=64m,mode=0755";
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    at(new.display(), mount(Some("reinstate"), new, Some("tmpfs"), flags, Some(size)))?;
    for folder in EMPTY {
        at(folder, fs::create_dir_all(new.join(folder)))?;
    }
    for link in USR_LINKS {
        if let Ok(target) = fs::read_link(Path::new("/").join(link)) {
            at(link, std::os::unix::fs::symlink(target, new.join(link)))?;
        } else if Path::new("/").join(link).is_dir() {
            bind(&Path::new("/").join(link), &new.join(link), true)?;
        }
    }
    let taken = |path: &str| places.iter().any(|(place, _)| Path::new("/").join(place) == Path::new(path));
    for path in profile.validators.image.iter().filter(|path| !taken(path)) {
        if Path::new(path).exists() {
            bind(Path::new(path), &new.join(path.trim_start_matches('/')), true)?;
        }
    }
    for device in DEVICES {
        bind(Path::new(device), &new.join(&device[1..]), false)?;
    }
    for (number, (place, content)) in places.iter().enumerate() {
        match content {
            Content::Bound(path) => bind(path, &new.join(place), true)?,
            Content::Link(target) => {
                let link = new.join(place);
                link.parent().map_or(Ok(()), |folder| at(place.display(), fs::create_dir_all(folder)))?;
                at(place.display(), std::os::unix::fs::symlink(target, link))?;
            }
            Content::Clear(clear, mode) => {
                let hidden = new.join(format!(".clear{number}"));
                let mut file = at(
                    "a key",
                    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&hidden),
                )?;
                at("a key", file.write_all(clear))?;
                at("a key", file.set_permissions(fs::Permissions::from_mode(*mode)))?;
                bind(&hidden, &new.join(place), true)?;
            }
        }
    }
    // The old root is put on top of the new one and taken away: there is no way back to it.
    at("enter the new root", nix::unistd::chdir(new))?;
    at("pivot_root", nix::unistd::pivot_root(".", "."))?;
    at("leave the old root", umount2(".", MntFlags::MNT_DETACH))?;
    at("chdir", nix::unistd::chdir("/"))?;
    at("no_new_privs", nix::sys::prctl::set_no_new_privs())?;
    at("limit memory", setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY))
}

/// Shows `from` at `to`, which is made where it is missing.
fn bind(from: &Path, to: &Path, read_only: bool) -> Step<()> {
    let shown = to.display();
    if to.symlink_metadata().is_err() {
        let (folder, file) = if from.is_dir() { (Some(to), None) } else { (to.parent(), Some(to)) };
        folder.map_or(Ok(()), |folder| at(shown.to_string(), fs::create_dir_all(folder)))?;
        file.map_or(Ok(()), |file| at(shown.to_string(), fs::write(file, "")))?;
    }
    at(
        shown.to_string(),
        mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>),
    )?;
    if !read_only {
        return Ok(());
    }
    // A user namespace may not take away what the mount already forbids.
    let kept = at(shown.to_string(), nix::sys::statvfs::statvfs(to))?.flags();
    let kept = MsFlags::from_bits_truncate(kept.bits() as _)
        & (MsFlags::MS_NOSUID
            | MsFlags::MS_NODEV
            | MsFlags::MS_NOEXEC
            | MsFlags::MS_NOATIME
            | MsFlags::MS_NODIRATIME
            | MsFlags::MS_RELATIME);
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | kept;
    at(shown.to_string(), mount(None::<&str>, to, None::<&str>, flags, None::<&str>))
}
