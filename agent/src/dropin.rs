//! Drop-in files: a vendor folder, then an override folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reinstate_api::{Code, Failure, one_line};
use serde::de::DeserializeOwned;

use crate::files::{Folder, Kind, found};

/// The vendor's folder, then the one that overrides it, below the appliance's root.
pub const PLACES: [&str; 2] = ["usr/lib/reinstate", "etc/reinstate"];

const MAX_BYTES: u64 = 256 << 10;

/// One drop-in file, read but not understood yet.
#[derive(Clone, Debug)]
pub struct DropIn {
    /// For messages.
    pub path: String,
    pub text: String,
}

impl DropIn {
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        toml::from_str(&self.text).map_err(|error| self.toml_failure(&error))
    }

    /// A TOML error with the line it is on.
    pub fn toml_failure(&self, error: &toml::de::Error) -> Failure {
        let line = error
            .span()
            .map(|span| self.text[..span.start].matches('\n').count() + 1)
            .map(|line| format!("line {line}: "))
            .unwrap_or_default();
        self.failure(&format!("{line}{}", error.message()))
    }

    pub fn failure(&self, problem: &str) -> Failure {
        Failure::new(Code::ProfileInvalid, format!("{}: {problem}", self.path))
            .hint("correct the file; `reinstated lint DIR` checks a folder of them offline")
    }
}

/// The `*.toml` files of the folder `name` in each place, by file name. A file in a later place takes
/// the place of one of the same name in an earlier; an empty one takes it away.
pub fn load(root: &Folder, places: &[&str], name: &str) -> Result<Vec<DropIn>, Failure> {
    let mut files = BTreeMap::new();
    for place in places {
        read_folder(root, &Path::new(place).join(name), &mut files)?;
    }
    files.retain(|_, drop_in: &mut DropIn| !drop_in.text.trim().is_empty());
    Ok(files.into_values().collect())
}

fn read_folder(root: &Folder, folder: &Path, files: &mut BTreeMap<PathBuf, DropIn>) -> Result<(), Failure> {
    let Some(names) = found(root.list(folder))? else {
        return Ok(());
    };
    for (name, kind) in names {
        let name = PathBuf::from(name);
        if kind != Kind::File || name.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let path = folder.join(&name);
        let shown = one_line(&format!("/{}", path.display()));
        let text = String::from_utf8(root.read(&path, MAX_BYTES)?)
            .map_err(|_| Failure::new(Code::ProfileInvalid, format!("{shown}: not UTF-8 text")))?;
        files.insert(name, DropIn { path: shown, text });
    }
    Ok(())
}
