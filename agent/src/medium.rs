//! Backups on a medium: a disk, a disc or a stick with the label REINSTATE.

use std::io::{self, Write};

use reinstate_api::{BACKUP_FOLDER, Code, Created, Failure, one_line};

use crate::files::{Folder, Kind, found};

/// Where the medium is shown, below the root: read-only.
pub const FOLDER: &str = "run/reinstate/medium";

/// How archives are named.
const ENDINGS: [&str; 2] = [".tar", ".tar.gz"];

/// Copies an archive from the medium into the backup folder: the named one, or the only one there.
///
/// # Errors
/// `not-found` where there is none or no medium, `bad-request` where there are several and none was
/// named, `backup-exists` where another one of that name is here, `no-space`.
pub fn import(root: &Folder, file: Option<String>) -> Result<Created, Failure> {
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
    let backups = root.folder(BACKUP_FOLDER)?.for_its_owner()?;
    if let Some(there) = found(backups.stat(&file))? {
        return match there.size == size {
            true => Ok(Created { file, bytes: size }),
            false => Err(Failure::new(
                Code::BackupExists,
                format!(
                    "{file} is in /var/sf/backup already, with {} bytes; the medium's has {size}",
                    there.size
                ),
            )
            .hint("rename one of them")),
        };
    }
    let free = backups.free()?.0;
    if size > free {
        return Err(Failure::new(
            Code::NoSpace,
            format!("free space in /var/sf/backup: {size} bytes are needed, {free} are free"),
        )
        .hint("remove old backups from /var/sf/backup"));
    }
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

fn copy(from: &mut dyn io::Read, backups: &Folder, part: &str) -> Result<(), Failure> {
    let cannot = |e: io::Error| Failure::io("cannot copy the backup from the medium", &e);
    let mut to = io::BufWriter::with_capacity(256 << 10, backups.create(part, 0o600)?);
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
