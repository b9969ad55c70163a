//! A vendor's own tree, copied so that the original stays as it is.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::Path;

use reinstate_agent::profile::{Profile, Reading};

use crate::{Result, doing};

/// What a copy starts without: memory, and the agent's own records.
const LEFT_OUT: [&str; 4] = ["run", "proc", "dev", "var/lib/reinstate"];

/// Copies files, folders and links with their modes, and with their owners where that is allowed.
pub fn tree(from: &Path, to: &Path) -> Result<()> {
    if doing("open", from, from.canonicalize())? == Path::new("/") {
        return Err("--root is this machine itself; give a copy of an appliance's tree".into());
    }
    below(from, to, Path::new(""))
}

fn below(from: &Path, to: &Path, path: &Path) -> Result<()> {
    let folder = to.join(path);
    doing("make", &folder, fs::create_dir_all(&folder))?;
    let source = from.join(path);
    for entry in doing("list", &source, fs::read_dir(&source))? {
        let entry = doing("list", &source, entry)?;
        let path = path.join(entry.file_name());
        if LEFT_OUT.iter().any(|left| path == Path::new(left)) {
            continue;
        }
        let (source, target) = (from.join(&path), to.join(&path));
        let meta = doing("examine", &source, source.symlink_metadata())?;
        if meta.is_dir() {
            below(from, to, &path)?;
        } else if meta.is_symlink() {
            let link = doing("read", &source, fs::read_link(&source))?;
            doing("link", &target, symlink(link, &target))?;
        } else if meta.is_file() {
            doing("copy", &source, fs::copy(&source, &target))?;
        } else {
            continue;
        }
        give(&target, &meta)?;
    }
    match path == Path::new("") {
        true => Ok(()),
        false => give(&folder, &doing("examine", &source, source.metadata())?),
    }
}

fn give(target: &Path, meta: &fs::Metadata) -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        let owner = lchown(target, Some(meta.uid()), Some(meta.gid()));
        doing("give away", target, owner)?;
    }
    match meta.is_symlink() {
        true => Ok(()),
        false => doing("open", target, fs::set_permissions(target, meta.permissions())),
    }
}

/// Gives the machine another serial number, where the profile reads it from a file of its own.
/// False where it does not.
pub fn other_serial(root: &Path, profile: &Profile) -> Result<bool> {
    let Reading::File(path) = &profile.hardware.serial else {
        return Ok(false);
    };
    // The file may be reached through links; none may lead out of the copy.
    let root = doing("open", root, root.canonicalize())?;
    let Ok(file) = root.join(path).canonicalize() else {
        return Ok(false);
    };
    if !file.starts_with(&root) {
        return Ok(false);
    }
    doing("replace", &file, fs::remove_file(&file))?;
    doing("write", &file, fs::write(&file, "REPLACEMENT-0001\n"))?;
    Ok(true)
}
