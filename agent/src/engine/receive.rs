//! Receiving: the archive comes from the backup folder or from a server, and is checked and staged
//! in the same pass.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reinstate_api::{Code, Failure, Location, Progress, RestoreRequest, Source};
use tokio::sync::{mpsc, oneshot, watch};

use super::context::Context;
use crate::archive;
use crate::backups::{check_name, clash, missing};
use crate::check::{Here, Space};
use crate::download::{Part, keeps_part, settle};
use crate::facts::Facts;
use crate::fetch::{self, Finished, Options, RemoteFile};
use crate::files::found;
use crate::stage::{self, Milestone, Seen, Staged};
use crate::store::Draft;
use crate::tree::Index;

/// What receiving needs to know of this appliance.
pub struct Receiving {
    pub facts: Facts,
    pub live: Index,
    pub draft: Draft,
    /// Told when all is here that is needed to ask.
    pub seen: oneshot::Sender<Seen>,
    /// Set to true to end it early.
    pub stop: watch::Receiver<bool>,
}

/// Receives, checks and stages an archive. All failed checks come back together.
pub async fn receive(
    context: &Context,
    request: &RestoreRequest,
    receiving: Receiving,
) -> Result<Staged, Vec<Failure>> {
    let one = |failure: Failure| vec![failure];
    let device = request.device.clone();
    match &request.source {
        Source::Backup(file) => {
            let _mine = context.engine.take_name(file).map_err(one)?;
            let input = open_backup(context, file).map_err(one)?;
            let total = input.metadata().map(|meta| meta.len()).unwrap_or_default();
            let meter = Meter::new(total, 0);
            let input = meter.clone().measure(BufReader::with_capacity(archive::BUFFER, input));
            run(context, file.clone(), device, receiving, meter, input, None).await
        }
        Source::Location(location) => {
            let file = location.path.rsplit('/').next().unwrap_or_default().to_owned();
            check_name(&file).map_err(one)?;
            let _mine = context.engine.take_name(&file).map_err(one)?;
            let mut stop = receiving.stop.clone();
            let remote = tokio::select! {
                remote = open_remote(context, location) => remote.map_err(one)?,
                _ = stop.wait_for(|stop| *stop) => return Err(one(stopped())),
            };
            let backups = context.engine.backups().map_err(one)?;
            let known = clash(&backups, &file, remote.size, "the server's").map_err(one)?;
            let known = known.into_iter().collect();
            let part = Part::open(&backups, &file, location, &remote).map_err(one)?;
            let from = part.have();
            if from > 0 {
                context.note(format!("going on after {from} of {} bytes that are already here", remote.size));
            }
            let meter = Meter::new(remote.size, from);
            let (sender, input) = part.begin().map_err(one)?;
            let input = meter.clone().measure(input);
            let fetch = Fetch { remote, from, sender, known };
            let staged = run(context, file.clone(), device, receiving, meter, input, Some(fetch)).await;
            settle(&backups, &file, &staged).map_err(one)?;
            if let Err(failures) = &staged
                && keeps_part(failures)
            {
                context.note("what has arrived is kept; the same command goes on from there");
            }
            staged
        }
    }
}

fn open_backup(context: &Context, file: &str) -> Result<File, Failure> {
    let backups = context.engine.backups()?;
    found(backups.open_file(file))?.ok_or_else(|| missing(file))
}

async fn open_remote(context: &Context, location: &Location) -> Result<RemoteFile, Failure> {
    let parts = context.engine.parts();
    let trust = context.engine.trust();
    let key = context.engine.device_key().await?;
    let options = Options { max_size: parts.profile.limits.bytes, ..Options::default() };
    context.note(format!("connecting to {}, port {}", location.host, location.port));
    let connection = fetch::connect(location, &trust, &key, context, &options).await?;
    connection.open(context).await
}

struct Fetch {
    remote: RemoteFile,
    from: u64,
    sender: mpsc::Sender<Bytes>,
    known: Vec<Failure>,
}

