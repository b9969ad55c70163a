//! What each request is answered with.

use std::io::{self, Write};

use jiff::Timestamp;
use reinstate_api::{BackupFile, Failure};

use crate::agent::{Agent, Download, Lasting, Upload};
use crate::packet::{self, Attributes, Code, Fields, Frame, MAX_DATA, MAX_PACKET, Output};
use crate::path::{Place, place};

const READ: u32 = 1;
const WRITE: u32 = 2;
const APPEND: u32 = 4;
const CREATE: u32 = 8;

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// Files in one answer.
const ENTRIES: usize = 100;

/// A status and its sentence. Stock clients show words of their own for the status, others the sentence.
type Refusal = (Code, String);

/// What is open. There is one handle at a time: nothing that copies files needs two.
enum Open {
    Upload {
        name: String,
        upload: Upload,
    },
    /// The agent has refused it half-way; the name is free again.
    Ended(Failure),
    Download {
        name: String,
        size: u64,
        modified: i64,
        at: u64,
        download: Download,
    },
    Folder {
        path: String,
        entries: Vec<(String, Attributes)>,
    },
}

pub struct Server {
    agent: Agent,
    /// Why every request is refused, where the agent gives no session.
    session: Result<Lasting, Failure>,
    /// With the number in its handle.
    open: Option<(u32, Open)>,
    handles: u32,
    /// What this session has brought: a client may say afterwards what mode and times it would have.
    brought: Option<String>,
}

/// What is answered.
enum Reply {
    Done,
    End,
    Version,
    Handle(u32),
    Data(Vec<u8>),
    Names(Vec<(String, Attributes)>),
    Attributes(Attributes),
    Limits,
}

fn refuse<T>(code: Code, sentence: impl Into<String>) -> Result<T, Refusal> {
    Err((code, sentence.into()))
}

fn refused(failure: Failure) -> Refusal {
    use reinstate_api::Code as Why;
    let code = match failure.code {
        Why::NotFound => Code::NoSuchFile,
        Why::Forbidden | Why::BadRequest | Why::SetupNeeded | Why::TooManySessions => Code::PermissionDenied,
        _ => Code::Failure,
    };
    match failure.hint.is_empty() {
        true => (code, failure.message),
        false => (code, format!("{}; {}", failure.message, failure.hint)),
    }
}

fn cut() -> Refusal {
    (Code::BadMessage, "the request ends before its fields do".to_owned())
}

fn only_backups<T>(path: &str) -> Result<T, Refusal> {
    refuse(Code::PermissionDenied, format!("{path}: only the files in /var/sf/backup are shown and copied"))
}

impl Server {
    pub fn new(agent: Agent) -> Self {
        let session = agent.session();
        Self { agent, session, open: None, handles: 0, brought: None }
    }

    pub fn answer(&mut self, frame: Frame<'_>, to: &mut Output<impl Write>) -> io::Result<()> {
        let mut fields = match frame {
            Frame::Whole(fields) => fields,
            Frame::TooLong { id, length } => {
                let message = format!("a packet of {length} bytes; at most {MAX_PACKET} are read");
                return to.status(id, Code::BadMessage, &message);
            }
        };
        let (Some(kind), Some(id)) = (fields.u8(), fields.u32()) else { return Ok(()) };
        match self.handle(kind, &mut fields) {
            Ok(Reply::Done) => to.status(id, Code::Ok, ""),
            Ok(Reply::End) => to.status(id, Code::Eof, "there is no more"),
            // The number of the first packet is the version, and that of its answer too.
            Ok(Reply::Version) => to.packet(packet::VERSION, 3, |to| {
                packet::put_string(to, b"limits@openssh.com");
                packet::put_string(to, b"1");
            }),
            Ok(Reply::Handle(number)) => {
                to.packet(packet::HANDLE, id, |to| packet::put_string(to, &number.to_be_bytes()))
            }
            Ok(Reply::Data(data)) => to.packet(packet::DATA, id, |to| packet::put_string(to, &data)),
            Ok(Reply::Attributes(about)) => {
                to.packet(packet::ATTRS, id, |to| packet::put_attributes(to, &about))
            }
            Ok(Reply::Names(names)) => to.packet(packet::NAME, id, |to| {
                to.extend((names.len() as u32).to_be_bytes());
                for (name, about) in &names {
                    packet::put_string(to, name.as_bytes());
                    packet::put_string(to, long_name(name, about).as_bytes());
                    packet::put_attributes(to, about);
                }
            }),
            Ok(Reply::Limits) => to.packet(packet::EXTENDED_REPLY, id, |to| {
                for limit in [MAX_PACKET, MAX_DATA, MAX_DATA, 1] {
                    to.extend((limit as u64).to_be_bytes());
                }
            }),
            Err((code, sentence)) => to.status(id, code, &sentence),
        }
    }

