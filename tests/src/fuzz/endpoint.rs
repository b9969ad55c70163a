//! What members of an HA group do on the endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jiff::Timestamp;
use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::lock::{self, LockFile};
use reinstate_agent::peers::{Backend, Files};
use reinstate_api::{Lock, Phase};
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use russh_sftp::server::Handler;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use super::scratch;

const MEMBERS: [&str; 2] = ["5d1d8f4e-0000-4000-8000-00000000000b", "5d1d8f4e-0000-4000-8000-00000000000c"];
const STRANGERS: [&str; 2] = ["", "5d1d8f4e-0000-4000-8000-00000000000a"];
const PATHS: [&str; 8] = [
    "/restore.lock",
    "restore.lock",
    "//./restore.lock",
    "/identity",
    "/",
    ".",
    "/../etc/passwd",
    "/.restore.lock.new",
];
const NAMES: [&str; 2] = ["restore.lock", "identity"];
const IDENTITY: &[u8] = b"device = 'a'\n";

static PLACE: LazyLock<Mutex<Place>> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().build().unwrap();
    Mutex::new(Place { folder: scratch(), runtime })
});

struct Place {
    folder: TempDir,
    runtime: Runtime,
}

/// Whatever two sessions ask for: there are two files, the lock is absent or whole and a member's, and only a
/// session that has written it takes it away.
pub fn endpoint(input: &[u8]) {
    let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = place.folder.path();
    if let Err(error) = fs::remove_file(path.join(NAMES[0])) {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
    let backend = Backend {
        lock: LockFile::new(Folder::open(path, Arc::new(Direct)).unwrap()),
        identity: Arc::new(|| Ok(IDENTITY.to_vec())),
        changed: Arc::new(|| {}),
        members: Arc::new(MEMBERS.map(str::to_owned).to_vec()),
    };
    let mut member = Member { bytes: input, sessions: Vec::new(), backend };
    member.sessions = (0..2).map(|at| member.session(at)).collect();
    place.runtime.block_on(async {
        let mut before: Option<Lock> = None;
        while let Some(deed) = member.act().await {
            let names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            let now = member.backend.lock.read().unwrap();
            assert_eq!(names, now.iter().map(|_| NAMES[0]).collect::<Vec<_>>());
            check(before.as_ref(), now.as_ref(), &deed);
            before = now;
        }
    });
}

/// What was just done, as far as it may change the lock.
#[derive(Debug, PartialEq)]
enum Deed {
    Nothing,
    /// A file was closed to which this was written.
    Closed(Vec<u8>),
    /// By a session that has written the locks of these restores.
    Removed(BTreeSet<Uuid>),
}

fn check(before: Option<&Lock>, now: Option<&Lock>, deed: &Deed) {
    if before == now {
        return;
    }
    match (before, now, deed) {
        (_, Some(now), Deed::Closed(content)) => {
            assert_eq!(lock::parse(content, "").as_ref(), Ok(now));
            assert!(MEMBERS.contains(&&now.device[..]));
            if let Some(before) = before {
                assert_eq!((now.id, &now.device), (before.id, &before.device));
            }
        }
        (Some(before), None, Deed::Removed(claims)) => assert!(claims.contains(&before.id)),
        _ => panic!("{deed:?} made {now:?} of {before:?}"),
    }
}

/// One session, with what was written through it.
struct Session {
    files: Files,
    open: Vec<String>,
    written: BTreeMap<String, Vec<u8>>,
    claims: BTreeSet<Uuid>,
}

/// Whoever has the group's key, and does as the input says.
struct Member<'a> {
    bytes: &'a [u8],
    sessions: Vec<Session>,
    backend: Backend,
}

