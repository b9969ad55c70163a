//! Where archives are staged: an appliance over a folder, with things beside it that must stay as they are.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reinstate_agent::archive::BUFFER;
use reinstate_agent::check::{Here, Space};
use reinstate_agent::domain::Domains;
use reinstate_agent::facts::Facts;
use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::profile::{self, Profile};
use reinstate_agent::stage::{Staged, stage};
use reinstate_agent::store::Store;
use reinstate_agent::tree::{Entry, EntryKind, Hashing, Index};
use reinstate_api::Failure;

use crate::appliance::Appliance;
use crate::{Result, doing};

const ROOT: &str = "root";
const STATE: &str = "root/var/lib/reinstate";
/// The name that the archive has, as the check of the role sees it.
const FILE: &str = "fw-a_20260105080000.tar";

/// What became of an archive.
pub enum Outcome {
    Refused(Vec<Failure>),
    /// Exactly what is listed is staged, so many files.
    Accepted(usize),
    /// Something else than what is listed is staged.
    Other(String),
}

pub struct Place {
    folder: PathBuf,
    root: Folder,
    profile: Profile,
    domains: Domains,
    facts: Facts,
    store: Store,
}

fn words(failures: Vec<Failure>) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Place {
    /// Makes the appliance, and what must not be touched.
    pub fn build(folder: &Path) -> Result<()> {
        Appliance::replacement().build(&folder.join(ROOT))?;
        for made in [STATE, "beside", "root/var/lib/reinstate/beside"] {
            fs::create_dir_all(folder.join(made))?;
        }
        for canary in ["canary", "beside/canary", "root/var/lib/reinstate/canary", "root/canary"] {
            fs::write(folder.join(canary), "alive\n")?;
        }
        Store::open(Folder::open(&folder.join(STATE), Arc::new(Direct))?)?;
        Ok(())
    }

    pub fn open(folder: &Path) -> Result<Self> {
        let root = Folder::open(&folder.join(ROOT), Arc::new(Direct))?;
        let (profile, domains) = profile::load(&root).map_err(words)?;
        let facts = Facts::read(&root, &profile)?;
        let store = Store::open(Folder::open(&folder.join(STATE), Arc::new(Direct))?)?;
        Ok(Self { folder: folder.to_owned(), root, profile, domains, facts, store })
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the content of a staged archive lies.
    pub fn tree(&self) -> PathBuf {
        self.folder.join(STATE).join("drafts/restore/tree")
    }

    /// As after a restore that failed.
    pub fn discard(&self) -> Result<()> {
        Ok(self.store.discard_drafts()?)
    }

    /// Stages an archive as a restore does. `sums` is the list that it has.
    pub fn stage(&self, archive: impl Read, sums: &str) -> (Outcome, Duration) {
        let begun = Instant::now();
        let staged = self.staged(archive);
        let took = begun.elapsed();
        let outcome = match staged {
            Err(failures) => Outcome::Refused(failures),
            Ok(staged) => match self.compare(&staged, sums) {
                Ok(files) => Outcome::Accepted(files),
                Err(why) => Outcome::Other(why.to_string()),
            },
        };
        (outcome, took)
    }

    fn staged(&self, archive: impl Read) -> std::result::Result<Staged, Vec<Failure>> {
        let one = |failure: Failure| vec![failure];
        let here = Here {
            facts: &self.facts,
            profile: &self.profile,
            domains: &self.domains,
            live: (0, 0),
            space: Space::look(self.store.folder(), &self.root, &self.root, 0).map_err(one)?,
            device: None,
            known: Vec::new(),
        };
        let draft = self.store.draft("restore").map_err(one)?;
        let input = BufReader::with_capacity(BUFFER, archive);
        stage(input, FILE, &here, &Index::default(), draft, &mut |_| {})
    }

    /// The number of files, where what lies there is what the list says, and nothing else lies there.
    fn compare(&self, staged: &Staged, sums: &str) -> Result<usize> {
        let mut lines = BTreeSet::new();
        let mut places = BTreeSet::new();
        for (domain, entry) in staged.draft.index().iter() {
            lines.extend(self.lines(staged, domain, entry)?);
            let mut above = Some(entry.path.clone());
            while let Some(path) = above {
                above = path.parent();
                places.insert(PathBuf::from(path.as_str()));
            }
        }
        let known = |line: &&str| {
            let name = line.rsplit(['\t', ' ']).next().unwrap_or_default();
            let domain = name.split('/').nth(1).unwrap_or_default();
            staged.manifest.domain(domain).is_none() || staged.present.contains(domain)
        };
        let listed: BTreeSet<String> = sums.lines().filter(known).map(str::to_owned).collect();
        if let Some(line) = lines.symmetric_difference(&listed).next() {
            let whose = if listed.contains(line) { "listed, not staged" } else { "staged, not listed" };
            return Err(format!("{whose}: {line}").into());
        }
        let mut there = BTreeSet::new();
        below(&self.tree(), Path::new(""), &mut there)?;
        match there.symmetric_difference(&places).next() {
            Some(path) => Err(format!("{} is staged and in no index, or missing", path.display()).into()),
            None => Ok(staged.draft.index().totals().1 as usize),
        }
    }

    /// An entry as a list would have it, by what lies on the disk.
    fn lines(&self, staged: &Staged, domain: &str, entry: &Entry) -> Result<Vec<String>> {
        let Entry { path, mode, owner, group, kind } = entry;
        let name = format!("config/{domain}/{}", path.as_str());
        let line =
            |kind: &str, detail: &str| format!("# {kind}\t{mode:04o}\t{owner}\t{group}\t{detail}\t{name}");
        let at = self.tree().join(path);
        let lies = doing("examine", &at, at.symlink_metadata())?.file_type();
        Ok(match kind {
            EntryKind::File { .. } if lies.is_file() => {
                let mut content = Hashing::new(staged.draft.open(entry)?);
                io::copy(&mut content, &mut io::sink())?;
                let (size, digest) = content.finish();
                vec![format!("{digest}  {name}"), line("file", &size.to_string())]
            }
            EntryKind::Folder if lies.is_dir() => vec![line("folder", "")],
            EntryKind::Link { .. } if lies.is_symlink() => {
                vec![line("link", &fs::read_link(&at)?.to_string_lossy())]
            }
            _ => return Err(format!("{path} is of another kind than its entry").into()),
        })
    }
}

fn below(root: &Path, folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    let at = root.join(folder);
    for entry in doing("list", &at, fs::read_dir(&at))? {
        let entry = doing("list", &at, entry)?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            below(root, &path, found)?;
        }
        found.insert(path);
    }
    Ok(())
}
