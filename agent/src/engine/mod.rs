//! The owner of the job: starts it, records every step of it, asks and is answered, ends it.

mod address;
mod afterwards;
mod bundle;
mod candidate;
mod clear;
mod configurations;
mod configure;
mod confirm;
mod context;
mod expert;
mod export;
mod files;
mod finish;
mod firewall;
mod flow;
mod group;
mod guest;
mod look;
mod meeting;
mod peers;
mod power;
mod receive;
mod restore;
mod resume;
mod support;

use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use reinstate_api::{
    Answer, AnswerRequest, BACKUP_FOLDER, Code, ConfigureRequest, Failure, JobKind, JobView, Outcome, Phase,
    QuestionKind, RestoreRequest, Source, Status,
};
use tokio::sync::{Notify, oneshot, watch};
use uuid::Uuid;

use crate::bundle::Bundles;
use crate::domain::Domains;
use crate::files::Folder;
use crate::job::{Job, Stage};
use crate::platform::Platform;
use crate::profile::Profile;
use crate::state::{State, StateFile};
use crate::store::Store;
use crate::upload::Names;

use afterwards::Attempts;
use context::Context;
use peers::Peers;
pub use support::without_licence;

/// How many warnings are kept until the agent's next start.
const TROUBLES: usize = 100;

/// What the engine works with.
pub struct Parts {
    pub platform: Arc<dyn Platform>,
    pub profile: Profile,
    pub domains: Domains,
    /// The appliance's root.
    pub root: Folder,
    pub store: Store,
    pub state: StateFile,
}

/// One engine, shared by the server's handlers and the job's task.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    view: watch::Sender<Status>,
    running: Mutex<Option<Running>>,
    /// What went wrong and did not stop anything.
    troubles: Mutex<Vec<String>>,
    /// To tell the manager.
    attempts: Attempts,
    /// An admin has confirmed what was restored.
    confirmed: Notify,
    /// The other members of the HA group.
    peers: Peers,
    bundles: Bundles,
    /// The files of the backup folder that somebody is at work on.
    names: Names,
}

/// The job that runs, as far as others may reach into it.
struct Running {
    /// Set to true when an admin ends the job.
    abort: watch::Sender<bool>,
    question: Option<(u64, oneshot::Sender<Answer>)>,
    questions: u64,
}

/// What a job is to do.
#[derive(Clone, Debug)]
enum Work {
    Restore(RestoreRequest),
    /// Back to a generation of the store.
    Return {
        number: u64,
    },
    DeleteManager,
    Configure(ConfigureRequest),
}

