//! The process that receives: the agent's own parts, put together as its engine does, without what an
//! engine adds (a job's record, questions, a view).

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use reinstate_agent::archive::{self, Manifest, Receiver, Sums};
use reinstate_agent::check::{Here, Space};
use reinstate_agent::domain::Domains;
use reinstate_agent::download::{Part, settle};
use reinstate_agent::facts::Facts;
use reinstate_agent::fetch::{Ask, DeviceKey, Finished, Options, RemoteFile, Trust, connect};
use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::profile::{self, Profile};
use reinstate_agent::stage::{Staged, stage};
use reinstate_agent::store::{About, Store};
use reinstate_agent::tree::{Entry, Index};
use reinstate_api::{BACKUP_FOLDER, Code, Failure, HostKey, Location, Secret};
use serde::{Deserialize, Serialize};

use super::process;

/// What a receiving process is told, as its one argument.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// The appliance's root.
    pub root: PathBuf,
    pub location: Location,
    /// Stage the content, and make it a generation; otherwise only check it.
    pub stage: bool,
    /// Received bytes after which keys are exchanged anew.
    pub rekey: Option<usize>,
}

/// What it answers on its standard output.
#[derive(Serialize, Deserialize)]
pub struct Report {
    /// The most memory that it had, in KiB.
    pub peak: u64,
    /// From when everything was received and checked until it was durable, in seconds.
    pub syncing: f64,
}

/// Receives one archive; nothing is left to do when it returns.
pub fn receive(order: &Order) -> Result<Report, Vec<Failure>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| vec![Failure::io("cannot start the runtime", &e)])?;
    let since = runtime.block_on(run(order))?;
    let syncing = since.elapsed().as_secs_f64();
    let peak = process::peak(std::process::id()).map_err(|e| vec![internal(&e.to_string())])?;
    Ok(Report { peak, syncing })
}

async fn run(order: &Order) -> Result<Instant, Vec<Failure>> {
    let one = |failure: Failure| vec![failure];
    let place = Place::open(order)?;
    let backups = place.root.folder(BACKUP_FOLDER).map_err(|e| one(e.into()))?;
    let remote = place.open_remote(order).await.map_err(one)?;
    let (location, size) = (&order.location, remote.size);
    let file = location.path.rsplit('/').next().unwrap_or_default().to_owned();
    let part = Part::open(&backups, &file, location, &remote).map_err(one)?;
    let from = part.have();
    let (sender, input) = part.begin().map_err(one)?;
    let (work, name, stages) = (place.clone(), file.clone(), order.stage);
    let working = tokio::task::spawn_blocking(move || match stages {
        true => work.stage(input, &name).map(Some),
        false => work.check(input).map(|()| None).map_err(one),
    });
    let (fetched, read) = tokio::join!(remote.read(from, sender), working);
    let read = read.unwrap_or_else(|_| Err(one(internal("the reading thread ended early"))));
    let fetched = fetched.map_err(one)?;
    let verified = Instant::now();
    settle(&backups, &file, &read).map_err(one)?;
    let staged = read?;
    if fetched != Finished::Whole {
        return Err(one(internal(&format!("not all of the {size} bytes were read"))));
    }
    if let Some(staged) = staged {
        place.keep(staged, &file).map_err(one)?;
    }
    Ok(verified)
}

/// An appliance, as far as receiving needs it.
#[derive(Clone)]
struct Place(Arc<Parts>);

struct Parts {
    root: Folder,
    profile: Profile,
    domains: Domains,
    store: Store,
    facts: Facts,
}

impl std::ops::Deref for Place {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Place {
    fn open(order: &Order) -> Result<Self, Vec<Failure>> {
        let one = |failure: Failure| vec![failure];
        let root = Folder::open(&order.root, Arc::new(Direct)).map_err(|e| one(e.into()))?;
        let (profile, domains) = profile::load(&root)?;
        let folder = root.folder(super::STATE_FOLDER).map_err(|e| one(e.into()))?;
        let store = Store::open(folder).map_err(one)?;
        let facts = Facts::read(&root, &profile).map_err(one)?;
        Ok(Self(Arc::new(Parts { root, profile, domains, store, facts })))
    }

    async fn open_remote(&self, order: &Order) -> Result<RemoteFile, Failure> {
        let folder = self.store.folder().clone();
        let key = DeviceKey::load_or_create(&folder, super::DEVICE_KEY.as_ref(), "bench")?;
        let trust = Trust { known_hosts: Vec::new(), remember: (folder, "known_hosts".into()) };
        let options = Options { rekey_read_limit: order.rekey, ..Options::default() };
        connect(&order.location, &trust, &key, &Nobody, &options).await?.open(&Nobody).await
    }

    fn stage(&self, input: impl BufRead, file: &str) -> Result<Staged, Vec<Failure>> {
        let one = |failure: Failure| vec![failure];
        let live = Index::default();
        let here = Here {
            facts: &self.facts,
            profile: &self.profile,
            domains: &self.domains,
            live: (live.totals().0, live.count()),
            space: Space::look(self.store.folder(), &self.root, &self.root, 0).map_err(one)?,
            device: None,
            known: Vec::new(),
        };
        let draft = self.store.draft("restore").map_err(one)?;
        stage(input, file, &here, &live, draft, &mut |_| {})
    }

    fn check(&self, input: impl BufRead) -> Result<(), Failure> {
        archive::read(input, &self.profile.limits, &mut Checked).map(drop)
    }

    fn keep(&self, staged: Staged, file: &str) -> Result<(), Failure> {
        let about = About {
            number: 1,
            created: staged.manifest.created,
            origin: format!("backup {file}"),
            device: staged.manifest.device.clone(),
            domains: &self.domains,
            archive: Some(staged.manifest.details(file)),
        };
        staged.draft.finish(about).map(drop)
    }
}

/// Takes an archive's content and lets go of it: the reader has hashed it.
struct Checked;

impl Receiver for Checked {
    fn manifest(&mut self, _: &Manifest) -> Result<(), Failure> {
        Ok(())
    }

    fn sums(&mut self, _: &Manifest, _: &Sums) -> Result<(), Failure> {
        Ok(())
    }

    fn folder(&mut self, _: &str, _: &Entry) -> Result<(), Failure> {
        Ok(())
    }

    fn link(&mut self, _: &str, _: &Entry) -> Result<(), Failure> {
        Ok(())
    }

    fn file(&mut self, _: &str, _: &Entry, content: &mut dyn BufRead) -> Result<(), Failure> {
        loop {
            let here = content.fill_buf().map_err(|error| Failure::io("cannot read the archive", &error))?;
            let length = here.len();
            if length == 0 {
                return Ok(());
            }
            content.consume(length);
        }
    }
}

/// Nobody watches: the host key is given up front, and the login is by key.
struct Nobody;

impl Ask for Nobody {
    fn host_key(&self, _: HostKey) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(async { Ok(false) })
    }

    fn prompt(&self, prompt: String, _: bool) -> BoxFuture<'_, Result<Secret, Failure>> {
        Box::pin(async move { Err(Failure::new(Code::Unanswered, format!("nobody answers '{prompt}'"))) })
    }

    fn note(&self, _: String) {}
}

fn internal(why: &str) -> Failure {
    Failure::new(Code::Internal, why)
}
