//! A download: an archive on its way from a server into the backup folder, kept as `.part` until it
//! is whole, and read from byte 0 while it comes.

mod blocks;

use std::io::{BufRead, BufReader, Read};

use bytes::Bytes;
use reinstate_api::{Code, Failure, Location};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::archive;
use crate::backups;
use crate::fetch::RemoteFile;
use crate::files::{Folder, Kind, Writer, found};

pub use blocks::through;

/// Which remote file a `.part` is the beginning of.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    host: String,
    port: u16,
    user: String,
    path: String,
    size: u64,
    modified: Option<i64>,
}

pub fn part_name(file: &str) -> String {
    format!("{file}.part")
}

fn origin_name(file: &str) -> String {
    format!(".{file}.part.toml")
}

/// A download that is not whole yet.
pub struct Part {
    folder: Folder,
    name: String,
    writer: Writer,
    have: u64,
}

impl Part {
    /// Goes on with the part that is there, if it is the beginning of this very file; `no-space` where
    /// the rest does not fit.
    pub fn open(
        folder: &Folder,
        file: &str,
        location: &Location,
        remote: &RemoteFile,
    ) -> Result<Self, Failure> {
        let (name, record) = (part_name(file), origin_name(file));
        let origin = Origin {
            host: location.host.clone(),
            port: location.port,
            user: location.user.clone(),
            path: location.path.clone(),
            size: remote.size,
            modified: remote.modified,
        };
        let known = found(folder.read(&record, 16 << 10))?
            .and_then(|bytes| toml::from_str::<Origin>(&String::from_utf8_lossy(&bytes)).ok());
        let length = found(folder.open_file(&name))?
            .and_then(|file| file.metadata().ok())
            .map(|meta| meta.len())
            .filter(|length| *length <= remote.size);
        let same = known.as_ref() == Some(&origin) && remote.resumable && remote.modified.is_some();
        let have = length.filter(|_| same).unwrap_or(0);
        backups::room(folder, remote.size - have)?;
        let writer = if have > 0 {
            folder.open_to_write(&name)?
        } else {
            folder.remove_if_there(&name)?;
            let text = toml::to_string(&origin)
                .map_err(|e| Failure::new(Code::Internal, format!("{record} cannot be written: {e}")))?;
            folder.replace(&record, text.as_bytes(), 0o600)?;
            backups::create(folder, &name)?
        };
        Ok(Self { folder: folder.clone(), name, writer, have })
    }

    /// Bytes that an earlier fetch has brought: the next one begins there.
    pub fn have(&self) -> u64 {
        self.have
    }

    /// Where the fetch sends to, and what the archive is read from: from byte 0, what is here already,
    /// then what comes, once it is written. Needs a runtime; the reader blocks.
    pub fn begin(self) -> Result<(mpsc::Sender<Bytes>, impl BufRead + Send + 'static), Failure> {
        let here = self.folder.open_file(&self.name)?.take(self.have);
        let (sender, incoming) =
            blocks::through(self.writer, self.have).map_err(|e| Failure::io("cannot start a thread", &e))?;
        Ok((sender, BufReader::with_capacity(archive::BUFFER, here).chain(incoming)))
    }
}

/// A whole archive gets its name, durably, and so does a whole bundle; one that broke off stays to be
/// gone on with; anything else goes.
pub fn settle<T>(folder: &Folder, file: &str, read: &Result<T, Vec<Failure>>) -> Result<(), Failure> {
    let (part, record) = (part_name(file), origin_name(file));
    match read {
        Err(failures) if keeps_part(failures) => return Ok(()),
        Err(failures) if failures.iter().any(|failure| failure.code != Code::ArchiveBundle) => {
            folder.remove_if_there(&part)?;
        }
        _ => {
            folder.open_to_write(&part)?.sync()?;
            folder.rename(&part, file)?;
        }
    }
    folder.remove_if_there(&record)?;
    Ok(folder.sync("")?)
}

/// Removes what has come of a download, because its place is needed.
pub fn forget(folder: &Folder, file: &str) -> Result<(), Failure> {
    folder.remove_if_there(part_name(file))?;
    Ok(folder.remove_if_there(origin_name(file))?)
}

/// Removes what has broken off and that nobody goes on with: every `.part` that no download is known to have begun.
pub fn sweep(folder: &Folder) -> Result<(), Failure> {
    let names = folder.list("")?;
    let names = names.iter().filter(|(_, kind)| *kind == Kind::File).filter_map(|(name, _)| name.to_str());
    for part in names.filter(|name| !name.starts_with('.')) {
        let Some(file) = part.strip_suffix(".part") else { continue };
        if found(folder.stat(origin_name(file)))?.is_none() {
            folder.remove_if_there(part)?;
            tracing::info!(
                "{} was not whole when the agent ended, and is gone",
                reinstate_api::one_line(file)
            );
        }
    }
    Ok(())
}

/// Whether a download that ended so stays to be gone on with.
pub fn keeps_part(failures: &[Failure]) -> bool {
    let broke_off = [Code::ConnectionLost, Code::Stalled, Code::Aborted, Code::Unanswered, Code::Declined];
    failures.iter().all(|failure| broke_off.contains(&failure.code))
}