    fn handle(&mut self, kind: u8, fields: &mut Fields<'_>) -> Result<Reply, Refusal> {
        if let (Err(failure), true) = (&self.session, kind != packet::INIT) {
            return Err(refused(failure.clone()));
        }
        match kind {
            packet::INIT => Ok(Reply::Version),
            packet::OPEN => {
                let (path, flags) = (fields.string().ok_or_else(cut)?, fields.u32().ok_or_else(cut)?);
                self.open(path, flags)
            }
            packet::OPENDIR => self.open_folder(fields.string().ok_or_else(cut)?),
            packet::CLOSE => self.close(fields),
            packet::READ => self.read(fields),
            packet::WRITE => self.write(fields),
            packet::READDIR => self.read_folder(fields),
            packet::STAT | packet::LSTAT => {
                let place = place(fields.string().ok_or_else(cut)?)?;
                self.about(&place).map(Reply::Attributes)
            }
            packet::FSTAT => self.about_handle(fields),
            packet::REALPATH => match place(fields.string().ok_or_else(cut)?)? {
                Place::Elsewhere(path) => only_backups(&path),
                place => Ok(Reply::Names(vec![(place.path(), folder())])),
            },
            packet::SETSTAT => self.set(fields),
            packet::FSETSTAT => self.set_handle(fields),
            packet::REMOVE => match place(fields.string().ok_or_else(cut)?)? {
                Place::File(name) => self.agent.remove(&name).map_err(refused).map(|()| Reply::Done),
                place => only_backups(&place.path()),
            },
            packet::MKDIR | packet::RMDIR => {
                refuse(Code::Unsupported, "there are no folders in /var/sf/backup: copy files without -r")
            }
            packet::RENAME => refuse(
                Code::Unsupported,
                "a backup keeps its name: copy it under another one, then remove it",
            ),
            packet::SYMLINK | packet::READLINK => {
                refuse(Code::Unsupported, "there are no links in /var/sf/backup")
            }
            packet::EXTENDED => match fields.string().ok_or_else(cut)? {
                b"limits@openssh.com" => Ok(Reply::Limits),
                other => refuse(
                    Code::Unsupported,
                    format!(
                        "there is no extension '{}'",
                        reinstate_api::one_line(&String::from_utf8_lossy(other))
                    ),
                ),
            },
            other => refuse(Code::Unsupported, format!("there is no request {other} in SFTP version 3")),
        }
    }

    fn open(&mut self, path: &[u8], flags: u32) -> Result<Reply, Refusal> {
        self.nothing_open()?;
        let name = match place(path)? {
            Place::File(name) => name,
            place => return only_backups(&place.path()),
        };
        let opened = match flags & (READ | WRITE) {
            READ => {
                let about = self.find(&name)?;
                let download = self.agent.download(&name, 0).map_err(refused)?;
                Open::Download { name, size: download.left(), modified: about.modified, at: 0, download }
            }
            WRITE if flags & APPEND != 0 || flags & CREATE == 0 => {
                return refuse(
                    Code::Unsupported,
                    format!(
                        "{name}: a backup is written once, from its beginning: remove it, then copy it again"
                    ),
                );
            }
            WRITE => Open::Upload { upload: self.agent.upload(&name).map_err(refused)?, name },
            _ => return refuse(Code::Unsupported, format!("{name}: a backup is either read or written")),
        };
        Ok(self.opened(opened))
    }

