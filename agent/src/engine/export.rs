//! Backups: made, listed, and what fetching them needs.

use std::io::{BufReader, Read, Write};

use jiff::Timestamp;
use reinstate_api::{
    BackupDetails, BackupEntry, BundleDetails, Code, Created, Failure, TECH_SUPPORT, one_line,
};

use super::Engine;
use crate::archive::{self, DomainRecord, HaGroup, Manifest};
use crate::facts::Facts;
use crate::fetch::{DeviceKey, Trust};
use crate::files::{Folder, Kind, found};
use crate::peers::{MAX_GROUP, parse_group};
use crate::store::{Generation, SealKey};
use crate::tree::{Digest, Index};

/// The device's own key for fetching, below the agent's own folder.
const DEVICE_KEY: &str = "device_key";

/// Host keys that an admin has accepted.
pub(super) const KNOWN_HOSTS: &str = "known_hosts";

/// Host keys that are part of the configuration, below the root.
pub(super) const TRUSTED_HOSTS: &str = "etc/ssh/ssh_known_hosts";

/// Of the two, the one that a file is.
type Looked = (Option<BackupDetails>, Option<BundleDetails>);

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
        self.alone(|engine| async move {
            let _all = engine.take_all_names()?;
            engine.parts().platform.import(file).await
        })
        .await
    }

    /// While this goes on nothing else does, even if whoever asked for it is gone.
    pub(super) async fn alone<T, F>(&self, work: impl FnOnce(Self) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
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
            Some(job) => Err(super::busy_with(job.kind, job.id, job.phase())),
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
        let (backups, _mine) = (self.backups()?, self.take_name(&file)?);
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
        backups: &Folder,
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
        let is_backup = |name: &String| {
            !name.starts_with('.') && !name.ends_with(".part") && !name.ends_with(TECH_SUPPORT)
        };
        Ok(visible.filter(is_backup).collect())
    }

    /// What is in the backup folder, with what each archive's manifest says. A bundle is read to its end
    /// when it is listed for the first time.
    pub fn list_backups(&self) -> Result<Vec<BackupEntry>, Failure> {
        let backups = self.backups()?;
        let mut entries = Vec::new();
        let names = backups.list("")?;
        self.inner.bundles.forget_others(|file| names.iter().any(|(name, _)| name == file));
        for (name, kind) in names {
            let Some(file) = name.to_str().filter(|name| !name.starts_with('.') && kind == Kind::File) else {
                continue;
            };
            // It may have got another name since.
            let Some(stat) = found(backups.stat(file))? else { continue };
            let partial = file.ends_with(".part");
            let tech_support = file.ends_with(TECH_SUPPORT);
            let (details, bundle, problem) = match partial || tech_support {
                true => (None, None, String::new()),
                false => match self.look_into(&backups, file) {
                    Ok((details, bundle)) => (details, bundle, String::new()),
                    Err(failure) => (None, None, failure.message),
                },
            };
            entries.push(BackupEntry {
                file: one_line(file),
                bytes: stat.size,
                modified: Timestamp::from_second(stat.modified).unwrap_or(Timestamp::UNIX_EPOCH),
                partial,
                details,
                bundle,
                tech_support,
                problem,
            });
        }
        Ok(entries)
    }

    /// What an archive or a bundle says of itself.
    fn look_into(&self, backups: &Folder, file: &str) -> Result<Looked, Failure> {
        let input = BufReader::new(backups.open_file(file)?);
        match archive::read_manifest(input, &self.parts().profile.limits) {
            Ok(manifest) => Ok((Some(manifest.details(file)), None)),
            Err(failure) if failure.code == Code::ArchiveBundle => {
                Ok((None, Some(self.bundle_details(backups, file)?)))
            }
            Err(failure) => Err(failure),
        }
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
