//! A backup that an admin copies onto the appliance: of unknown length, kept as `.part` until it is whole.

mod names;

use std::io::{self, BufRead};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reinstate_api::{Code, Created, Failure};
use tokio::sync::oneshot;

use crate::backups::{self, Quota};
use crate::download::{self, part_name};
use crate::files::{Folder, Writer, found};
use crate::profile::Profile;

pub use names::{Name, Names};

/// Nothing comes for so long: the other side is gone.
const SILENCE: Duration = Duration::from_secs(600);

/// The folder and the disk are looked at again whenever so much has come: 16 MiB.
const STRIDE: u64 = 16 << 20;

/// A backup of which nothing has come yet.
pub struct Upload {
    folder: Folder,
    /// Dropped last: until then nobody else makes a file of this name.
    name: Name,
    quota: Quota,
    /// Bytes of one file.
    most: u64,
}

impl Upload {
    /// # Errors
    /// `backup-exists`, `no-space`.
    pub fn begin(folder: Folder, name: Name, profile: &Profile) -> Result<Self, Failure> {
        if let Some(there) = found(folder.stat(name.file()))? {
            return Err(is_there(name.file(), there.size));
        }
        let (quota, most) = (profile.backups.clone(), profile.limits.bytes);
        let upload = Self { folder, name, quota, most };
        let files = backups::list(&upload.folder)?.len();
        if files >= upload.quota.files {
            return Err(Failure::new(
                Code::NoSpace,
                format!("{files} files are in /var/sf/backup; at most {} are kept", upload.quota.files),
            )
            .hint("remove old backups from /var/sf/backup"));
        }
        upload.room(0)?;
        Ok(upload)
    }

    /// Takes what comes until it ends. What breaks off leaves nothing, also where whoever waits for this goes away.
    pub async fn receive<E: std::fmt::Display>(
        self,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Created, Failure> {
        let writer = self.create()?;
        let (pieces, incoming) =
            download::through(writer, 0).map_err(|e| Failure::io("cannot start a thread", &e))?;
        let (whole, ended_well) = oneshot::channel();
        let file = self.name.file().to_owned();
        let keeping = tokio::task::spawn_blocking(move || self.keep(incoming, ended_well));
        let broken = loop {
            match tokio::time::timeout(SILENCE, body.next()).await {
                Ok(Some(Ok(piece))) => {
                    // Whoever keeps it has given up, and says why.
                    if !piece.is_empty() && pieces.send(piece).await.is_err() {
                        break None;
                    }
                }
                Ok(None) => {
                    let _ = whole.send(());
                    break None;
                }
                Ok(Some(Err(error))) => {
                    let message = format!("the upload of {file} broke off: {error}");
                    break Some(Failure::new(Code::ConnectionLost, message));
                }
                Err(_) => {
                    let message = format!("the upload of {file}: nothing came for {} s", SILENCE.as_secs());
                    break Some(Failure::new(Code::Stalled, message));
                }
            }
        };
        drop(pieces);
        let kept =
            keeping.await.map_err(|_| Failure::new(Code::Internal, "the writing thread ended early"))?;
        broken.map_or(kept, |failure| Err(failure.hint("nothing of it was kept: begin anew")))
    }

    fn create(&self) -> Result<Writer, Failure> {
        // What is left of a download of this name is in the way of what an admin brings by hand.
        download::forget(&self.folder, self.name.file())?;
        backups::create(&self.folder, &part_name(self.name.file()))
    }

    fn keep(self, incoming: impl BufRead, ended_well: oneshot::Receiver<()>) -> Result<Created, Failure> {
        let kept = self.drain(incoming).and_then(|bytes| self.finish(bytes, ended_well));
        if kept.is_err() {
            let removed = self.folder.remove_if_there(part_name(self.name.file()));
            if let Err(failure) = removed {
                tracing::warn!("what has come of {} stays behind: {failure}", self.name.file());
            }
        }
        kept
    }

    fn drain(&self, mut incoming: impl BufRead) -> Result<u64, Failure> {
        let (mut bytes, mut looked) = (0, 0);
        loop {
            let here = incoming.fill_buf().map_err(why)?.len() as u64;
            if here == 0 {
                return Ok(bytes);
            }
            incoming.consume(here as usize);
            bytes += here;
            if bytes > self.most {
                let file = self.name.file();
                let message =
                    format!("{file} has more than {} bytes, which is the most that is taken", self.most);
                return Err(Failure::new(Code::ArchiveTooLarge, message));
            }
            if bytes - looked >= STRIDE {
                self.room(bytes)?;
                looked = bytes;
            }
        }
    }

    fn finish(&self, bytes: u64, mut ended_well: oneshot::Receiver<()>) -> Result<Created, Failure> {
        let file = self.name.file();
        if ended_well.try_recv().is_err() {
            return Err(Failure::new(Code::ConnectionLost, format!("the upload of {file} broke off")));
        }
        self.room(bytes)?;
        let part = part_name(file);
        self.folder.open_to_write(&part)?.sync()?;
        self.folder.rename_new(&part, file).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => is_there(file, bytes),
            _ => error.into(),
        })?;
        self.folder.sync("")?;
        Ok(Created { file: file.to_owned(), bytes })
    }

    /// Whether this file may have so many bytes, beside all that is there, and the next ones fit the disk.
    fn room(&self, bytes: u64) -> Result<(), Failure> {
        let own = part_name(self.name.file());
        let others: u64 = backups::list(&self.folder)?
            .iter()
            .filter(|there| there.file != own)
            .map(|there| there.bytes)
            .sum();
        let (all, most) = (others.saturating_add(bytes), self.quota.bytes);
        if all > most {
            return Err(Failure::new(
                Code::NoSpace,
                format!(
                    "backups in /var/sf/backup: {all} bytes with {}; at most {most} are kept",
                    self.name.file()
                ),
            )
            .hint("remove old backups from /var/sf/backup"));
        }
        backups::room(&self.folder, 0)
    }
}

fn is_there(file: &str, bytes: u64) -> Failure {
    Failure::new(Code::BackupExists, format!("{file} is in /var/sf/backup already, with {bytes} bytes"))
        .hint("a backup is not written over: remove it first, or give the new one another name")
}

/// The failure that the writing thread has put into its error.
fn why(error: io::Error) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => Failure::io("cannot write to /var/sf/backup", &error),
    }
}
