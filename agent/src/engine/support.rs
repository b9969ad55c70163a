//! A file for whoever is to help: what this appliance is and has done, and none of its secrets.
//!
//! Nothing is copied from the configuration. What is in it is what `show` shows, the agent's log, and a list of the live
//! configuration's files. Of a file that not everybody on the appliance may read, and of one that a domain calls a secret, the
//! list has neither size nor digest: with these a short password could be guessed. Licence keys are left out.

use std::collections::BTreeSet;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use reinstate_api::{BackupDetails, Code, Created, Failure, Status, one_line};
use serde::Serialize;
use serde_json::{Value, json};

use super::Engine;
use super::flow::ended_early;
use crate::facts::Facts;
use crate::files::{Folder, Kind};
use crate::tree::{Entry, EntryKind, Index};
use crate::{archive, backups, clock, usage};

/// Lines of the log.
const LINES: usize = 5000;

/// Readable for everybody.
const PUBLIC: u32 = 0o004;

const ABOUT: &str = "\
What this appliance is and has done, for whoever is to help. Nothing in it is a backup.

In it: what `show` shows, the agent's log, the names of the people, and the list of the configuration's files.
Not in it: contents of configuration files, keys, passwords and their hashes, licence keys. Of files that are secret or not
readable for everybody on the appliance, files.json has neither size nor digest.
Host names, addresses, and names of people and servers are in it: look through it before you hand it on.
";

impl Engine {
    /// Makes one in the backup folder; also while a job runs, because that may be what is to be looked into.
    pub async fn tech_support(&self, by: &str) -> Result<Created, Failure> {
        tracing::info!(by, "a tech-support file is made");
        let made = Timestamp::now();
        let facts = self.parts().platform.facts().await;
        let hostname = facts.as_ref().map(|facts| facts.device.hostname.clone()).unwrap_or_default();
        let files = self.gather(facts).await;
        let file = archive::tech_support_name(&hostname, made);
        let (folder, mine) = (self.backups()?, self.take_name(&file)?);
        let written = tokio::task::spawn_blocking(move || {
            let _mine = mine;
            write(&folder, file, made, files)
        });
        let written = written.await;
        written.map_err(|_| Failure::new(Code::Internal, "the writing thread ended early"))?
    }

    /// What cannot be told says why in its place.
    async fn gather(&self, facts: Result<Facts, Failure>) -> Vec<(String, Vec<u8>)> {
        let parts = self.parts();
        let platform = &parts.platform;
        let facts = facts.map(|facts| Facts { licence: String::new(), ..facts });
        let people = platform.people().await.map(|people| names(people.into_iter().map(|one| one.name)));
        let engine = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let parts = engine.parts();
            (
                usage::read(&parts.root, parts.store.folder()),
                engine.backups().and_then(|folder| listed(&folder)),
                parts.store.numbers(),
            )
        });
        let (used, there, generations) =
            looked.await.unwrap_or_else(|_| (Err(ended_early()), Err(ended_early()), Err(ended_early())));
        let mut files = vec![("about.txt".to_owned(), ABOUT.as_bytes().to_vec())];
        let mut put = |name: &str, told: Result<Value, Failure>| {
            let told = told.unwrap_or_else(|failure| json!({ "failures": [failure] }));
            let text = serde_json::to_vec_pretty(&told).unwrap_or_else(|e| e.to_string().into());
            files.push((format!("{name}.json"), text));
        };
        put(
            "version",
            Ok(json!({ "reinstate": env!("CARGO_PKG_VERSION"), "product": parts.profile.product })),
        );
        put("facts", facts.and_then(value));
        put("network", self.network().await.and_then(value));
        put("interfaces", self.interfaces().await.and_then(value));
        put("disk", used.and_then(value));
        put("users", people);
        put("time", clock::read(&parts.root).and_then(value));
        put("ssh", self.ssh().and_then(value));
        put("status", value(without_licence(self.status())));
        put("history", parts.state.read().and_then(|state| value(state.history)));
        put("backups", there);
        put("generations", generations.and_then(value));
        put("files", platform.scan().await.and_then(|index| value(public(&index))));
        let log = match platform.log(LINES).await {
            Ok(lines) => lines.join("\n") + "\n",
            Err(failure) => format!("{failure}\n"),
        };
        files.push(("log.txt".into(), log.into_bytes()));
        files
    }
}

