//! A disk that forgets whatever was not synced.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tree::{Body, Tree};
use super::{Done, Meta, Trace, What};
use crate::Result;

/// Which of the two disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As processes see it: what a killed process leaves.
    Live,
    /// Only what was synced: contents, modes and owners of files and folders of which that was asked for, and the
    /// names in a folder that was synced after them. No disk is worse than this.
    Durable,
}

type Id = usize;

#[derive(Clone, Debug, PartialEq)]
struct Node {
    meta: Meta,
    body: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    File(Arc<[u8]>),
    Folder(BTreeMap<OsString, Id>),
    Link(PathBuf),
}

/// Files and folders by number, each as it is seen and as it is kept. None is forgotten: a name of it may be kept.
#[derive(Clone, Debug)]
pub struct Disk {
    live: Vec<Node>,
    durable: Vec<Node>,
}

const ROOT: Id = 0;

impl Disk {
    /// With everything in the tree synced.
    pub fn of(tree: &Tree) -> Result<Self> {
        let root = Node { meta: Meta { mode: 0o755, uid: 0, gid: 0 }, body: Kind::Folder(BTreeMap::new()) };
        let mut disk = Self { live: vec![root.clone()], durable: vec![root] };
        for (path, (meta, body)) in &tree.0 {
            let body = match body {
                Body::File(content) => Kind::File(content.clone()),
                Body::Folder => Kind::Folder(BTreeMap::new()),
                Body::Link(target) => Kind::Link(target.clone()),
            };
            disk.add(path, Node { meta: *meta, body })?;
        }
        disk.durable = disk.live.clone();
        Ok(disk)
    }

    /// The disk once this step has happened too.
    pub fn apply(&mut self, done: &Done, trace: &Trace) -> Result<()> {
        let path = &done.path;
        match &done.what {
            What::Create(meta) => match self.find(path) {
                Ok(_) => {}
                Err(_) => self.add(path, Node { meta: *meta, body: Kind::File(Arc::default()) })?,
            },
            What::Write(content) => {
                let content = trace.content(content)?.into();
                self.at(path)?.body = Kind::File(content);
            }
            What::Folder(meta) => {
                self.add(path, Node { meta: *meta, body: Kind::Folder(BTreeMap::new()) })?
            }
            What::Link(meta, target) => {
                self.add(path, Node { meta: *meta, body: Kind::Link(target.clone()) })?
            }
            What::Meta(meta) => {
                let id = self.find(path)?;
                self.live[id].meta = *meta;
                // A link cannot be synced.
                if matches!(self.live[id].body, Kind::Link(_)) {
                    self.durable[id].meta = *meta;
                }
            }
            What::Rename(to) => {
                let id = self.find(path)?;
                self.remove(path)?;
                self.names(to)?.insert(name(to)?, id);
            }
            What::Remove => self.remove(path)?,
            What::Sync => {
                let id = self.find(path)?;
                self.durable[id] = self.live[id].clone();
            }
            What::SyncAll => self.durable = self.live.clone(),
        }
        Ok(())
    }

    /// As [`Disk::apply`], but only the first half of what a write changes.
    pub fn tear(&mut self, done: &Done, trace: &Trace) -> Result<()> {
        let What::Write(content) = &done.what else { return self.apply(done, trace) };
        let after = trace.content(content)?;
        let node = self.at(&done.path)?;
        let Kind::File(before) = &node.body else { return Err("a write to what is no file".into()) };
        let same = before.iter().zip(&after).take_while(|(one, two)| one == two).count();
        let middle = same + (after.len() - same) / 2;
        let rest = before.get(middle..).unwrap_or_default();
        node.body = Kind::File([&after[..middle], rest].concat().into());
        Ok(())
    }

    /// Is the same kept of both, also of what no name leads to yet?
    pub fn keeps_what(&self, other: &Self) -> bool {
        self.durable == other.durable
    }

    pub fn tree(&self, view: View) -> Tree {
        let mut tree = Tree::default();
        let nodes = if view == View::Live { &self.live } else { &self.durable };
        collect(nodes, ROOT, Path::new(""), &mut tree);
        tree
    }

    fn add(&mut self, path: &Path, node: Node) -> Result<()> {
        let id = self.live.len();
        self.names(path)?.insert(name(path)?, id);
        // Of a new one only its name's folder can be synced apart from it; it has nothing in it by then.
        let body = match &node.body {
            Kind::File(_) => Kind::File(Arc::default()),
            Kind::Folder(_) => Kind::Folder(BTreeMap::new()),
            Kind::Link(target) => Kind::Link(target.clone()),
        };
        self.durable.push(Node { meta: node.meta, body });
        self.live.push(node);
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        let gone = self.names(path)?.remove(&name(path)?);
        gone.map(drop).ok_or_else(|| format!("{} is not there", path.display()).into())
    }

    fn at(&mut self, path: &Path) -> Result<&mut Node> {
        let id = self.find(path)?;
        Ok(&mut self.live[id])
    }

    fn names(&mut self, path: &Path) -> Result<&mut BTreeMap<OsString, Id>> {
        let parent = path.parent().ok_or("the root has no folder")?;
        match &mut self.at(parent)?.body {
            Kind::Folder(names) => Ok(names),
            _ => Err(format!("{} is no folder", parent.display()).into()),
        }
    }

    fn find(&self, path: &Path) -> Result<Id> {
        path.iter().try_fold(ROOT, |id, name| match &self.live[id].body {
            Kind::Folder(names) => {
                names.get(name).copied().ok_or_else(|| format!("{} is not there", path.display()).into())
            }
            _ => Err(format!("{} leads through what is no folder", path.display()).into()),
        })
    }
}

fn name(path: &Path) -> Result<OsString> {
    Ok(path.file_name().ok_or_else(|| format!("{} has no name", path.display()))?.to_owned())
}

fn collect(nodes: &[Node], folder: Id, at: &Path, tree: &mut Tree) {
    let Kind::Folder(names) = &nodes[folder].body else { return };
    for (name, id) in names {
        let (path, node) = (at.join(name), &nodes[*id]);
        let body = match &node.body {
            Kind::File(content) => Body::File(content.clone()),
            Kind::Folder(_) => Body::Folder,
            Kind::Link(target) => Body::Link(target.clone()),
        };
        tree.0.insert(path.clone(), (node.meta, body));
        collect(nodes, *id, &path, tree);
    }
}
