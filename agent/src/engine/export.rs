//! Backups: made, listed, and what fetching them needs.

use std::io::{BufReader, Read, Write};

use jiff::Timestamp;
use reinstate_api::{BackupEntry, Code, Created, Failure, one_line};

use super::Engine;
use crate::archive::{self, DomainRecord, HaGroup, Manifest};
use crate::facts::Facts;
use crate::fetch::{DeviceKey, Trust};
use crate::files::Kind;
use crate::peers::parse_group;
use crate::store::{Generation, SealKey};
use crate::tree::{Digest, Index};

/// The device's own key for fetching, below the agent's own folder.
const DEVICE_KEY: &str = "device_key";

/// The largest description of an HA group: 64 KiB.
const MAX_GROUP: u64 = 64 << 10;

/// Host keys that an admin has accepted.
const KNOWN_HOSTS: &str = "known_hosts";

/// Host keys that are part of the configuration, below the root.
const TRUSTED_HOSTS: &str = "etc/ssh/ssh_known_hosts";

impl Engine {
    /// A snapshot of the live configuration, exported into the backup folder. It goes on when
    /// whoever asked for it has gone.
    ///
    /// # Errors
    /// `busy` while a job or another backup is running.
    pub async fn create_backup(&self) -> Result<Created, Failure> {
        self.alone(|engine| async move { engine.back_up().await }).await
    }

    /// Copies a backup from the medium: the named one, or the only one there.
    ///
    /// # Errors
    /// As [`crate::medium::import`]; `busy` while a job or a backup is running.
    pub async fn import(&self, file: Option<String>) -> Result<Created, Failure> {
        file.as_deref().map_or(Ok(()), crate::backups::check_name)?;
        self.alone(|engine| async move { engine.parts().platform.import(file).await }).await
    }

    /// While this goes on nothing else does, even if whoever asked for it is gone.
    async fn alone<F>(&self, work: impl FnOnce(Self) -> F) -> Result<Created, Failure>
    where
        F: Future<Output = Result<Created, Failure>> + Send + 'static,
    {
        let reserved = self.reserve()?;
        let work = work(self.clone());
        let done = tokio::spawn(async move {
            let done = work.await;
            drop(reserved);
            done
        });
        done.await.map_err(|_| Failure::new(Code::Internal, "the work ended early"))?
    }

    async fn back_up(&self) -> Result<Created, Failure> {
        let parts = self.parts();
        let facts = parts.platform.facts().await?;
        let number = self.record(|state| match &state.job {
            Some(job) => Err(super::busy_with(job.kind.as_str(), job.id, job.phase())),
            None => Ok(state.take_number()),
        })?;
        parts.platform.snapshot(number, "snapshot for a backup".into()).await?;
        let engine = self.clone();
        let exported = tokio::task::spawn_blocking(move || {
            let exported = engine.export(number, &facts);
            engine.parts().store.remove(number)?;
            exported
        });
        exported.await.map_err(|_| Failure::new(Code::Internal, "the exporting thread ended early"))?
    }

    fn export(&self, number: u64, facts: &Facts) -> Result<Created, Failure> {
        let parts = self.parts();
        let generation = parts.store.generation(number)?;
        let created = Timestamp::now();
        let file = archive::file_name(&facts.device, created);
        let backups = self.backups()?;
        let part = format!("{file}.part");
        backups.remove_if_there(&part)?;
        let written = self.write_archive(&backups, &part, &generation, facts, created);
        if let Err(failure) = written {
            backups.remove_if_there(&part)?;
            return Err(failure);
        }
        backups.rename(&part, &file)?;
        backups.sync("")?;
        let bytes = backups.stat(&file)?.size;
        Ok(Created { file, bytes })
    }

