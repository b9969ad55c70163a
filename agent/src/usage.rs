//! How full the disks are, and by what.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use reinstate_api::{BACKUP_FOLDER, Disk, Failure, FileSystem};

use crate::files::{Folder, Kind, found};

/// Where file systems of their own are, if an image has any. The agent reaches each of them.
const PLACES: [&str; 6] = ["", "boot", "var", "var/log", "var/lib/reinstate", BACKUP_FOLDER];

/// The stored configurations, below the agent's own folder.
const GENERATIONS: &str = "generations";

pub fn read(root: &Folder, own: &Folder) -> Result<Disk, Failure> {
    let mut disk = Disk::default();
    let mut seen = BTreeSet::new();
    for place in PLACES {
        // What it may not open holds nothing of the agent's.
        let Ok(folder) = root.folder(place) else { continue };
        if !seen.insert(folder.device()?) {
            continue;
        }
        let space = folder.space()?;
        disk.file_systems.push(FileSystem {
            path: format!("/{place}"),
            size: space.size,
            free: space.free,
            inodes: space.inodes,
            free_inodes: space.free_inodes,
        });
    }
    disk.backups = bytes(root, Path::new(BACKUP_FOLDER))?;
    disk.configurations = bytes(own, Path::new(GENERATIONS))?;
    Ok(disk)
}

/// Of all files below a folder; one that goes meanwhile counts as none.
fn bytes(folder: &Folder, below: &Path) -> Result<u64, Failure> {
    let mut left: Vec<PathBuf> = vec![below.to_owned()];
    let mut bytes = 0;
    while let Some(path) = left.pop() {
        for (name, kind) in found(folder.list(&path))?.unwrap_or_default() {
            let entry = path.join(name);
            match kind {
                Kind::Folder => left.push(entry),
                Kind::File => bytes += found(folder.stat(&entry))?.map_or(0, |stat| stat.size),
                Kind::Link | Kind::Other => {}
            }
        }
    }
    Ok(bytes)
}
