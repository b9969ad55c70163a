//! Trees held against each other: a restored appliance against its donor, and one that was to stay
//! as it was against itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use reinstate_agent::domain::{Accounts, Domain, Domains, Policy};
use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::profile;
use reinstate_agent::tree::TreePath;

use crate::{Result, doing};

/// Where the agent keeps unsealed keys, below the root.
const SECRETS: &str = "run/reinstate/secrets";

/// What is no configuration: memory, backups, and the agent's own records.
pub const NO_CONFIGURATION: [&str; 3] = ["run", "var/sf/backup", "var/lib/reinstate"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    Folder,
    Link(String),
    /// A device, a pipe, a socket.
    Other,
}

/// One path of a tree. Owners are names, by the accounts of the tree itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    /// The permission bits, set-id bits included.
    pub mode: u32,
    pub owner: String,
    pub group: String,
    /// On the disk there is only a link to the clear content in memory.
    pub sealed: bool,
}

/// Every path below a root, links to unsealed keys followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// Everything below `root` but the paths of `except` and what is in them.
    pub fn read(root: &Path, except: &[&str]) -> Result<Self> {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let names = [numbers(&text("etc/passwd")), numbers(&text("etc/group"))];
        let mut tree = Self::default();
        tree.below(root, "", except, &names)?;
        Ok(tree)
    }

    pub fn get(&self, path: &str) -> Option<&Node> {
        self.0.get(path)
    }

    /// Paths with what is there, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// A sentence for each path that is not the same in `other`.
    pub fn differences(&self, other: &Tree) -> Vec<String> {
        let paths: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let mut found = Vec::new();
        for path in paths {
            match (self.0.get(path), other.0.get(path)) {
                (Some(_), None) => found.push(format!("{path} is missing")),
                (None, Some(node)) => found.push(format!("{path} is too many: {}", node.describe())),
                (Some(wanted), Some(is)) if wanted != is => {
                    found.push(format!("{path} is {}, not {}", is.describe(), wanted.describe()));
                }
                _ => {}
            }
        }
        found
    }

    fn below(
        &mut self,
        root: &Path,
        folder: &str,
        except: &[&str],
        names: &[BTreeMap<u32, String>; 2],
    ) -> Result<()> {
        let at = root.join(folder);
        for entry in doing("list", &at, fs::read_dir(&at))? {
            let name = doing("list", &at, entry)?.file_name();
            let name = name.to_str().ok_or("a file name is not UTF-8")?;
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if except.contains(&path.as_str()) {
                continue;
            }
            let node = Node::read(root, &path, names)?;
            let is_folder = node.kind == Kind::Folder;
            self.0.insert(path.clone(), node);
            if is_folder {
                self.below(root, &path, except, names)?;
            }
        }
        Ok(())
    }
}

impl Node {
    fn read(root: &Path, path: &str, names: &[BTreeMap<u32, String>; 2]) -> Result<Self> {
        let mut at = root.join(path);
        let mut meta = doing("examine", &at, at.symlink_metadata())?;
        let mut sealed = false;
        if meta.is_symlink() {
            let secret = root.join(SECRETS).join(path);
            let target = doing("read", &at, fs::read_link(&at))?;
            let up = "../".repeat(path.matches('/').count());
            if target.to_str() == Some(&format!("{up}{SECRETS}/{path}")) {
                meta = doing("examine the key behind", &at, secret.symlink_metadata())?;
                (at, sealed) = (secret, true);
            }
        }
        let kind = if meta.is_dir() {
            Kind::Folder
        } else if meta.is_symlink() {
            Kind::Link(doing("read", &at, fs::read_link(&at))?.to_string_lossy().into_owned())
        } else if meta.is_file() {
            Kind::File(doing("read", &at, fs::read(&at))?)
        } else {
            Kind::Other
        };
        let name = |names: &BTreeMap<u32, String>, number: u32| {
            names.get(&number).cloned().unwrap_or_else(|| format!("number {number}"))
        };
        let (owner, group) = (name(&names[0], meta.uid()), name(&names[1], meta.gid()));
        Ok(Self { kind, mode: meta.mode() & 0o7777, owner, group, sealed })
    }

    fn describe(&self) -> String {
        let kind = match &self.kind {
            Kind::File(content) => {
                let text = String::from_utf8_lossy(&content[..content.len().min(2000)]);
                format!("a file of {} bytes {text:?}", content.len())
            }
            Kind::Folder => "a folder".into(),
            Kind::Link(target) => format!("a link to {target}"),
            Kind::Other => "neither a file nor a folder".into(),
        };
        let sealed = if self.sealed { ", sealed" } else { "" };
        format!("{kind} ({:o} {}:{}{sealed})", self.mode, self.owner, self.group)
    }
}

/// Names by number, of `passwd` or `group`.
fn numbers(text: &str) -> BTreeMap<u32, String> {
    let lines = text.lines().rev().map(|line| line.split(':').collect::<Vec<_>>());
    lines.filter_map(|fields| Some((fields.get(2)?.parse().ok()?, fields[0].to_owned()))).collect()
}

