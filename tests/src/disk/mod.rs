//! What a power cut leaves of a whole job: its durable steps are recorded, in all of the agent's processes, and the
//! disk is made again as it is after any of them.

mod model;
mod record;
mod tree;

pub use model::{Disk, View};
pub use record::{Recorder, Trace};
pub use tree::Tree;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A durable step that has happened, with paths below the recorded root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    pub what: What,
    pub path: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Also where it was there already, and was opened to be written.
    Create(Meta),
    /// The whole content after the write, by its name among the contents.
    Write(String),
    Folder(Meta),
    Link(Meta, PathBuf),
    /// A mode or an owner.
    Meta(Meta),
    /// To this path.
    Rename(PathBuf),
    Remove,
    Sync,
    /// Of everything.
    SyncAll,
}

impl What {
    pub fn is_sync(&self) -> bool {
        matches!(self, Self::Sync | Self::SyncAll)
    }
}

/// Of a file, a folder or a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Meta {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Meta {
    fn of(meta: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid() }
    }
}