fn value(told: impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(told).map_err(|e| Failure::new(Code::Internal, format!("it cannot be written: {e}")))
}

fn names(names: impl Iterator<Item = String>) -> Value {
    json!(names.collect::<Vec<_>>())
}

/// What an archive says of itself holds its licence key.
pub fn without_licence(mut status: Status) -> Status {
    if let Some(BackupDetails { licence, .. }) = status.job.as_mut().and_then(|job| job.details.as_mut()) {
        licence.clear();
    }
    status
}

/// Names and sizes: what backups say of themselves holds licence keys.
fn listed(backups: &Folder) -> Result<Value, Failure> {
    let mut files = Vec::new();
    for (name, kind) in backups.list("")? {
        if kind == Kind::File {
            let bytes = crate::files::found(backups.stat(&name))?.map(|stat| stat.size);
            files.push(json!({ "file": one_line(&name.to_string_lossy()), "bytes": bytes }));
        }
    }
    Ok(json!(files))
}

/// The list of the configuration's files, with size and digest of those that everybody may read.
fn public(index: &Index) -> Value {
    let line = |(domain, entry): (&str, &Entry)| {
        let Entry { path, mode, owner, group, kind } = entry;
        let mode_text = format!("{mode:04o}");
        let path = path.to_string();
        let mut line =
            json!({ "domain": domain, "path": path, "mode": mode_text, "owner": owner, "group": group });
        match kind {
            EntryKind::File { size, sha256, sealed: false } if mode & PUBLIC != 0 => {
                line["size"] = json!(size);
                line["sha256"] = json!(sha256);
            }
            EntryKind::File { .. } => {}
            EntryKind::Folder => line["folder"] = json!(true),
            EntryKind::Link { target } => line["target"] = json!(one_line(target)),
        }
        line
    };
    let domains: BTreeSet<&String> = index.domains.keys().collect();
    json!({ "domains": domains, "files": index.iter().map(line).collect::<Vec<_>>() })
}

fn write(
    folder: &Folder,
    file: String,
    made: Timestamp,
    files: Vec<(String, Vec<u8>)>,
) -> Result<Created, Failure> {
    let within = file.trim_end_matches(".tar.gz").to_owned();
    let files: Vec<_> =
        files.into_iter().map(|(name, content)| (format!("{within}/{name}"), content)).collect();
    backups::room(folder, files.iter().map(|(_, content)| content.len() as u64).sum())?;
    let part = format!("{file}.part");
    // Two in one second: the first one makes it.
    let writer = backups::create(folder, &part)?;
    let written = pack(writer, made, &files).and_then(|()| Ok(folder.rename_new(&part, &file)?));
    if let Err(failure) = written {
        folder.remove_if_there(&part)?;
        return Err(failure);
    }
    folder.sync("")?;
    let bytes = folder.stat(&file)?.size;
    Ok(Created { file, bytes })
}

fn pack(writer: crate::files::Writer, made: Timestamp, files: &[(String, Vec<u8>)]) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::io("cannot write the tech-support file", &e);
    let mut packed = GzEncoder::new(std::io::BufWriter::new(writer), Compression::default());
    archive::write_files(&mut packed, made, files)?;
    let mut out = packed.finish().map_err(cannot)?;
    out.flush().map_err(cannot)?;
    Ok(out.into_inner().map_err(|e| cannot(e.into_error()))?.sync()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Digest;

    #[test]
    fn only_of_files_that_everybody_may_read_the_list_tells_size_and_digest() {
        let mut index = Index::default();
        for (path, mode, sealed) in [("etc/a", 0o644, false), ("etc/b", 0o640, false), ("etc/c", 0o644, true)]
        {
            let kind = EntryKind::File { size: 3, sha256: Digest([7; 32]), sealed };
            let (owner, group) = ("root".into(), "root".into());
            index.insert("x", Entry { path: path.parse().unwrap(), mode, owner, group, kind });
        }
        let list = public(&index);
        let told: Vec<_> =
            list["files"].as_array().unwrap().iter().map(|line| line.get("sha256").is_some()).collect();
        assert_eq!(told, [true, false, false], "{list}");
        assert_eq!(list.to_string().matches("size").count(), 1, "{list}");
    }
}