    fn open_folder(&mut self, path: &[u8]) -> Result<Reply, Refusal> {
        self.nothing_open()?;
        let place = place(path)?;
        let entries = match &place {
            Place::Backups => {
                let files = self.agent.list().map_err(refused)?;
                let whole = files.into_iter().filter(|file| !file.partial);
                whole.map(|file| (file.file.clone(), file_attributes(&file))).collect()
            }
            Place::Above { holds, .. } => vec![((*holds).to_owned(), folder())],
            Place::File(name) => {
                self.find(name)?;
                return refuse(Code::Failure, format!("{name} is a file"));
            }
            Place::Elsewhere(path) => return only_backups(path),
        };
        Ok(self.opened(Open::Folder { path: place.path(), entries }))
    }

    fn nothing_open(&self) -> Result<(), Refusal> {
        let what = match self.open.as_ref().map(|(_, open)| open) {
            None => return Ok(()),
            Some(Open::Upload { name, .. } | Open::Download { name, .. }) => name,
            Some(Open::Ended(_)) => "a backup",
            Some(Open::Folder { path, .. }) => path,
        };
        refuse(Code::Failure, format!("{what} is open: one at a time"))
    }

    fn opened(&mut self, open: Open) -> Reply {
        // A handle of before is none of now.
        self.handles = self.handles.wrapping_add(1);
        self.open = Some((self.handles, open));
        Reply::Handle(self.handles)
    }

    fn open_as(&mut self, fields: &mut Fields<'_>) -> Result<&mut Open, Refusal> {
        let handle = fields.string().ok_or_else(cut)?;
        match &mut self.open {
            Some((number, open)) if handle == number.to_be_bytes() => Ok(open),
            _ => refuse(Code::Failure, "nothing is open under this handle"),
        }
    }

    fn close(&mut self, fields: &mut Fields<'_>) -> Result<Reply, Refusal> {
        self.open_as(fields)?;
        match self.open.take().map(|(_, open)| open) {
            Some(Open::Upload { name, upload }) => {
                upload.finish().map_err(refused)?;
                self.brought = Some(name);
                Ok(Reply::Done)
            }
            Some(Open::Ended(failure)) => Err(refused(failure)),
            _ => Ok(Reply::Done),
        }
    }

    fn write(&mut self, fields: &mut Fields<'_>) -> Result<Reply, Refusal> {
        let open = self.open_as(fields)?;
        let (at, bytes) = (fields.u64().ok_or_else(cut)?, fields.string().ok_or_else(cut)?);
        match open {
            Open::Upload { name, upload } if upload.sent() != at => refuse(
                Code::Failure,
                format!(
                    "{name}: byte {} is the next one, not {at}: a backup is written in its order",
                    upload.sent()
                ),
            ),
            Open::Upload { upload, .. } => match upload.write(bytes) {
                Ok(()) => Ok(Reply::Done),
                Err(failure) => {
                    *open = Open::Ended(failure.clone());
                    Err(refused(failure))
                }
            },
            Open::Ended(failure) => Err(refused(failure.clone())),
            _ => refuse(Code::Failure, "what is open is not open to be written"),
        }
    }

    fn read(&mut self, fields: &mut Fields<'_>) -> Result<Reply, Refusal> {
        let handle = fields.string().ok_or_else(cut)?;
        let (offset, length) = (fields.u64().ok_or_else(cut)?, fields.u32().ok_or_else(cut)?);
        let (name, size, at, download) = match &mut self.open {
            Some((number, Open::Download { name, size, at, download, .. }))
                if handle == number.to_be_bytes() =>
            {
                (name, *size, at, download)
            }
            _ => return refuse(Code::Failure, "no file is open to be read under this handle"),
        };
        if offset >= size {
            return Ok(Reply::End);
        }
        if offset != *at {
            *download = self.agent.download(name, offset).map_err(refused)?;
            if offset + download.left() != size {
                return refuse(Code::Failure, format!("{name} is not the file any more that was opened"));
            }
            *at = offset;
        }
        let mut data = vec![0; u64::from(length).min(MAX_DATA as u64).min(size - offset) as usize];
        if let Err(failure) = download.read(&mut data) {
            // What comes next is asked for anew.
            *at = u64::MAX;
            return Err(refused(failure));
        }
        *at += data.len() as u64;
        Ok(Reply::Data(data))
    }

