use serde::Deserialize;

use crate::tree::TreePath;

/// How much of an archive is read at most, whatever its manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Content of all files together, in bytes.
    pub bytes: u64,
    /// Files, folders and links together, and the folders that they are in.
    pub files: u64,
    /// Levels below a domain's root; a path never has more than [`TreePath::MAX_DEPTH`].
    pub depth: usize,
    /// Size of `manifest.toml`, in bytes.
    pub manifest: u64,
    /// Size of `SHA256SUMS`, in bytes.
    pub sums: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 16 << 30,
            files: 100_000,
            depth: TreePath::MAX_DEPTH,
            manifest: 256 << 10,
            sums: 16 << 20,
        }
    }
}
