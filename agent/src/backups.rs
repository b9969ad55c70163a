//! The backup folder's rules, wherever a backup comes from: a server, a medium, this appliance.

use reinstate_api::{BackupFile, Code, Failure};
use serde::Deserialize;

use crate::files::{Folder, Kind, Writer, found};

/// Readable for administrators, so that a backup can be copied off: the folder hands its group down.
const MODE: u32 = 0o640;

/// Free space that a new backup leaves to everything else: 16 MiB.
const SPARE: u64 = 16 << 20;

/// How much admins may copy into the backup folder. What the agent itself brings there only has to fit the disk: a
/// restore never fails for what lies beside it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// All files together, in bytes.
    pub bytes: u64,
    pub files: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self { bytes: 64 << 30, files: 1000 }
    }
}

/// What is in the backup folder, without a look inside.
pub fn list(backups: &Folder) -> Result<Vec<BackupFile>, Failure> {
    let mut files = Vec::new();
    for (name, kind) in backups.list("")? {
        let Some(file) = name.to_str().filter(|name| !name.starts_with('.') && kind == Kind::File) else {
            continue;
        };
        // It may have got another name since.
        let Some(stat) = found(backups.stat(file))? else { continue };
        let (bytes, modified) = (stat.size, stat.modified);
        files.push(BackupFile { file: file.into(), bytes, modified, partial: file.ends_with(".part") });
    }
    Ok(files)
}

/// There is no such backup.
pub fn missing(file: &str) -> Failure {
    Failure::new(Code::NotFound, format!("there is no backup '{file}' in /var/sf/backup"))
        .hint("`show backups` lists those that are there")
}

/// A backup is named by its file alone.
///
/// # Errors
/// `bad-request` for a name with a folder, a control character, or a meaning of its own.
pub fn check_name(file: &str) -> Result<(), Failure> {
    let fits = !file.is_empty()
        && file.len() <= 200
        && !file.starts_with(['.', '-'])
        && !file.ends_with(".part")
        && !file.contains(['/', '\\'])
        && !file.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    Err(Failure::new(Code::BadRequest, format!("'{file}' is not a backup's file name"))
        .hint("give the name of a file in /var/sf/backup, without a folder; `show backups` lists them"))
}

/// Makes a file for a backup, whatever this process' own files are like.
pub fn create(backups: &Folder, name: &str) -> Result<Writer, Failure> {
    let writer = backups.create(name, MODE)?;
    writer.set_mode(MODE)?;
    Ok(writer)
}

/// Is there room for so many bytes more?
///
/// # Errors
/// `no-space` with both values.
pub fn room(backups: &Folder, bytes: u64) -> Result<(), Failure> {
    let (need, free) = (bytes.saturating_add(SPARE), backups.free()?.0);
    if need <= free {
        return Ok(());
    }
    Err(Failure::new(
        Code::NoSpace,
        format!("free space in /var/sf/backup: {need} bytes are needed, {free} are free"),
    )
    .hint("remove old backups from /var/sf/backup"))
}

/// Another backup of this name, which is not replaced; None where there is none, or one of the same size.
pub fn clash(backups: &Folder, file: &str, size: u64, whose: &str) -> Result<Option<Failure>, Failure> {
    let there = found(backups.stat(file))?.filter(|there| there.size != size);
    Ok(there.map(|there| exists(file, format!("with {} bytes; {whose} has {size}", there.size))))
}

/// The backup of this name is not the one that is brought.
pub fn exists(file: &str, differing: impl std::fmt::Display) -> Failure {
    Failure::new(Code::BackupExists, format!("{file} is in /var/sf/backup already, {differing}"))
        .hint(format!("restore the one that is there with `backup {file}`, or rename one of them"))
}
