//! Backups on a medium: a disk, a disc or a stick with the label REINSTATE.

use std::io::{self, Read, Write};

use nix::fcntl::FlockArg;
use reinstate_api::{BACKUP_FOLDER, Code, Created, Failure, one_line};

use crate::backups;
use crate::files::{Folder, Kind, found};
use crate::tree::{Digest, Hashing};

/// Where the medium is shown, below the root: read-only.
pub const FOLDER: &str = "run/reinstate/medium";

/// How archives are named.
const ENDINGS: [&str; 2] = [".tar", ".tar.gz"];

/// Copies an archive from the medium into the backup folder: the named one, or the only one there.
///
/// # Errors
/// `not-found` where there is none or no medium, `bad-request` where there are several and none was
/// named, `archive-too-large` above `limit`, `backup-exists` where another one of that name is here,
/// `busy` while another import runs, `no-space`.
pub fn import(root: &Folder, file: Option<String>, limit: u64) -> Result<Created, Failure> {
    let medium = found(root.folder(FOLDER))?.ok_or_else(|| {
        Failure::new(Code::NotFound, "there is no medium with the label REINSTATE")
            .hint("insert one, or attach it to the virtual machine")
    })?;
    let file = match file {
        Some(file) => file,
        None => only(archives(&medium)?)?,
    };
    let mut from = found(medium.open_file(&file))?.ok_or_else(|| {
        Failure::new(Code::NotFound, format!("the medium has no backup '{}'", one_line(&file)))
    })?;
    let size = from.metadata().map_err(|e| Failure::io("cannot examine the backup", &e))?.len();
    if size > limit {
        return Err(Failure::new(
            Code::ArchiveTooLarge,
            format!("{} has {size} bytes; at most {limit} are taken", one_line(&file)),
        ));
    }
    let backups = root.folder(BACKUP_FOLDER)?.for_its_owner()?;
    // Another import would take this one's beginning for its own.
    let _alone = backups
        .lock(FlockArg::LockExclusiveNonblock)
        .map_err(|_| Failure::new(Code::Busy, "another backup is being imported"))?;
    if let Some(clash) = backups::clash(&backups, &file, size, "the medium's")? {
        return Err(clash);
    }
    if let Some(mut there) = found(backups.open_file(&file))? {
        return match is_same(&mut there, &mut from) {
            Ok(true) => Ok(Created { file, bytes: size }),
            Ok(false) => Err(backups::exists(&file, "with another content than the medium's")),
            Err(e) => Err(Failure::io("cannot compare the backups", &e)),
        };
    }
    backups::room(&backups, size)?;
    let part = format!("{file}.part");
    backups.remove_if_there(&part)?;
    let copied = copy(&mut from, &backups, &part);
    if let Err(failure) = copied {
        backups.remove_if_there(&part)?;
        return Err(failure);
    }
    backups.rename_new(&part, &file)?;
    backups.sync("")?;
    Ok(Created { file, bytes: size })
}

fn is_same(one: &mut impl Read, other: &mut impl Read) -> io::Result<bool> {
    Ok(digest(one)? == digest(other)?)
}

fn digest(content: &mut impl Read) -> io::Result<Digest> {
    let mut hashing = Hashing::new(content);
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(hashing.finish().1)
}

fn copy(from: &mut dyn Read, to: &Folder, part: &str) -> Result<(), Failure> {
    let cannot = |e: io::Error| Failure::io("cannot copy the backup from the medium", &e);
    let mut to = io::BufWriter::with_capacity(256 << 10, backups::create(to, part)?);
    io::copy(from, &mut to).map_err(cannot)?;
    to.flush().map_err(cannot)?;
    Ok(to.into_inner().map_err(|e| cannot(e.into_error()))?.sync()?)
}

/// The names of the archives on a medium.
pub fn archives(medium: &Folder) -> Result<Vec<String>, Failure> {
    let names = medium.list("")?.into_iter().filter(|(_, kind)| *kind == Kind::File);
    let names = names.filter_map(|(name, _)| name.into_string().ok());
    Ok(names
        .filter(|name| !name.starts_with('.') && ENDINGS.iter().any(|ending| name.ends_with(ending)))
        .collect())
}

fn only(mut names: Vec<String>) -> Result<String, Failure> {
    match names.len() {
        1 => Ok(names.remove(0)),
        0 => Err(Failure::new(
            Code::NotFound,
            "the medium holds no backup (a file that ends in .tar or .tar.gz)",
        )),
        _ => Err(Failure::new(
            Code::BadRequest,
            format!("the medium holds {} backups: {}", names.len(), names.join(", ")),
        )
        .hint("name the one that is meant")),
    }
}
