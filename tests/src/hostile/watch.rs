//! What must not change while archives are staged: all around the staging folder, and whatever a
//! name or a link of a foreign archive could mean.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::foreign::Foreign;
use super::place::Place;
use crate::Result;
use crate::compare::Tree;

/// Kind and mode, inode, and of files size and time.
type Seen = Option<(u32, u64, Option<(u64, i64, i64)>)>;

pub struct Watch {
    around: Tree,
    meant: BTreeMap<PathBuf, Seen>,
}

impl Watch {
    pub fn begin(place: &Place, foreign: &Foreign) -> Result<Self> {
        place.discard()?;
        let around = Tree::read(place.folder(), &[])?;
        let from = [PathBuf::from("/"), std::env::current_dir()?, place.tree(), place.folder().join("root")];
        let names = foreign.names().filter(|name| !name.is_empty() && !name.contains('\0'));
        let paths = names.flat_map(|name| from.iter().map(move |from| from.join(name)));
        let meant = paths.filter(|path| !path.starts_with(place.tree())).map(|path| {
            let seen = look(&path);
            (path, seen)
        });
        Ok(Self { meant: meant.collect(), around })
    }

    /// What has changed, after the drafts were thrown away.
    pub fn end(self, place: &Place) -> Result<Vec<String>> {
        place.discard()?;
        let mut changed = self.around.differences(&Tree::read(place.folder(), &[])?);
        let other = self.meant.into_iter().filter(|(path, seen)| look(path) != *seen);
        changed.extend(other.map(|(path, _)| format!("{} has changed", path.display())));
        Ok(changed)
    }
}

fn look(path: &Path) -> Seen {
    let meta = fs::symlink_metadata(path).ok()?;
    let kernels = ["/proc", "/sys", "/dev"].iter().any(|folder| path.starts_with(folder));
    let content = (meta.is_file() && !kernels).then(|| (meta.size(), meta.mtime(), meta.mtime_nsec()));
    Some((meta.mode(), if kernels { 0 } else { meta.ino() }, content))
}
