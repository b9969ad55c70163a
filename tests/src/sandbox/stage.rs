//! The folders of a sandbox: the failed appliance, its replacement, the server's backups.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reinstate_agent::domain::Domains;
use reinstate_agent::dropin::PLACES;
use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::profile::{self, Profile};

use super::options::Options;
use super::{copy, picture};
use crate::appliance::{self, Appliance, Enrolment};
use crate::manager::Manager;
use crate::{Result, doing};

/// The longest path that a Unix socket can have.
const MAX_SOCKET: usize = 107;

/// Removed at its end, unless it is kept.
pub struct Place {
    folder: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl Place {
    pub fn make(keep: Option<&Path>) -> Result<Self> {
        let place = match keep {
            None => {
                let temporary = tempfile::Builder::new().prefix("reinstate-").tempdir()?;
                Self { folder: temporary.path().to_owned(), temporary: Some(temporary) }
            }
            Some(folder) => {
                doing("make", folder, fs::create_dir_all(folder))?;
                let mut entries = doing("list", folder, fs::read_dir(folder))?;
                if entries.next().is_some() {
                    return Err(format!("--keep: {} is not empty", folder.display()).into());
                }
                Self { folder: doing("open", folder, folder.canonicalize())?, temporary: None }
            }
        };
        let socket = place.replacement().join(reinstate_api::SOCKET);
        let length = socket.as_os_str().len();
        if length > MAX_SOCKET {
            let folder = place.folder.display();
            return Err(format!(
                "{folder} is too deep: the agent's socket below it would have a path of {length} bytes, of at most {MAX_SOCKET}"
            )
            .into());
        }
        Ok(place)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// To be removed when a signal ends everything.
    pub fn temporary(&self) -> Option<PathBuf> {
        self.temporary.as_ref().map(|_| self.folder.clone())
    }

    pub fn donor(&self) -> PathBuf {
        self.folder.join("donor")
    }

    pub fn replacement(&self) -> PathBuf {
        self.folder.join("replacement")
    }

    pub fn backups(&self) -> PathBuf {
        self.folder.join("backups")
    }
}

/// Builds both appliances; answers with what there is to say about them.
pub fn build(place: &Place, options: &Options, manager: &Manager) -> Result<Vec<String>> {
    let mut remarks = Vec::new();
    let (donor, replacement) = (place.donor(), place.replacement());
    match &options.root {
        None => {
            let enrolment = Enrolment::with(manager, "fw-a")?;
            Appliance::donor("fw-a").managed(&enrolment).build(&donor)?;
            Appliance::replacement().build(&replacement)?;
        }
        Some(tree) => {
            copy::tree(tree, &donor)?;
            copy::tree(options.replacement.as_ref().unwrap_or(tree), &replacement)?;
        }
    }
    for root in [&donor, &replacement] {
        if let Some(vendor) = &options.profile {
            take_vendor(root, vendor)?;
        }
        let (profile, domains) = load(root)?;
        let lacking = without_missing_validators(root, &domains)?;
        if root == &replacement {
            remarks.extend(lacking);
            if options.root.is_some() && options.replacement.is_none() && !copy::other_serial(root, &profile)?
            {
                remarks.push(
                    "the replacement keeps the serial number: the profile reads it from no file of its own"
                        .into(),
                );
            }
        }
    }
    doing("make", &place.backups(), fs::create_dir(place.backups()))?;
    Ok(remarks)
}

fn take_vendor(root: &Path, vendor: &Path) -> Result<()> {
    for place in PLACES {
        for part in ["profile.d", "domains.d"] {
            let folder = root.join(place).join(part);
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return doing("empty", &folder, Err(error));
                }
                _ => {}
            }
        }
    }
    appliance::install_profile(root, vendor)
}

fn load(root: &Path) -> Result<(Profile, Domains)> {
    let folder = Folder::open(root, Arc::new(Direct))?;
    profile::load(&folder).map_err(|failures| picture::all(&failures).into())
}

/// Overrides the domains whose validator this machine does not have.
fn without_missing_validators(root: &Path, domains: &Domains) -> Result<Vec<String>> {
    let mut remarks = Vec::new();
    let folders = PLACES.map(|place| root.join(place).join("domains.d"));
    for domain in domains.iter() {
        let Some(program) = domain.validate.first() else {
            continue;
        };
        if Path::new(program).exists() {
            continue;
        }
        let Some((name, mut table)) = declaration(&folders, &domain.name)? else {
            continue;
        };
        table.remove("validate");
        doing("make", &folders[1], fs::create_dir_all(&folders[1]))?;
        let file = folders[1].join(name);
        doing("write", &file, fs::write(&file, toml::to_string(&table)?))?;
        remarks.push(format!(
            "{program} is not installed: domain '{}' is restored WITHOUT being checked by it",
            domain.name
        ));
    }
    Ok(remarks)
}

/// The file that declares a domain: the overriding one where there are two.
fn declaration(folders: &[PathBuf], domain: &str) -> Result<Option<(PathBuf, toml::Table)>> {
    for folder in folders.iter().rev() {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries {
            let path = doing("list", folder, entry)?.path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let text = doing("read", &path, fs::read_to_string(&path))?;
            let table: toml::Table = doing("read", &path, toml::from_str(&text))?;
            if table.get("name").and_then(toml::Value::as_str) == Some(domain) {
                return Ok(path.file_name().map(|name| (name.into(), table)));
            }
        }
    }
    Ok(None)
}
