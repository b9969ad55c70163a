//! Archives with something else in them than an appliance would put there, all digests right.

use std::collections::BTreeMap;
use std::io::{BufRead, Cursor};

use reinstate_agent::archive::{self, Limits, Manifest, Receiver, Sums};
use reinstate_agent::tree::{Digest, Entry, EntryKind, Index, TreePath};
use reinstate_api::Failure;

use crate::Result;

/// An archive in memory, to be changed and written again.
pub struct Forge {
    pub manifest: Manifest,
    index: Index,
    contents: BTreeMap<(String, TreePath), Vec<u8>>,
}

#[derive(Default)]
struct Collect {
    index: Index,
    contents: BTreeMap<(String, TreePath), Vec<u8>>,
}

impl Receiver for Collect {
    fn manifest(&mut self, _: &Manifest) -> std::result::Result<(), Failure> {
        Ok(())
    }

    fn sums(&mut self, _: &Manifest, _: &Sums) -> std::result::Result<(), Failure> {
        Ok(())
    }

    fn folder(&mut self, domain: &str, entry: &Entry) -> std::result::Result<(), Failure> {
        self.index.insert(domain, entry.clone());
        Ok(())
    }

    fn link(&mut self, domain: &str, entry: &Entry) -> std::result::Result<(), Failure> {
        self.index.insert(domain, entry.clone());
        Ok(())
    }

    fn file(
        &mut self,
        domain: &str,
        entry: &Entry,
        content: &mut dyn BufRead,
    ) -> std::result::Result<(), Failure> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(|error| Failure::io("cannot read the archive", &error))?;
        self.index.insert(domain, entry.clone());
        self.contents.insert((domain.to_owned(), entry.path.clone()), bytes);
        Ok(())
    }
}

impl Forge {
    pub fn open(archive: &[u8]) -> Result<Self> {
        let mut collect = Collect::default();
        let manifest = archive::read(archive, &Limits::default(), &mut collect)?;
        let Collect { index, contents } = collect;
        Ok(Self { manifest, index, contents })
    }

    /// A file's content as text; empty where there is none.
    pub fn text(&self, domain: &str, path: &str) -> Result<String> {
        let content = self.contents.get(&(domain.to_owned(), path.parse()?));
        Ok(content.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default())
    }

    /// Puts a file; one that is there keeps its mode and owners, a new one is root's and 644.
    pub fn put(&mut self, domain: &str, path: &str, content: &str) -> Result<()> {
        let path: TreePath = path.parse()?;
        let kind = EntryKind::File {
            size: content.len() as u64,
            sha256: Digest::of(content.as_bytes()),
            sealed: false,
        };
        let entry = match self.index.get(domain, &path) {
            Some(known) => Entry { kind, ..known.clone() },
            None => {
                Entry { path: path.clone(), mode: 0o644, owner: "root".into(), group: "root".into(), kind }
            }
        };
        self.index.insert(domain, entry);
        self.contents.insert((domain.to_owned(), path), content.as_bytes().to_vec());
        Ok(())
    }

    /// Gives what is at a path to another owner, by name.
    pub fn give(&mut self, domain: &str, path: &str, owner: &str) -> Result<()> {
        let known = self.index.get(domain, &path.parse()?).ok_or("there is no such path")?;
        let entry = Entry { owner: owner.into(), ..known.clone() };
        self.index.insert(domain, entry);
        Ok(())
    }

    /// The archive's bytes.
    pub fn write(self) -> Result<Vec<u8>> {
        let Self { manifest, index, contents } = self;
        let mut out = Vec::new();
        archive::write(&mut out, manifest, &index, &mut |domain, entry| {
            let content = contents.get(&(domain.to_owned(), entry.path.clone()));
            Ok(Box::new(Cursor::new(content.cloned().unwrap_or_default())))
        })?;
        Ok(out)
    }
}

const BLOCK: usize = 512;

/// The end of an archive's first `members` members, in bytes.
pub fn end_of(archive: &[u8], members: usize) -> Result<usize> {
    let mut at = 0;
    for _ in 0..members {
        let field = archive.get(at + 124..at + 135).ok_or("the archive has too few members")?;
        let size = usize::from_str_radix(std::str::from_utf8(field)?, 8)?;
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    Ok(at)
}

/// The same archive, which says that it is of another format: one digit.
pub fn of_format(archive: &[u8], format: u8) -> Result<Vec<u8>> {
    let mut bytes = archive.to_vec();
    let size = usize::from_str_radix(std::str::from_utf8(&archive[124..135])?, 8)?;
    let manifest = &mut bytes[BLOCK..BLOCK + size];
    let digit = b"format = ".len();
    manifest[digit] = b'0' + format;
    // The last line holds the digest of all before it.
    let digest = size - 1 - 64;
    let body = digest - b"# sha256 ".len();
    let seal = Digest::of(&manifest[..body]).to_string();
    manifest[digest..size - 1].copy_from_slice(seal.as_bytes());
    Ok(bytes)
}
