//! A configuration tree as data: paths, entries, and the index of a generation.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use reinstate_api::one_line;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A path below the appliance's root: `etc/nftables.conf`.
///
/// Relative, in UTF-8, without empty, `.` or `..` parts, backslashes or control characters; at most
/// 1,024 bytes and 32 levels, each part at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TreePath(String);

impl TreePath {
    pub const MAX_BYTES: usize = 1024;
    pub const MAX_DEPTH: usize = 32;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The folder that holds it; none for a name directly below the root.
    pub fn parent(&self) -> Option<TreePath> {
        self.0.rsplit_once('/').map(|(parent, _)| TreePath(parent.to_owned()))
    }

    /// The same path under another folder; both are tree paths, so the result holds no bad part.
    pub fn under(&self, folder: &str) -> TreePath {
        TreePath(format!("{folder}/{}", self.0))
    }

    pub fn is_below(&self, folder: &TreePath) -> bool {
        self.0.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for TreePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = || one_line(&text.chars().take(120).collect::<String>());
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(format!("path '{}' has {} bytes, of 1 to 1024", shown(), text.len()));
        }
        if text.starts_with('/') {
            return Err(format!("path '{}' is absolute", shown()));
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err(format!("path '{}' holds a control character or a backslash", shown()));
        }
        let mut depth = 0;
        for part in text.split('/') {
            depth += 1;
            if part.is_empty() || part == "." || part == ".." || part.len() > 255 {
                return Err(format!("path '{}' holds the part '{}'", shown(), one_line(part)));
            }
        }
        if depth > Self::MAX_DEPTH {
            return Err(format!("path '{}' has {depth} levels, of at most 32", shown()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TreePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TreePath> for String {
    fn from(path: TreePath) -> Self {
        path.0
    }
}

impl AsRef<std::path::Path> for TreePath {
    fn as_ref(&self) -> &std::path::Path {
        self.0.as_ref()
    }
}

/// As an admin writes it: `/etc/nftables.conf`.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", one_line(&self.0))
    }
}

/// A SHA-256 digest, in hexadecimal outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub fn finish(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{}' is not a SHA-256 digest in lower-case hexadecimal", one_line(text));
        let lower = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        if text.len() != 64 || !text.bytes().all(|b| lower(&b)) {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(digest))
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Hashes and counts what is read through it: a file's digest in the one read that copies it.
pub struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    size: u64,
}

impl<R: Read> Hashing<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0 }
    }

    /// Bytes read, and their digest.
    pub fn finish(self) -> (u64, Digest) {
        (self.size, Digest::finish(self.hasher))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.hasher.update(&buf[..read]);
        self.size += read as u64;
        Ok(read)
    }
}

/// One file, folder or symbolic link of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub path: TreePath,
    /// Permission bits, 0 to 0o777; a link's are 0o777.
    pub mode: u32,
    /// Names, because numbers differ between appliances.
    pub owner: String,
    pub group: String,
    #[serde(flatten)]
    pub kind: EntryKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum EntryKind {
    File {
        /// Of the clear content, also where the store holds it sealed.
        size: u64,
        sha256: Digest,
        #[serde(default, skip_serializing_if = "is_false")]
        sealed: bool,
    },
    Folder,
    Link {
        target: String,
    },
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Entry {
    pub fn is_folder(&self) -> bool {
        self.kind == EntryKind::Folder
    }

    pub fn is_file(&self) -> bool {
        matches!(self.kind, EntryKind::File { .. })
    }

    /// A private key that the store holds sealed.
    pub fn is_sealed(&self) -> bool {
        matches!(self.kind, EntryKind::File { sealed: true, .. })
    }

    pub fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            _ => 0,
        }
    }

    /// Equal for whoever uses the file: how the store keeps it does not count.
    pub fn same(&self, other: &Entry) -> bool {
        let kinds = match (&self.kind, &other.kind) {
            (EntryKind::File { sha256: a, .. }, EntryKind::File { sha256: b, .. }) => a == b,
            (a, b) => a == b,
        };
        kinds && self.mode == other.mode && self.owner == other.owner && self.group == other.group
    }
}

/// Everything in a generation, by domain and path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    pub domains: BTreeMap<String, BTreeMap<TreePath, Entry>>,
}

impl Index {
    /// From what [`Index::iter`] gives.
    pub fn from_lines(lines: Vec<(String, Entry)>) -> Self {
        let mut index = Self::default();
        lines.into_iter().for_each(|(domain, entry)| index.insert(&domain, entry));
        index
    }

    pub fn insert(&mut self, domain: &str, entry: Entry) {
        match self.domains.get_mut(domain) {
            Some(entries) => entries.insert(entry.path.clone(), entry),
            None => self.domains.entry(domain.to_owned()).or_default().insert(entry.path.clone(), entry),
        };
    }

    /// In the order of domains, then of paths: a folder comes before what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.domains
            .iter()
            .flat_map(|(domain, entries)| entries.values().map(move |entry| (domain.as_str(), entry)))
    }

    pub fn domain(&self, name: &str) -> impl Iterator<Item = &Entry> {
        self.domains.get(name).into_iter().flat_map(BTreeMap::values)
    }

    /// Does the domain have anything below this path?
    pub fn has_below(&self, domain: &str, path: &TreePath) -> bool {
        self.domains.get(domain).is_some_and(|entries| {
            // Names between the path and its children sort in between: `a`, `a-b`, `a/c`.
            entries
                .range(path..)
                .skip(1)
                .take_while(|(other, _)| other.as_str().starts_with(path.as_str()))
                .any(|(other, _)| other.is_below(path))
        })
    }

    pub fn get(&self, domain: &str, path: &TreePath) -> Option<&Entry> {
        self.domains.get(domain)?.get(path)
    }

    /// Bytes of content and number of files.
    pub fn totals(&self) -> (u64, u64) {
        let files = self.iter().filter(|(_, entry)| entry.is_file());
        files.fold((0, 0), |(bytes, files), (_, entry)| (bytes + entry.size(), files + 1))
    }

    /// Files, folders and links.
    pub fn count(&self) -> u64 {
        self.domains.values().map(|entries| entries.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_leave_the_tree_is_not_a_tree_path() {
        for bad in ["", "/etc", "a/../b", "..", ".", "a//b", "a/", "a\\b", "a\nb", "a\u{7f}"] {
            assert!(bad.parse::<TreePath>().is_err(), "{bad:?}");
        }
        assert!("x/".repeat(33).parse::<TreePath>().is_err());
        assert!("x".repeat(256).parse::<TreePath>().is_err());
        assert_eq!(
            "etc/nftables.d/10-a b.nft".parse::<TreePath>().unwrap().to_string(),
            "/etc/nftables.d/10-a b.nft"
        );
    }

    #[test]
    fn a_digest_is_64_lower_case_hexadecimal_characters() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
        assert!("+1".repeat(32).parse::<Digest>().is_err());
    }
}