impl Engine {
    /// Opens what the last run has left, and goes on with it.
    pub fn start(parts: Parts) -> Self {
        let status = Status {
            job: None,
            last: None,
            active: 0,
            previous: None,
            lock: None,
            group: None,
            releases: Vec::new(),
            checkin: None,
            tasks: None,
            warnings: Vec::new(),
        };
        let peers = Peers::new(parts.store.folder().clone());
        let inner = Inner {
            parts,
            view: watch::channel(status).0,
            running: Mutex::new(None),
            troubles: Mutex::default(),
            attempts: Attempts::default(),
            confirmed: Notify::new(),
            peers,
            bundles: Bundles::default(),
            names: Names::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    pub fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    /// Changes whenever something does.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.inner.view.subscribe()
    }

    /// The record as it is on the disk, with the job as it is now.
    pub fn status(&self) -> Status {
        self.refresh();
        self.inner.view.borrow().clone()
    }

    pub fn restore(&self, request: RestoreRequest, by: String) -> Result<Uuid, Failure> {
        let kind = if request.check { JobKind::Check } else { JobKind::Restore };
        let shown = match &request.source {
            Source::Backup(file) => {
                crate::backups::check_name(file)?;
                format!("backup {file}")
            }
            Source::Location(at) => {
                let host = if at.host.contains(':') { format!("[{}]", at.host) } else { at.host.clone() };
                // A path that does not begin with a slash starts at the login folder.
                let path = if at.path.starts_with('/') { at.path.clone() } else { format!("/~/{}", at.path) };
                format!("sftp://{}@{host}:{}{path}", at.user, at.port)
            }
        };
        confirm::check(&request)?;
        let work = Work::Restore(request);
        self.begin(kind, reinstate_api::one_line(&shown), by, work)
    }

    /// Back to what was active before.
    pub fn rollback(&self, by: String) -> Result<Uuid, Failure> {
        let number = self.inner.parts.state.read()?.previous.ok_or_else(|| {
            Failure::new(Code::NotFound, "there is no previous configuration to go back to")
                .hint("`restore factory` goes back to the factory's")
        })?;
        self.begin(JobKind::Rollback, format!("generation {number}"), by, Work::Return { number })
    }

    /// Back to the factory's configuration.
    pub fn factory(&self, by: String) -> Result<Uuid, Failure> {
        self.begin(JobKind::Factory, "generation 0".into(), by, Work::Return { number: 0 })
    }

    /// Answers the question that the job asks.
    pub fn answer(&self, request: AnswerRequest) -> Result<(), Failure> {
        let mut running = self.running();
        let question = running.as_mut().and_then(|running| running.question.take());
        match question {
            Some((number, sender)) if number == request.question => {
                let fits = matches!(request.answer, Answer::Secret(_)) == self.wants_secret();
                if !fits {
                    if let Some(running) = running.as_mut() {
                        running.question = Some((number, sender));
                    }
                    return Err(Failure::new(
                        Code::BadRequest,
                        format!(
                            "question {number} takes {}",
                            if self.wants_secret() { "a secret" } else { "yes or no" }
                        ),
                    ));
                }
                // A question that was withdrawn in this instant takes no answer.
                sender.send(request.answer).map_err(|_| no_question(request.question))
            }
            other => {
                if let Some(running) = running.as_mut() {
                    running.question = other;
                }
                Err(no_question(request.question))
            }
        }
    }

    /// Ends the job that runs, as long as nothing was changed.
    pub fn abort(&self) -> Result<(), Failure> {
        let phase =
            self.inner.view.borrow().job.as_ref().filter(|job| job.outcome.is_none()).map(|job| job.phase);
        match (&*self.running(), phase) {
            (Some(_), None) | (None, _) => Err(Failure::new(Code::NotFound, "no job is running")),
            (Some(_), Some(phase)) if phase >= Phase::Committed => Err(Failure::new(
                Code::Busy,
                format!("the job is in phase {phase}, past the point of no return"),
            )
            .hint("`restore rollback` brings the old configuration back after the restart")),
            (Some(running), _) => {
                running.abort.send_replace(true);
                Ok(())
            }
        }
    }

    /// Puts the job on record and lets it run.
    fn begin(&self, kind: JobKind, source: String, by: String, work: Work) -> Result<Uuid, Failure> {
        let mut running = self.running();
        if running.is_some() {
            return Err(self.busy());
        }
        let confirm_within = match &work {
            Work::Restore(request) => request.confirm_within,
            Work::Configure(request) => confirm::wanted(request),
            Work::Return { .. } | Work::DeleteManager => None,
        };
        let job = Job::new(Uuid::new_v4(), kind, source, by, Timestamp::now()).confirm_within(confirm_within);
        let id = job.id;
        self.state()?;
        self.inner.parts.state.update(|state| match &state.job {
            Some(other) => Err(busy_with(other.kind, other.id, other.phase())),
            None => {
                state.job = Some(job.clone());
                Ok(())
            }
        })?;
        let (abort, aborted) = watch::channel(false);
        *running = Some(Running { abort, question: None, questions: 0 });
        drop(running);
        self.inner.view.send_modify(|status| status.job = Some(view(&job)));
        tracing::info!(id = %job.id, kind = %job.kind, by = %job.by, source = %job.source, "job started");
        let context = Context::new(self.clone(), job, aborted);
        let work = tokio::spawn(flow::run(context.clone(), work));
        tokio::spawn(async move {
            if work.await.is_err() {
                flow::give_up(&context).await;
            }
        });
        Ok(id)
    }

    fn busy(&self) -> Failure {
        match self.inner.view.borrow().job.as_ref().filter(|job| job.outcome.is_none()) {
            Some(job) => busy_with(job.kind, job.id, job.phase),
            None => Failure::new(Code::Busy, "a backup is being made, or a restart was asked for")
                .hint("try again when it is done"),
        }
    }

    /// Keeps jobs away for as long as the value lives.
    fn reserve(&self) -> Result<Reserved, Failure> {
        let mut running = self.running();
        if running.is_some() {
            return Err(self.busy());
        }
        *running = Some(Running { abort: watch::channel(false).0, question: None, questions: 0 });
        Ok(Reserved(self.clone()))
    }

    fn wants_secret(&self) -> bool {
        let view = self.inner.view.borrow();
        let question = view.job.as_ref().and_then(|job| job.question.as_ref());
        matches!(question.map(|question| &question.kind), Some(QuestionKind::Prompt { .. }))
    }

    /// Shown among the warnings until the agent's next start.
    fn trouble(&self, what: String) {
        let mut troubles = self.inner.troubles.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !troubles.contains(&what) && troubles.len() < TROUBLES {
            troubles.push(what);
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        // Nothing that holds this mutex can panic half-way through a change.
        self.inner.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Where backups are kept.
    fn backups(&self) -> Result<Folder, Failure> {
        let root = &self.inner.parts.root;
        root.make_folders(BACKUP_FOLDER, 0o700)?;
        Ok(root.folder(BACKUP_FOLDER)?)
    }

    fn record<T>(&self, change: impl FnOnce(&mut State) -> Result<T, Failure>) -> Result<T, Failure> {
        self.inner.parts.state.update(change)
    }

    /// Brings what is on the disk into the status.
    fn refresh(&self) {
        let (state, lock, releases) = (self.state(), self.peers().lock.read(), self.peers().releases());
        let group = self.peers().view();
        let troubles = self.inner.troubles.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        self.inner.view.send_if_modified(|status| {
            let before = status.clone();
            status.warnings = troubles;
            match state {
                Ok(state) => {
                    status.active = state.active;
                    status.previous = state.previous;
                    status.last = state.history.iter().find(|e| e.kind != JobKind::ClearLock).cloned();
                    status.checkin = self.checkin(&state);
                    status.tasks = self.tasks(&state);
                    status.warnings.extend(state.meetings());
                    if let Some(Stage::Broken(switch)) = state.job.as_ref().map(|job| &job.stage) {
                        status.warnings.push(
                            "neither configuration could be made whole; network and SSH stay down".into(),
                        );
                        status.warnings.extend(switch.back.iter().map(|failure| failure.message.clone()));
                        if let Some(view) = &mut status.job {
                            view.outcome = Some(Outcome::Broken { failures: switch.back.clone() });
                        }
                    }
                }
                Err(failure) => status.warnings.push(failure.message),
            }
            match lock {
                Ok(lock) => status.lock = lock,
                Err(failure) => {
                    status.lock = Some(crate::lock::unreadable());
                    status.warnings.push(failure.message);
                }
            }
            status.group = group;
            match releases {
                Ok(releases) => status.releases = releases,
                Err(failure) => status.warnings.push(failure.message),
            }
            *status != before
        });
    }
}

/// Keeps jobs away.
struct Reserved(Engine);

impl Drop for Reserved {
    fn drop(&mut self) {
        *self.0.running() = None;
    }
}

fn no_question(number: u64) -> Failure {
    Failure::new(Code::NotFound, format!("question {number} is not asked"))
        .hint("`show restore` shows what is asked now")
}

fn busy_with(kind: JobKind, id: Uuid, phase: Phase) -> Failure {
    let ends = match phase {
        Phase::Finishing => format!("where it waits to be confirmed, `{}` ends it", kind.confirmation()),
        Phase::Committed | Phase::Rebooting | Phase::Activating => "try again when it has ended".into(),
        _ => "`restore abort` ends it as long as nothing was changed".into(),
    };
    Failure::new(Code::Busy, format!("{kind} {id} is running, phase {phase}"))
        .hint(format!("`show restore` shows it; {ends}"))
}

fn view(job: &Job) -> JobView {
    JobView {
        id: job.id,
        kind: job.kind,
        source: job.source.clone(),
        by: job.by.clone(),
        started: job.started,
        phase: job.phase(),
        progress: None,
        question: None,
        confirm_until: None,
        details: None,
        changes: Vec::new(),
        notes: job.notes.clone(),
        ended: None,
        outcome: None,
    }
}