    fn write_archive(
        &self,
        backups: &crate::files::Folder,
        part: &str,
        generation: &Generation,
        facts: &Facts,
        created: Timestamp,
    ) -> Result<(), Failure> {
        let cannot = |e: std::io::Error| Failure::io("cannot write the backup", &e);
        let (index, key) = (generation.index()?, generation.key()?);
        let domains = self.parts().domains.stored().map(|domain| DomainRecord {
            name: domain.name.clone(),
            version: domain.version,
            files: 0,
            bytes: 0,
            optional: domain.optional,
        });
        let ha = self.group_of(generation, &index, &key)?;
        let manifest = Manifest {
            format: Manifest::FORMAT,
            created,
            sha256sums: Digest([0; 32]),
            licence: facts.licence.clone(),
            hardware: facts.hardware.clone(),
            device: facts.device.clone(),
            software: facts.software.clone(),
            manager: facts.registration.clone(),
            ha,
            domains: domains.collect(),
        };
        let mut out = std::io::BufWriter::with_capacity(256 << 10, crate::backups::create(backups, part)?);
        archive::write(&mut out, manifest, &index, &mut |_, entry| generation.open(entry, &key))?;
        out.flush().map_err(cannot)?;
        let writer = out.into_inner().map_err(|e| cannot(e.into_error()))?;
        Ok(writer.sync()?)
    }

    /// The HA group that a generation describes.
    fn group_of(
        &self,
        generation: &Generation,
        index: &Index,
        key: &SealKey,
    ) -> Result<Option<HaGroup>, Failure> {
        let Some(ha) = &self.parts().profile.ha else { return Ok(None) };
        let file =
            index.iter().map(|(_, entry)| entry).find(|entry| entry.path == ha.group && entry.is_file());
        let Some(entry) = file else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = generation.open(entry, key)?.take(MAX_GROUP).read_to_end(&mut bytes);
        read.map_err(|e| Failure::io(format_args!("cannot read {}", ha.group), &e))?;
        parse_group(&ha.group, &bytes).map(Some)
    }

    /// The names of the backups, newest last by name.
    pub(super) fn backup_files(&self) -> Result<Vec<String>, Failure> {
        let names = self.backups()?.list("")?.into_iter();
        let visible = names
            .filter(|(_, kind)| *kind == Kind::File)
            .map(|(name, _)| name.to_string_lossy().into_owned());
        Ok(visible.filter(|name| !name.starts_with('.') && !name.ends_with(".part")).collect())
    }

    /// What is in the backup folder, with what each archive's manifest says.
    pub fn list_backups(&self) -> Result<Vec<BackupEntry>, Failure> {
        let backups = self.backups()?;
        let mut entries = Vec::new();
        for (name, kind) in backups.list("")? {
            let Some(file) = name.to_str().filter(|name| !name.starts_with('.') && kind == Kind::File) else {
                continue;
            };
            let stat = backups.stat(file)?;
            let partial = file.ends_with(".part");
            let read = match partial {
                true => Err(String::new()),
                false => backups
                    .open_file(file)
                    .map_err(Failure::from)
                    .and_then(|input| {
                        archive::read_manifest(BufReader::new(input), &self.parts().profile.limits)
                    })
                    .map_err(|failure| failure.message),
            };
            let (details, problem) = match read {
                Ok(manifest) => (Some(manifest.details(file)), String::new()),
                Err(problem) => (None, problem),
            };
            entries.push(BackupEntry {
                file: one_line(file),
                bytes: stat.size,
                modified: Timestamp::from_second(stat.modified).unwrap_or(Timestamp::UNIX_EPOCH),
                partial,
                details,
                problem,
            });
        }
        Ok(entries)
    }

    /// The host keys that are trusted.
    pub(super) fn trust(&self) -> Trust {
        let parts = self.parts();
        let own = parts.store.folder().path().join(KNOWN_HOSTS);
        Trust {
            known_hosts: vec![own, parts.root.path().join(TRUSTED_HOSTS)],
            remember: (parts.store.folder().clone(), KNOWN_HOSTS.into()),
        }
    }

    /// The key by which this device logs in to servers; made when it is first asked for.
    pub async fn device_key(&self) -> Result<DeviceKey, Failure> {
        let parts = self.parts();
        let host = parts.platform.facts().await?.device.hostname;
        DeviceKey::load_or_create(parts.store.folder(), DEVICE_KEY.as_ref(), &host)
    }
}
