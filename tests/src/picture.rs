//! Everything that an appliance's tree holds, the secrets by their clear content.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use reinstate_agent::tree::Digest;

/// What is not configuration: memory, the agent's own records, backups.
const LEFT_OUT: [&str; 4] = ["run", "var/lib/reinstate", "var/lib/reinstate-aside", "var/sf/backup"];

/// Each path with its kind, mode, owner, group and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture(pub BTreeMap<String, String>);

impl Picture {
    pub fn take(root: &Path) -> Self {
        Self::of(root, &[""]).unwrap()
    }

    /// Only what these folders hold.
    ///
    /// # Errors
    /// Something in them cannot be read.
    pub fn of(root: &Path, folders: &[&str]) -> io::Result<Self> {
        let mut paths = BTreeMap::new();
        folders.iter().try_for_each(|folder| below(root, folder, &mut paths))?;
        Ok(Self(paths))
    }

    /// The paths whose private key is reached through a link into memory.
    pub fn sealed(&self) -> Vec<&str> {
        let sealed = self.0.iter().filter(|(_, what)| what.ends_with(" sealed"));
        sealed.map(|(path, _)| path.as_str()).collect()
    }

    /// The same, however its secrets are kept.
    pub fn configuration(&self) -> Self {
        let plain = |what: &String| what.trim_end_matches(" sealed").to_owned();
        Self(self.0.iter().map(|(path, what)| (path.clone(), plain(what))).collect())
    }

    /// What differs, a line each; empty where the configuration is the same.
    pub fn difference(&self, other: &Self) -> String {
        let (one, two) = (self.configuration().0, other.configuration().0);
        let mut lines = String::new();
        for path in one.keys().chain(two.keys()).collect::<std::collections::BTreeSet<_>>() {
            let (one, two) = (one.get(path), two.get(path));
            if one != two {
                lines += &format!("  {path}: {one:?}, expected {two:?}\n");
            }
        }
        lines
    }
}

fn below(root: &Path, folder: &str, into: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if LEFT_OUT.contains(&path.as_str()) {
            continue;
        }
        let at = root.join(&path);
        let meta = at.symlink_metadata()?;
        let owner = |meta: &fs::Metadata| format!("{:o} {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid());
        let what = if meta.is_dir() {
            below(root, &path, into)?;
            format!("folder {}", owner(&meta))
        } else if meta.is_symlink() {
            let target = fs::read_link(&at)?;
            match target.to_string_lossy().contains("run/reinstate/secrets/") {
                // The kernel follows it as a service would.
                true => match fs::read(&at) {
                    Ok(clear) => {
                        format!("file {} {} sealed", owner(&at.metadata()?), Digest::of(&clear))
                    }
                    Err(error) => format!("dangling {error}"),
                },
                false => format!("link {}:{} {}", meta.uid(), meta.gid(), target.display()),
            }
        } else {
            format!("file {} {}", owner(&meta), Digest::of(&fs::read(&at)?))
        };
        into.insert(path, what);
    }
    Ok(())
}
