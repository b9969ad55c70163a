//! A generation being made: contents first, the record last.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};

use jiff::Timestamp;
use reinstate_api::{BackupDetails, Code, DeviceIdentity, Failure};

use super::{FORMAT, GENERATIONS, Generation, INDEX, Line, RECORD, Record, SEAL, SealKey, TREE};
use crate::domain::Domains;
use crate::files::{Folder, Writer};
use crate::tree::{Digest, Entry, EntryKind, Hashing, Index, TreePath};

/// Larger than most files, and small enough that the allocator keeps it from file to file.
const BUFFER: usize = 64 << 10;
const MAX_TEXT: u64 = 64 << 10;

/// What a draft becomes.
pub struct About<'a> {
    pub number: u64,
    pub created: Timestamp,
    pub origin: String,
    pub device: DeviceIdentity,
    /// Those that the draft holds: all that generations hold.
    pub domains: &'a Domains,
    pub archive: Option<BackupDetails>,
}

/// A generation being made, beside the store's generations. Dropped, it stays until it is discarded.
pub struct Draft {
    store: Folder,
    place: String,
    folder: Folder,
    tree: Folder,
    key: SealKey,
    index: Index,
    made: HashSet<TreePath>,
}

impl Draft {
    pub(super) fn new(store: Folder, place: String) -> Result<Self, Failure> {
        store.make_folder(&place, 0o700)?;
        let folder = store.folder(&place)?;
        folder.make_folder(TREE, 0o700)?;
        let tree = folder.folder(TREE)?;
        let key = SealKey::random();
        key.store(&folder, SEAL)?;
        Ok(Self { store, place, folder, tree, key, index: Index::default(), made: HashSet::new() })
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Where the contents lie; the sealed ones sealed.
    pub fn tree(&self) -> &Folder {
        &self.tree
    }

    /// A file's clear content, as it was put.
    pub fn open(&self, entry: &Entry) -> Result<Box<dyn Read>, Failure> {
        let file = self.tree.open_file(&entry.path)?;
        match entry.kind {
            EntryKind::File { sealed: true, .. } => self.key.unseal(&entry.path, file),
            _ => Ok(Box::new(file)),
        }
    }

    /// The clear text of a small file, where it is there already: at most 64 KiB.
    pub fn text(&self, path: &TreePath) -> Result<Option<String>, Failure> {
        let known = self.index.domains.values().find_map(|entries| entries.get(path));
        let Some(entry) = known.filter(|entry| entry.is_file()) else { return Ok(None) };
        let mut text = String::new();
        let read = self.open(entry)?.take(MAX_TEXT).read_to_string(&mut text);
        read.map_err(|e| Failure::io(format_args!("cannot read {path}"), &e))?;
        Ok(Some(text))
    }

    /// Adds a folder or a link.
    pub fn put(&mut self, domain: &str, entry: Entry) -> Result<(), Failure> {
        match &entry.kind {
            EntryKind::Folder => self.make_folder(&entry.path)?,
            EntryKind::Link { target } => {
                self.make_parent(&entry.path)?;
                self.tree.link(target, &entry.path)?;
            }
            EntryKind::File { .. } => {
                return Err(Failure::new(Code::Internal, format!("{} needs content", entry.path)));
            }
        }
        self.index.insert(domain, entry);
        Ok(())
    }

    /// Adds a file whose size and digest are those in `entry`: the caller has checked them, or will
    /// when `content` ends.
    pub fn put_file(&mut self, domain: &str, entry: Entry, content: &mut dyn BufRead) -> Result<(), Failure> {
        self.write(&entry.path, entry.is_sealed(), content)?;
        self.index.insert(domain, entry);
        Ok(())
    }

    /// Adds a file whose size and digest are known only when its content has been read.
    pub fn put_unknown(&mut self, domain: &str, entry: Entry, content: &mut dyn Read) -> Result<(), Failure> {
        let EntryKind::File { sealed, .. } = entry.kind else {
            return Err(Failure::new(Code::Internal, format!("{} is not a file", entry.path)));
        };
        let mut hashing = BufReader::with_capacity(BUFFER, Hashing::new(content));
        self.write(&entry.path, sealed, &mut hashing)?;
        let (size, sha256) = hashing.into_inner().finish();
        self.index.insert(domain, Entry { kind: EntryKind::File { size, sha256, sealed }, ..entry });
        Ok(())
    }

    fn write(&mut self, path: &TreePath, sealed: bool, content: &mut dyn BufRead) -> Result<(), Failure> {
        self.make_parent(path)?;
        let writer = self.tree.create(path, 0o600)?;
        let key = sealed.then_some(&self.key);
        copy(content, writer, key).map_err(|e| e.into_failure(path))
    }

    /// Adds an entry of another generation, with its content, sealed anew.
    pub fn adopt(
        &mut self,
        domain: &str,
        from: &Generation,
        key: &SealKey,
        entry: &Entry,
    ) -> Result<(), Failure> {
        if !entry.is_file() {
            return self.put(domain, entry.clone());
        }
        let mut content = BufReader::with_capacity(BUFFER, from.open(entry, key)?);
        self.put_file(domain, entry.clone(), &mut content)
    }

    /// Takes an entry out again. Folders stay in the tree, empty.
    pub fn take_out(&mut self, domain: &str, path: &TreePath) -> Result<(), Failure> {
        let Some(entry) = self.index.domains.get_mut(domain).and_then(|entries| entries.remove(path)) else {
            return Ok(());
        };
        if entry.is_folder() { Ok(()) } else { Ok(self.tree.remove_file(path)?) }
    }

    /// Makes it a generation, durably: everything is on the disk before its name is.
    pub fn finish(self, about: About<'_>) -> Result<Generation, Failure> {
        let About { number, created, origin, device, domains, archive } = about;
        let domains = domains.stored().map(|domain| domain.name.clone()).collect();
        let index_sha256 = self.write_index()?;
        let (format, name) = (FORMAT, String::new());
        let record = Record { format, number, name, created, origin, device, domains, index_sha256, archive };
        self.folder.sync_all()?;
        self.folder.replace(RECORD, record.text()?.as_bytes(), 0o600)?;
        let place = format!("{GENERATIONS}/{number}");
        self.store.rename_new(&self.place, &place)?;
        self.store.sync(GENERATIONS)?;
        Ok(Generation { record, folder: self.store.folder(&place)? })
    }

    fn write_index(&self) -> Result<Digest, Failure> {
        let cannot = |e: std::io::Error| Failure::io("cannot write the index of a generation", &e);
        let mut out = std::io::BufWriter::with_capacity(64 << 10, self.folder.create(INDEX, 0o600)?);
        let mut hasher = sha2::Sha256::default();
        for (domain, entry) in self.index.iter() {
            let line = Line { domain: domain.to_owned(), entry: entry.clone() };
            let mut text = serde_json::to_vec(&line).map_err(|e| cannot(e.into()))?;
            text.push(b'\n');
            sha2::Digest::update(&mut hasher, &text);
            out.write_all(&text).map_err(cannot)?;
        }
        out.flush().map_err(cannot)?;
        Ok(Digest::finish(hasher))
    }

    fn make_parent(&mut self, path: &TreePath) -> Result<(), Failure> {
        path.parent().map_or(Ok(()), |parent| self.make_folder(&parent))
    }

    fn make_folder(&mut self, path: &TreePath) -> Result<(), Failure> {
        if self.made.contains(path) {
            return Ok(());
        }
        self.make_parent(path)?;
        self.tree.make_folder(path, 0o700)?;
        self.made.insert(path.clone());
        Ok(())
    }
}

/// Which side of a copy failed: a reader's error carries its own explanation.
enum CopyError {
    Read(std::io::Error),
    Write(std::io::Error),
}

impl CopyError {
    fn into_failure(self, path: &TreePath) -> Failure {
        match self {
            CopyError::Read(error) => match error.downcast::<Failure>() {
                Ok(failure) => failure,
                Err(error) => Failure::io(format_args!("cannot read {path}"), &error),
            },
            CopyError::Write(error) => Failure::io(format_args!("cannot write {path}"), &error),
        }
    }
}

fn copy(from: &mut dyn BufRead, mut to: Writer, seal: Option<&SealKey>) -> Result<(), CopyError> {
    match seal {
        None => pump(from, &mut to),
        Some(key) => {
            let mut sealing = key.seal(to).map_err(CopyError::Write)?;
            pump(from, &mut sealing)?;
            sealing.finish().map(drop).map_err(CopyError::Write)
        }
    }
}

fn pump(from: &mut dyn BufRead, to: &mut dyn Write) -> Result<(), CopyError> {
    loop {
        let length = match from.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(here) => {
                to.write_all(here).map_err(CopyError::Write)?;
                here.len()
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        from.consume(length);
    }
}