/// The one pass: a thread reads, hashes and stages while the network brings the rest.
async fn run(
    context: &Context,
    file: String,
    device: Option<String>,
    receiving: Receiving,
    meter: Meter,
    input: impl BufRead + Send + 'static,
    fetch: Option<Fetch>,
) -> Result<Staged, Vec<Failure>> {
    let Receiving { facts, live, draft, seen, mut stop } = receiving;
    let mut seen = Some(seen);
    let watcher = context.clone();
    let halt = meter.halt.clone();
    let known = fetch.as_ref().map(|fetch| fetch.known.clone()).unwrap_or_default();
    let to_come = if fetch.is_some() { meter.total - meter.resumed } else { 0 };
    let staging = tokio::task::spawn_blocking(move || {
        let parts = watcher.engine.parts();
        let backups = watcher.engine.backups().map_err(|failure| vec![failure])?;
        let space = Space::look(parts.store.folder(), &parts.root, &backups, to_come)
            .map_err(|failure| vec![failure])?;
        let here = Here {
            facts: &facts,
            profile: &parts.profile,
            domains: &parts.domains,
            live: (live.totals().0, live.count()),
            space,
            device,
            known,
        };
        let mut told = |milestone: Milestone| match milestone {
            Milestone::Details(details) => watcher.show(|view| view.details = Some(*details)),
            Milestone::Note(note) => watcher.note(note),
            Milestone::Changes(changes) => {
                watcher.show(|view| view.changes = changes);
            }
            Milestone::Seen(now) => {
                if let Some(seen) = seen.take() {
                    // Nobody waits for it any more where the job was ended.
                    let _ = seen.send(*now);
                }
            }
        };
        stage::stage(input, &file, &here, &live, draft, &mut told)
    });
    let fetching = async {
        match fetch {
            Some(Fetch { remote, from, sender, .. }) => remote.read(from, sender).await,
            None => Ok(Finished::Whole),
        }
    };
    let mut stopping = stop.clone();
    let fetching = async {
        tokio::select! {
            fetched = fetching => fetched,
            _ = stop.wait_for(|stop| *stop) => Err(stopped()),
        }
    };
    let halting = async {
        if stopping.wait_for(|stop| *stop).await.is_ok() {
            halt.store(true, Ordering::Relaxed);
        }
        std::future::pending::<Infallible>().await
    };
    let shown = meter.show(context);
    let (fetched, staged) = tokio::select! {
        both = async { tokio::join!(fetching, staging) } => both,
        never = shown => match never {},
        never = halting => match never {},
    };
    let staged =
        staged.unwrap_or_else(|_| Err(vec![Failure::new(Code::Internal, "the staging thread ended early")]));
    meter.last(context);
    match fetched {
        Ok(Finished::Whole) => staged,
        // The thread has stopped reading: its own reasons count.
        Ok(Finished::Stopped) => staged,
        Err(failure) => Err(vec![failure]),
    }
}

fn stopped() -> Failure {
    Failure::new(Code::Aborted, "receiving was ended").hint("nothing was changed")
}

/// Counts what is read, and stops it when asked to.
#[derive(Clone)]
struct Meter {
    total: u64,
    resumed: u64,
    read: Arc<AtomicU64>,
    halt: Arc<AtomicBool>,
}

impl Meter {
    fn new(total: u64, resumed: u64) -> Self {
        Self { total, resumed, read: Arc::default(), halt: Arc::default() }
    }

    fn measure<R: BufRead>(self, inner: R) -> Measured<R> {
        Measured { inner, meter: self }
    }

    /// For ever: only the work ends it.
    async fn show(&self, context: &Context) -> Infallible {
        let mut last = (Instant::now(), self.read.load(Ordering::Relaxed));
        let mut rate = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let (now, bytes) = (Instant::now(), self.read.load(Ordering::Relaxed));
            let elapsed = now.duration_since(last.0).as_secs_f64();
            if elapsed >= 1.0 || rate == 0 {
                rate = ((bytes - last.1) as f64 / elapsed.max(0.001)) as u64;
                last = (now, bytes);
            }
            self.put(context, rate);
        }
    }

    fn last(&self, context: &Context) {
        self.put(context, 0);
    }

    fn put(&self, context: &Context, rate: u64) {
        let bytes = self.read.load(Ordering::Relaxed);
        let progress = Progress { bytes, total: self.total, resumed: self.resumed, rate };
        context.show(|view| view.progress = Some(progress));
    }
}

struct Measured<R> {
    inner: R,
    meter: Meter,
}

impl<R: BufRead> BufRead for Measured<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.meter.halt.load(Ordering::Relaxed) {
            return Err(io::Error::other(stopped()));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.meter.read.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl<R: BufRead> Read for Measured<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buf)?;
        self.consume(count);
        Ok(count)
    }
}