    fn read_folder(&mut self, fields: &mut Fields<'_>) -> Result<Reply, Refusal> {
        match self.open_as(fields)? {
            Open::Folder { entries, .. } if entries.is_empty() => Ok(Reply::End),
            Open::Folder { entries, .. } => {
                Ok(Reply::Names(entries.drain(..entries.len().min(ENTRIES)).collect()))
            }
            _ => refuse(Code::Failure, "what is open is no folder"),
        }
    }

    fn find(&self, name: &str) -> Result<BackupFile, Refusal> {
        let files = self.agent.list().map_err(refused)?;
        files.into_iter().find(|file| file.file == name && !file.partial).ok_or_else(|| {
            (
                Code::NoSuchFile,
                format!("there is no backup '{}' in /var/sf/backup", reinstate_api::one_line(name)),
            )
        })
    }

    fn about(&self, place: &Place) -> Result<Attributes, Refusal> {
        match place {
            Place::Backups | Place::Above { .. } => Ok(folder()),
            Place::File(name) => self.find(name).map(|file| file_attributes(&file)),
            Place::Elsewhere(path) => refuse(
                Code::NoSuchFile,
                format!("{path}: only the files in /var/sf/backup are shown and copied"),
            ),
        }
    }

    fn about_handle(&mut self, fields: &mut Fields<'_>) -> Result<Reply, Refusal> {
        let file = |size, modified| Attributes { size, mode: FILE | 0o640, modified };
        Ok(Reply::Attributes(match self.open_as(fields)? {
            Open::Upload { upload, .. } => file(upload.sent(), Timestamp::now().as_second()),
            Open::Download { size, modified, .. } => file(*size, *modified),
            Open::Folder { .. } => folder(),
            Open::Ended(failure) => return Err(refused(failure.clone())),
        }))
    }

    /// Mode and times, which clients set after what they have copied, are not kept.
    fn set(&mut self, fields: &mut Fields<'_>) -> Result<Reply, Refusal> {
        let place = place(fields.string().ok_or_else(cut)?)?;
        let asked = fields.attributes().ok_or_else(cut)?;
        match place {
            Place::File(name)
                if self.brought.as_ref() == Some(&name) && asked.size.is_none() && !asked.owner =>
            {
                Ok(Reply::Done)
            }
            place => cannot_set(&place.path()),
        }
    }

    fn set_handle(&mut self, fields: &mut Fields<'_>) -> Result<Reply, Refusal> {
        let open = self.open_as(fields)?;
        let asked = fields.attributes().ok_or_else(cut)?;
        match open {
            Open::Upload { upload, .. }
                if asked.size.is_none_or(|size| size == upload.sent()) && !asked.owner =>
            {
                Ok(Reply::Done)
            }
            _ => cannot_set("what is open"),
        }
    }
}

fn cannot_set<T>(what: &str) -> Result<T, Refusal> {
    refuse(Code::Unsupported, format!("{what}: size, owner, mode and times of what is here are not changed"))
}

fn folder() -> Attributes {
    Attributes { size: 0, mode: FOLDER | 0o750, modified: 0 }
}

fn file_attributes(file: &BackupFile) -> Attributes {
    Attributes { size: file.bytes, mode: FILE | 0o640, modified: file.modified }
}

/// As `ls -l` shows it, in UTC.
fn long_name(name: &str, about: &Attributes) -> String {
    let mode = if about.mode & FOLDER == FOLDER { "drwxr-x---" } else { "-rw-r-----" };
    let time = Timestamp::from_second(about.modified).unwrap_or_default();
    let time = time.strftime("%b %e %H:%M %Y");
    format!("{mode}    1 reinstate reinstate-admin {:>12} {time} {name}", about.size)
}