/// The domains of the appliance in `root`.
pub fn domains(root: &Path) -> Result<Domains> {
    let folder = Folder::open(root, Arc::new(Direct))?;
    match profile::load(&folder) {
        Ok((_, domains)) => Ok(domains),
        Err(failures) => Err(failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into()),
    }
}

/// What is not as a restore promises: in the configuration below `root`, which was `before`, after the
/// restore of a backup of `donor`.
///
/// Every path is held against the donor's, bytes, mode and owners' names; only what a domain's policy
/// says differs: `remove` leaves no file, `keep` leaves what was there, `merge` adds to it, and the
/// system's own accounts stay. What no domain owns is as it was before.
pub fn restored(root: &Path, before: &Tree, donor: &Tree) -> Result<Vec<String>> {
    let domains = domains(root)?;
    let mut after = Tree::read(root, &NO_CONFIGURATION)?;
    let mut wanted = Tree::default();
    let paths: BTreeSet<&String> = before.0.keys().chain(donor.0.keys()).collect();
    for path in paths {
        let tree_path: TreePath = path.parse()?;
        let domain = domains.iter().find(|domain| domain.owns(&tree_path));
        let (theirs, ours) = (donor.0.get(path), before.0.get(path));
        let node = match domain {
            None => ours,
            Some(domain) => match domain.restore {
                Policy::Keep => ours,
                Policy::Remove => ours.filter(|node| node.kind == Kind::Folder),
                Policy::Merge => theirs.or(ours),
                Policy::Replace => theirs,
            },
        };
        let Some(mut node) = node.cloned() else { continue };
        if let Some(domain) = domain {
            node.sealed = matches!(node.kind, Kind::File(_)) && domain.is_secret(&tree_path);
            if let Some(rules) = &domain.accounts {
                node.kind = Kind::File(accounts(tree_path.file_name(), rules, domain, donor, before)?.into());
                if let Some(Node { kind: Kind::File(content), .. }) = after.0.get_mut(path) {
                    *content = sorted(&String::from_utf8_lossy(content)).into();
                }
            }
        }
        wanted.0.insert(path.clone(), node);
    }
    Ok(wanted.differences(&after))
}

/// Lines and members in order: the agent may choose another.
fn sorted(text: &str) -> String {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let (head, members) = line.rsplit_once(':').unwrap_or((line, ""));
            let mut members: Vec<&str> = members.split(',').collect();
            members.sort_unstable();
            format!("{head}:{}\n", members.join(","))
        })
        .collect();
    lines.sort();
    lines.concat()
}

/// The account file that is wanted: the donor's people, with this appliance's own system.
fn accounts(file: &str, rules: &Accounts, domain: &Domain, donor: &Tree, before: &Tree) -> Result<String> {
    let is_group = file.ends_with("group") || file == "gshadow";
    let read = |tree: &Tree, name: &str| -> Vec<(String, Vec<String>)> {
        let path = domain.paths.iter().map(|owned| &owned.path).find(|path| path.file_name() == name);
        match path.and_then(|path| tree.get(path.as_str())) {
            Some(Node { kind: Kind::File(content), .. }) => String::from_utf8_lossy(content)
                .lines()
                .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
                .map(|fields| (fields[0].clone(), fields))
                .collect(),
            _ => Vec::new(),
        }
    };
    let people = |tree: &Tree, base: &str| -> BTreeSet<String> {
        let range = rules.first_uid..=rules.last_uid;
        let in_range = |fields: &Vec<String>| {
            fields.get(2).and_then(|id| id.parse().ok()).is_some_and(|id: u32| range.contains(&id))
        };
        read(tree, base).into_iter().filter(|(_, fields)| in_range(fields)).map(|(name, _)| name).collect()
    };
    let base = if is_group { "group" } else { "passwd" };
    let (theirs, ours) = (people(donor, base), people(before, base));
    let donors_people = people(donor, "passwd");
    let members = |fields: &[String]| -> Vec<String> {
        fields
            .last()
            .map(|m| m.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let donors: BTreeMap<String, Vec<String>> = read(donor, file).into_iter().collect();
    let mut lines = Vec::new();
    for (name, fields) in read(before, file).into_iter().filter(|(name, _)| !ours.contains(name)) {
        let mut fields = fields;
        if is_group {
            let local_people = people(before, "passwd");
            let mut all: BTreeSet<String> =
                members(&fields).into_iter().filter(|member| !local_people.contains(member)).collect();
            let of_donor = donors.get(&name).map(|fields| members(fields)).unwrap_or_default();
            all.extend(of_donor.into_iter().filter(|member| donors_people.contains(member)));
            let last = fields.last_mut().ok_or("an account line is empty")?;
            *last = all.into_iter().collect::<Vec<_>>().join(",");
        }
        lines.push(fields.join(":"));
    }
    lines
        .extend(donors.iter().filter(|(name, _)| theirs.contains(*name)).map(|(_, fields)| fields.join(":")));
    Ok(sorted(&lines.join("\n")))
}
