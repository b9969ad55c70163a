//! A tree of files in memory, written out with modes and owners.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use crate::{Result, doing};

#[derive(Clone, Debug)]
enum Node {
    File(Vec<u8>),
    /// So many bytes that do not compress.
    Noise(u64),
    Folder,
    Link(String),
}

#[derive(Clone, Debug)]
struct Item {
    node: Node,
    mode: u32,
    group: &'static str,
}

/// Paths are relative to the root that the tree is written to.
#[derive(Clone, Debug, Default)]
pub struct Tree(BTreeMap<String, Item>);

impl Tree {
    pub fn file(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) {
        self.put(path, Node::File(content.into()), mode, "root");
    }

    /// A file of root's that a group may read.
    pub fn group_file(&mut self, path: &str, content: impl Into<Vec<u8>>, group: &'static str) {
        self.put(path, Node::File(content.into()), 0o640, group);
    }

    pub fn noise(&mut self, path: &str, bytes: u64) {
        self.put(path, Node::Noise(bytes), 0o644, "root");
    }

    pub fn folder(&mut self, path: &str, mode: u32) {
        self.put(path, Node::Folder, mode, "root");
    }

    pub fn link(&mut self, path: &str, target: impl Into<String>) {
        self.put(path, Node::Link(target.into()), 0o777, "root");
    }

    /// Takes away a path and everything below it.
    pub fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.0.retain(|at, _| at != path && !at.starts_with(&below));
    }

    fn put(&mut self, path: &str, node: Node, mode: u32, group: &'static str) {
        let path = path.trim_start_matches('/').to_owned();
        self.0.insert(path, Item { node, mode, group });
    }

    /// Below `root`, which may exist. Owners are set where the process may do so: `groups` are the
    /// numbers of the groups.
    pub fn write(&self, root: &Path, seed: u64, groups: &BTreeMap<String, u32>) -> Result<()> {
        doing("make", root, make_folder(root))?;
        for (path, item) in &self.0 {
            let at = root.join(path);
            if let Some(parent) = Path::new(path).parent() {
                make_parents(root, parent)?;
            }
            doing("write", &at, item.write(&at, seed))?;
            if nix::unistd::geteuid().is_root() {
                let group = groups.get(item.group).copied().unwrap_or(0);
                doing("give away", &at, std::os::unix::fs::lchown(&at, Some(0), Some(group)))?;
            }
        }
        Ok(())
    }
}

impl Item {
    fn write(&self, at: &Path, seed: u64) -> std::io::Result<()> {
        match &self.node {
            Node::File(content) => fs::write(at, content)?,
            Node::Noise(bytes) => noise(at, *bytes, seed)?,
            Node::Folder => make_folder(at)?,
            Node::Link(target) => return symlink(target, at),
        }
        fs::set_permissions(at, Permissions::from_mode(self.mode))
    }
}

fn noise(at: &Path, bytes: u64, seed: u64) -> std::io::Result<()> {
    use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut file = File::create(at)?;
    let mut block = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        random.fill_bytes(&mut block);
        let part = left.min(block.len() as u64);
        file.write_all(&block[..part as usize])?;
        left -= part;
    }
    Ok(())
}

fn make_parents(root: &Path, folder: &Path) -> Result<()> {
    let mut at = root.to_owned();
    for part in folder {
        at.push(part);
        doing("make", &at, make_folder(&at))?;
    }
    Ok(())
}

/// Readable by all, whatever the umask; one that is there stays as it is.
fn make_folder(at: &Path) -> std::io::Result<()> {
    match fs::create_dir(at) {
        Ok(()) => {
            fs::set_permissions(at, Permissions::from_mode(0o755))?;
            match nix::unistd::geteuid().is_root() {
                true => chown(at, Some(0), Some(0)),
                false => Ok(()),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
