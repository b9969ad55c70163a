//! A tree of files in memory, to be put on a disk.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Meta;
use crate::Result;

/// What there is under each path, the root itself left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tree(pub BTreeMap<PathBuf, (Meta, Body)>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    File(Arc<[u8]>),
    Folder,
    Link(PathBuf),
}

impl Tree {
    /// What is below `root` now, memory left out.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.add(root, Path::new(""))?;
        Ok(tree)
    }

    fn add(&mut self, root: &Path, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(root.join(folder))? {
            let path = folder.join(entry?.file_name());
            let (at, meta) = (root.join(&path), root.join(&path).symlink_metadata()?);
            if path == Path::new("run") {
                continue;
            }
            let body = match meta.file_type() {
                kind if kind.is_dir() => Body::Folder,
                kind if kind.is_symlink() => Body::Link(fs::read_link(&at)?),
                _ => Body::File(fs::read(&at)?.into()),
            };
            let is_folder = body == Body::Folder;
            self.0.insert(path.clone(), (Meta::of(&meta), body));
            if is_folder {
                self.add(root, &path)?;
            }
        }
        Ok(())
    }

    /// Makes `root`, which must not exist yet, with all of it.
    pub fn write(&self, root: &Path) -> Result<()> {
        fs::create_dir(root)?;
        for (path, (meta, body)) in &self.0 {
            let at = root.join(path);
            match body {
                Body::File(content) => fs::write(&at, content)?,
                Body::Folder => fs::create_dir(&at)?,
                Body::Link(target) => {
                    symlink(target, &at)?;
                    lchown(&at, Some(meta.uid), Some(meta.gid))?;
                    continue;
                }
            }
            chown(&at, Some(meta.uid), Some(meta.gid))?;
            fs::set_permissions(&at, Permissions::from_mode(meta.mode))?;
        }
        Ok(())
    }

    /// Equal trees have the same.
    pub fn mark(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match self.0.get(Path::new(path)) {
            Some((_, Body::File(content))) => Some(content),
            _ => None,
        }
    }

    /// The paths that differ; empty where both are the same.
    pub fn difference(&self, other: &Self) -> Vec<PathBuf> {
        let paths: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        paths.into_iter().filter(|path| self.0.get(*path) != other.0.get(*path)).cloned().collect()
    }
}
