//! The two files, as a session sees them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use reinstate_api::{Code, Failure, Lock, one_line};
use russh_sftp::protocol::{
    Attrs, Data, File as Named, FileAttributes, Handle, Name, OpenFlags, Status, StatusCode, Version,
};
use russh_sftp::server::{Handler, StatusReply};
use uuid::Uuid;

use super::endpoint::Backend;
use super::{IDENTITY, LOCK, MAX_LOCK};
use crate::lock;

/// Handles that one session may have open, and requests that it may make.
const MAX_OPEN: usize = 8;
const MAX_REQUESTS: u32 = 1024;

/// What is sent for one request.
const MAX_READ: usize = 32 << 10;

enum Open {
    Folder {
        listed: bool,
    },
    /// As it was when it was opened.
    Reading(Vec<u8>),
    /// Becomes the lock when it is closed, and is nothing before.
    Writing {
        new: bool,
        content: Vec<u8>,
    },
}

/// One session.
pub struct Files {
    backend: Backend,
    from: IpAddr,
    open: HashMap<String, Open>,
    next: u32,
    requests: u32,
    /// The restores that this session has written a lock of: it may take those away again.
    claims: HashSet<Uuid>,
}

type Reply<T> = Result<T, StatusReply>;

impl Files {
    pub fn new(backend: Backend, from: IpAddr) -> Self {
        Self { backend, from, open: HashMap::new(), next: 0, requests: 0, claims: HashSet::new() }
    }

    fn count(&mut self) -> Reply<()> {
        self.requests += 1;
        match self.requests > MAX_REQUESTS {
            true => Err(denied("this session has made too many requests")),
            false => Ok(()),
        }
    }

    fn keep(&mut self, id: u32, open: Open) -> Reply<Handle> {
        if self.open.len() >= MAX_OPEN {
            return Err(failure("this session has too many files open"));
        }
        self.next += 1;
        let handle = self.next.to_string();
        self.open.insert(handle.clone(), open);
        Ok(Handle { id, handle })
    }

    fn content(&self, path: &str) -> Reply<Vec<u8>> {
        match path {
            IDENTITY => (self.backend.identity)().map_err(said),
            LOCK => match self.backend.lock.read().map_err(said)? {
                Some(lock) => lock::bytes(&lock).map_err(said),
                None => Err(StatusCode::NoSuchFile.with_message("nobody holds the restore lock")),
            },
            _ => {
                Err(StatusCode::NoSuchFile
                    .with_message("there is nothing else than the lock and the identity"))
            }
        }
    }

    fn attributes(&self, path: &str) -> Reply<FileAttributes> {
        match path {
            "/" => Ok(attributes(0o040_555, None)),
            LOCK => Ok(attributes(0o100_644, Some(self.content(path)?.len()))),
            _ => Ok(attributes(0o100_444, Some(self.content(path)?.len()))),
        }
    }

    /// A whole upload: a new lock, or what the lock's own restore says of it.
    async fn publish(&mut self, new: bool, content: Vec<u8>) -> Reply<()> {
        let lock = lock::parse(&content, "the uploaded lock").map_err(said)?;
        if !self.backend.members.contains(&lock.device) {
            let device = one_line(&lock.device);
            return Err(denied(&format!("the device {device} is no other member of this group")));
        }
        let (file, id, from) = (self.backend.lock.clone(), lock.id, self.from);
        let written = tokio::task::spawn_blocking(move || match new {
            true => file.take(&lock).map(|()| lock),
            false => file
                .update(lock.id, |there| match there.device == lock.device {
                    true => Ok(lock.clone()),
                    false => Err(lock::held(&there)),
                })
                .map(|()| lock),
        });
        let written = written.await.map_err(|_| failure("the lock was not written"))?;
        let Lock { hostname, by, phase, .. } = written.map_err(said)?;
        tracing::info!(restore = %id, %from, %by, %phase, "restore lock {} by {hostname}", if new { "taken" } else { "kept" });
        self.claims.insert(id);
        (self.backend.changed)();
        Ok(())
    }
}

fn attributes(mode: u32, size: Option<usize>) -> FileAttributes {
    let size = size.map(|size| size as u64);
    FileAttributes { size, permissions: Some(mode), ..FileAttributes::empty() }
}

fn denied(why: &str) -> StatusReply {
    StatusCode::PermissionDenied.with_message(why)
}

fn failure(why: &str) -> StatusReply {
    StatusCode::Failure.with_message(why)
}

fn said(failure: Failure) -> StatusReply {
    let code = match failure.code {
        Code::LockHeld | Code::LockLost => StatusCode::Failure,
        _ => StatusCode::BadMessage,
    };
    code.with_message(one_line(&failure.to_string()))
}

fn ok(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: "Ok".into(), language_tag: "en-US".into() }
}