impl Member<'_> {
    fn session(&self, at: u8) -> Session {
        let files = Files::new(self.backend.clone(), IpAddr::from(Ipv4Addr::new(192, 0, 2, at + 1)));
        Session { files, open: Vec::new(), written: BTreeMap::new(), claims: BTreeSet::new() }
    }

    /// 0 where the input is at its end.
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn path(&mut self) -> String {
        let which = usize::from(self.byte());
        PATHS.get(which % (PATHS.len() + 1)).map_or_else(|| self.text(), |path| (*path).to_owned())
    }

    fn text(&mut self) -> String {
        let length = usize::from(self.byte() % 64).min(self.bytes.len());
        let (text, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    fn handle(&mut self, at: usize) -> String {
        let which = usize::from(self.byte());
        let open = &self.sessions[at].open;
        open.get(which % (open.len() + 1)).map_or_else(|| which.to_string(), String::clone)
    }

    /// A lock, or something like one.
    fn content(&mut self) -> Vec<u8> {
        let (kind, id) = (self.byte(), self.byte());
        let devices = [MEMBERS, STRANGERS].concat();
        let lock = Lock {
            id: Uuid::from_u128(u128::from(id % 4)),
            device: devices[usize::from(kind) % devices.len()].to_owned(),
            hostname: if kind & 16 == 0 { "fw-b".to_owned() } else { self.text() },
            by: "admin".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            phase: Phase::ALL[usize::from(id >> 2) % Phase::ALL.len()],
            without: if kind & 32 == 0 { Vec::new() } else { vec![self.text()] },
        };
        let mut content = lock::bytes(&lock).unwrap();
        match kind >> 6 {
            0 | 1 => {}
            2 => content.truncate(usize::from(self.byte())),
            _ => content = self.text().into_bytes(),
        }
        content
    }

    /// One request, or some that belong together; none at the end of the input.
    async fn act(&mut self) -> Option<Deed> {
        if self.bytes.is_empty() {
            return None;
        }
        let what = self.byte();
        let at = usize::from(what & 1);
        match (what >> 1) % 12 {
            0 => {
                let (path, flags) = (self.path(), u32::from(self.byte()));
                self.open(at, path, OpenFlags::from_bits_truncate(flags)).await;
            }
            1 => {
                let (handle, content) = (self.handle(at), self.content());
                let skip = u64::from(self.byte() % 4 == 3);
                self.write(at, handle, skip, content).await;
            }
            2 => {
                let handle = self.handle(at);
                return Some(self.close(at, handle).await);
            }
            3 => return Some(self.remove(at).await),
            4 => {
                let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
                return Some(self.upload(at, flags).await);
            }
            5 => return Some(self.upload(at, OpenFlags::WRITE | OpenFlags::TRUNCATE).await),
            6 => self.list(at).await,
            7 => self.look(at).await,
            8 => self.sessions[at] = self.session(at as u8),
            9 => {
                let (handle, offset, length) =
                    (self.handle(at), u64::from(self.byte()), u32::from(self.byte()));
                if let Ok(data) = self.sessions[at].files.read(0, handle, offset, length).await {
                    assert!((1..=length as usize).contains(&data.data.len()));
                }
            }
            10 => self.whole(at).await,
            _ => self.denied(at).await,
        }
        Some(Deed::Nothing)
    }

    async fn open(&mut self, at: usize, path: String, flags: OpenFlags) -> Option<String> {
        let session = &mut self.sessions[at];
        let opened = session.files.open(0, path.clone(), flags, FileAttributes::empty()).await.ok()?;
        assert!(flags.bits() == OpenFlags::READ.bits() || path.ends_with(NAMES[0]), "{path} is open");
        session.open.push(opened.handle.clone());
        session.written.insert(opened.handle.clone(), Vec::new());
        Some(opened.handle)
    }

    /// At the end of what was written, or somewhere behind it.
    async fn write(&mut self, at: usize, handle: String, skip: u64, content: Vec<u8>) {
        let session = &mut self.sessions[at];
        let written = session.written.entry(handle.clone()).or_default();
        let offset = written.len() as u64 + skip;
        if session.files.write(0, handle, offset, content.clone()).await.is_ok() {
            assert_eq!(skip, 0);
            written.extend(content);
            assert!(written.len() <= 16 << 10);
        }
    }

    async fn close(&mut self, at: usize, handle: String) -> Deed {
        let session = &mut self.sessions[at];
        session.open.retain(|open| *open != handle);
        let written = session.written.remove(&handle).unwrap_or_default();
        if session.files.close(0, handle).await.is_ok()
            && let Ok(lock) = lock::parse(&written, "")
        {
            session.claims.insert(lock.id);
        }
        Deed::Closed(written)
    }

    async fn upload(&mut self, at: usize, flags: OpenFlags) -> Deed {
        let content = self.content();
        match self.open(at, PATHS[0].to_owned(), flags).await {
            Some(handle) => {
                self.write(at, handle.clone(), 0, content).await;
                self.close(at, handle).await
            }
            None => Deed::Nothing,
        }
    }

    async fn remove(&mut self, at: usize) -> Deed {
        let path = self.path();
        let there = self.backend.lock.read().unwrap();
        let session = &mut self.sessions[at];
        if session.files.remove(0, path).await.is_ok() {
            assert!(there.is_some());
            assert_eq!(self.backend.lock.read(), Ok(None));
        }
        Deed::Removed(session.claims.clone())
    }

    /// The folder lists what is there, once.
    async fn list(&mut self, at: usize) {
        let path = self.path();
        let files = &mut self.sessions[at].files;
        let Ok(handle) = files.opendir(0, path).await else { return };
        if let Ok(listed) = files.readdir(0, handle.handle.clone()).await {
            let held = self.backend.lock.read().unwrap().is_some();
            let mut names: Vec<_> = listed.files.iter().map(|file| &file.filename[..]).collect();
            names.sort_unstable();
            assert_eq!(names, if held { &["identity", "restore.lock"][..] } else { &["identity"] });
            assert!(files.readdir(0, handle.handle.clone()).await.is_err());
        }
        let _ = files.close(0, handle.handle).await;
    }

    async fn look(&mut self, at: usize) {
        let (path, handle) = (self.path(), self.handle(at));
        let files = &mut self.sessions[at].files;
        let found = files.stat(0, path.clone()).await.map(|found| found.attrs.size);
        if let Ok(same) = files.lstat(0, path).await {
            assert_eq!(found.ok(), Some(same.attrs.size));
        }
        let _ = files.fstat(0, handle).await;
    }

    /// Reads a file from its beginning to its end.
    async fn whole(&mut self, at: usize) {
        let path = self.path();
        let held = self.backend.lock.read().unwrap();
        let files = &mut self.sessions[at].files;
        let Ok(handle) = files.open(0, path.clone(), OpenFlags::READ, FileAttributes::empty()).await else {
            return;
        };
        if let Ok(read) = files.read(0, handle.handle.clone(), 0, u32::MAX).await {
            match path.ends_with(NAMES[0]) {
                true => assert_eq!(lock::parse(&read.data, "").ok(), held),
                false => assert_eq!(read.data, IDENTITY),
            }
        }
        let _ = files.close(0, handle.handle).await;
    }

    /// What nobody may do.
    async fn denied(&mut self, at: usize) {
        let (path, to) = (self.path(), self.path());
        let files = &mut self.sessions[at].files;
        let attributes = FileAttributes::empty;
        let denied = [
            files.mkdir(0, path.clone(), attributes()).await,
            files.rmdir(0, path.clone()).await,
            files.setstat(0, path.clone(), attributes()).await,
            files.rename(0, path.clone(), to.clone()).await,
            files.symlink(0, path.clone(), to).await,
        ];
        for denied in denied {
            assert_eq!(denied.unwrap_err().status_code, StatusCode::PermissionDenied);
        }
        if let Ok(real) = files.realpath(0, path).await {
            let plain = |name: &str| name.starts_with('/') && name.split('/').all(|part| part != "..");
            assert!(real.files.iter().all(|file| plain(&file.filename)));
        }
    }
}