/// `.`, `identity` and `//identity` are meant as they are typed.
fn absolute(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

impl Handler for Files {
    type Error = StatusReply;

    fn unimplemented(&self) -> StatusReply {
        StatusCode::PermissionDenied.with_message("only the lock and the identity are here")
    }

    async fn init(&mut self, version: u32, _: HashMap<String, String>) -> Reply<Version> {
        match version {
            3.. => Ok(Version::new()),
            _ => Err(StatusCode::OpUnsupported.into()),
        }
    }

    async fn realpath(&mut self, id: u32, path: String) -> Reply<Name> {
        self.count()?;
        Ok(Name { id, files: vec![Named::dummy(absolute(&path))] })
    }

    async fn stat(&mut self, id: u32, path: String) -> Reply<Attrs> {
        self.count()?;
        Ok(Attrs { id, attrs: self.attributes(&absolute(&path))? })
    }

    async fn lstat(&mut self, id: u32, path: String) -> Reply<Attrs> {
        self.stat(id, path).await
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Reply<Attrs> {
        self.count()?;
        match self.open.get(&handle) {
            Some(Open::Reading(content)) => {
                Ok(Attrs { id, attrs: attributes(0o100_444, Some(content.len())) })
            }
            Some(_) => Ok(Attrs { id, attrs: attributes(0o100_644, Some(0)) }),
            None => Err(failure("there is no such handle")),
        }
    }

    async fn opendir(&mut self, id: u32, path: String) -> Reply<Handle> {
        self.count()?;
        match absolute(&path).as_str() {
            "/" => self.keep(id, Open::Folder { listed: false }),
            _ => Err(StatusCode::NoSuchFile.with_message("there is one folder only")),
        }
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Reply<Name> {
        self.count()?;
        match self.open.get_mut(&handle) {
            Some(Open::Folder { listed }) if !*listed => *listed = true,
            Some(Open::Folder { .. }) => return Err(StatusCode::Eof.into()),
            _ => return Err(failure("there is no such folder open")),
        }
        let named = |path: &str| {
            let attributes = self.attributes(path).ok()?;
            Some(Named::new(path.trim_start_matches('/'), attributes))
        };
        Ok(Name { id, files: [IDENTITY, LOCK].into_iter().filter_map(named).collect() })
    }

    async fn open(&mut self, id: u32, path: String, flags: OpenFlags, _: FileAttributes) -> Reply<Handle> {
        self.count()?;
        let path = absolute(&path);
        if flags.bits() == OpenFlags::READ.bits() {
            let content = self.content(&path)?;
            return self.keep(id, Open::Reading(content));
        }
        if path != LOCK || flags.intersects(OpenFlags::READ | OpenFlags::APPEND) {
            return Err(denied("only the restore lock is written, and nothing is written and read at once"));
        }
        let new = flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUDE);
        if flags.contains(OpenFlags::CREATE) && !new {
            return Err(denied("a restore lock is created where there is none, and replaces none"));
        }
        match (new, self.backend.lock.read().map_err(said)?) {
            (true, Some(held)) => Err(said(lock::held(&held))),
            (false, None) => Err(StatusCode::NoSuchFile.with_message("nobody holds the restore lock")),
            _ => self.keep(id, Open::Writing { new, content: Vec::new() }),
        }
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Reply<Data> {
        self.count()?;
        let Some(Open::Reading(content)) = self.open.get(&handle) else {
            return Err(failure("there is no such file open"));
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let to = from.saturating_add((len as usize).min(MAX_READ)).min(content.len());
        if from == to {
            return Err(StatusCode::Eof.into());
        }
        Ok(Data { id, data: content[from..to].to_vec() })
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Reply<Status> {
        self.count()?;
        let Some(Open::Writing { content, .. }) = self.open.get_mut(&handle) else {
            return Err(failure("there is no such file open to be written"));
        };
        if offset != content.len() as u64 || content.len() + data.len() > MAX_LOCK {
            self.open.remove(&handle);
            return Err(failure(
                "a restore lock is written from its beginning, in order, and has at most 16 KiB",
            ));
        }
        content.extend_from_slice(&data);
        Ok(ok(id))
    }

    async fn close(&mut self, id: u32, handle: String) -> Reply<Status> {
        self.count()?;
        match self.open.remove(&handle) {
            Some(Open::Writing { new, content }) => self.publish(new, content).await?,
            Some(_) => {}
            None => return Err(failure("there is no such handle")),
        }
        Ok(ok(id))
    }

    /// Only a session that has shown to be the holder's, by having written the lock.
    async fn remove(&mut self, id: u32, path: String) -> Reply<Status> {
        self.count()?;
        if absolute(&path) != LOCK {
            return Err(denied("only the restore lock is removed"));
        }
        match self.backend.lock.read().map_err(said)? {
            Some(held) if self.claims.contains(&held.id) && self.backend.members.contains(&held.device) => {
                let file = self.backend.lock.clone();
                let released = tokio::task::spawn_blocking(move || file.release(held.id)).await;
                released.map_err(|_| failure("the lock was not removed"))?.map_err(said)?;
                tracing::info!(restore = %held.id, from = %self.from, "restore lock released");
                (self.backend.changed)();
                Ok(ok(id))
            }
            Some(held) => Err(denied(&format!(
                "{}; only that restore takes it away, or an admin here with `clear restore-lock`",
                one_line(&lock::held(&held).message)
            ))),
            None => Err(StatusCode::NoSuchFile.with_message("nobody holds the restore lock")),
        }
    }
}
