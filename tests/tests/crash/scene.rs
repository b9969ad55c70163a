//! The appliances that the tests break: small ones, made once and copied for each trial.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use reinstate_agent::state::State;
use reinstate_api::{Code, Created, HistoryEntry, Outcome, Phase, Status};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::client::Client;
use reinstate_tests::fault::{Fault, Kind};
use reinstate_tests::machine::Machine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::picture::Picture;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state of the agent's own folder, below the root.
pub const AGENT: &str = "var/lib/reinstate";

/// Few files and no checkers, so that a restore takes a fraction of a second.
fn small(appliance: Appliance) -> Appliance {
    ["files", "firewall", "ha", "licence", "ssh", "users"].iter().fold(appliance, |appliance, domain| {
        appliance.without(&format!("usr/lib/reinstate/domains.d/{domain}.toml"))
    })
}

fn donor() -> Appliance {
    small(Appliance::donor("fw-a"))
        .file("etc/appliance/pki/file-then-folder/inner.pem", "of the old unit\n", 0o640)
        .file("etc/appliance/pki/folder-then-file", "a file on the old unit\n", 0o600)
}

/// What a restore is tried on.
pub fn replacement() -> Appliance {
    small(Appliance::replacement())
        .file("etc/appliance/pki/private/first.pem", "the first installation's key\n", 0o600)
        .file("etc/appliance/pki/file-then-folder", "a file on the new unit\n", 0o644)
        .file("etc/appliance/pki/folder-then-file/inner.pem", "of the new unit\n", 0o644)
}

/// What every trial starts from.
pub struct Scene {
    folder: TempDir,
    pub file: String,
    pub donor: Picture,
    /// Before the restore, after it, and after the manager was deleted then.
    pub old: Picture,
    pub new: Picture,
    pub unmanaged: Picture,
}

/// How far the copied appliance is.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// The backup is here, and nothing was asked for.
    Ready,
    /// A restore has just been committed, and the daemon killed.
    Committed,
    /// A restore has succeeded.
    Restored,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Ready => "ready",
            Stage::Committed => "committed",
            Stage::Restored => "restored",
        }
    }
}

impl Scene {
    /// The one that all running tests share.
    pub fn get() -> Arc<Self> {
        static SHARED: Mutex<Weak<Scene>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let scene = Arc::new(Self::build());
            *shared = Arc::downgrade(&scene);
            scene
        })
    }

    fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let old_unit = folder.path().join("donor");
        donor().build(&old_unit).unwrap();
        let mut machine = Machine::new(PROGRAM, &old_unit);
        machine.start().unwrap();
        let Created { file, .. } = machine.client().post("/v1/backups", &json!({})).unwrap();
        machine.stop();

        let ready = folder.path().join(Stage::Ready.name());
        replacement().build(&ready).unwrap();
        fs::copy(
            old_unit.join(reinstate_api::BACKUP_FOLDER).join(&file),
            ready.join(reinstate_api::BACKUP_FOLDER).join(&file),
        )
        .unwrap();
        let mut machine = Machine::new(PROGRAM, &ready);
        machine.start().unwrap();
        machine.stop();
        let (donor, old) = (Picture::take(&old_unit), Picture::take(&ready));
        let empty = Picture(Default::default());
        let mut scene = Self { folder, file, donor, old, new: empty.clone(), unmanaged: empty };

        let trial = scene.trial(Stage::Ready);
        trial.stop_in(Phase::Committed, &scene);
        trial.keep(&scene, Stage::Committed);

        let mut trial = scene.trial(Stage::Ready);
        trial.machine.start().unwrap();
        assert!(trial.play(&Job::restore(&scene)).outcome.is_success());
        scene.new = Picture::take(&trial.root);
        trial.keep(&scene, Stage::Restored);

        let mut trial = scene.trial(Stage::Restored);
        trial.machine.start().unwrap();
        assert!(trial.play(&Job::delete_manager()).outcome.is_success());
        scene.unmanaged = Picture::take(&trial.root);
        for (one, two) in
            [(&scene.old, &scene.new), (&scene.new, &scene.unmanaged), (&scene.old, &scene.unmanaged)]
        {
            assert_ne!(one.difference(two), "", "a test that compares these could not fail");
        }
        scene
    }

    /// A machine over a copy of its own, switched off.
    pub fn trial(&self, stage: Stage) -> Trial {
        let trial = Trial::empty();
        copy(&self.folder.path().join(stage.name()), &trial.root);
        trial
    }

    /// One that is built anew, with the backup in its folder.
    pub fn trial_of(&self, appliance: &Appliance) -> Trial {
        let trial = Trial::empty();
        appliance.build(&trial.root).unwrap();
        let from = self.folder.path().join(Stage::Ready.name()).join(reinstate_api::BACKUP_FOLDER);
        let to = trial.root.join(reinstate_api::BACKUP_FOLDER);
        fs::copy(from.join(&self.file), to.join(&self.file)).unwrap();
        trial
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg("--").args([from, to]).status().unwrap();
    assert!(copied.success(), "cp of {}", from.display());
}

/// What is asked of the agent.
#[derive(Clone)]
pub struct Job {
    method: &'static str,
    path: &'static str,
    body: Option<Value>,
}

impl Job {
    pub fn restore(scene: &Scene) -> Self {
        let body = json!({ "source": { "backup": scene.file } });
        Self { method: "POST", path: "/v1/restore", body: Some(body) }
    }

    pub fn rollback() -> Self {
        Self { method: "POST", path: "/v1/rollback", body: None }
    }

    pub fn factory() -> Self {
        Self { method: "POST", path: "/v1/factory", body: None }
    }

    pub fn delete_manager() -> Self {
        Self { method: "DELETE", path: "/v1/manager", body: None }
    }

    /// The answer to asking for it.
    pub fn ask(&self, client: &Client) -> reinstate_tests::Result<(u16, Value)> {
        client.call(self.method, self.path, self.body.as_ref())
    }

    /// Asks, and says yes; whatever happens to the agent meanwhile.
    fn drive(&self, client: &Client) {
        if !matches!(self.ask(client), Ok((200..300, _))) {
            return;
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let Ok(status) = client.get::<Status>("/v1/status") else { return };
            let Some(job) = status.job.filter(|job| job.outcome.is_none()) else { return };
            if let Some(question) = job.question {
                let yes = json!({ "question": question.number, "answer": "yes" });
                let _ = client.call("POST", "/v1/answer", Some(&yes));
                return;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}

/// One appliance to break.
pub struct Trial {
    pub machine: Machine,
    pub root: PathBuf,
    _folder: TempDir,
}

impl Trial {
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("fw");
        Self { machine: Machine::new(PROGRAM, &root), root, _folder: folder }
    }

    /// Becomes what trials of this stage are copied from.
    fn keep(self, scene: &Scene, stage: Stage) {
        self.machine.power().cut();
        copy(&self.root, &scene.folder.path().join(stage.name()));
    }

    /// Asks and agrees in the background: a daemon that is stopped answers nobody.
    pub fn drive(&self, job: &Job) -> std::thread::JoinHandle<()> {
        let (client, job) = (self.machine.client(), job.clone());
        std::thread::spawn(move || job.drive(&client))
    }

    /// Plays a whole job, with its reboots; answers with its entry in the history.
    pub fn play(&self, job: &Job) -> HistoryEntry {
        let before = self.history().len();
        self.drive(job).join().unwrap();
        let status = self.machine.wait_until_idle().unwrap();
        assert_eq!(self.history().len(), before + 1, "{status:?}");
        status.last.unwrap()
    }

    /// Boots, and starts a restore whose daemon is killed once this phase is on record.
    pub fn stop_in(&self, phase: Phase, scene: &Scene) {
        let fault = Fault::new("serve", Kind::Pause(phase));
        empty_run(&self.root);
        assert!(self.spawn("activate", None).wait().unwrap().success());
        let mut daemon = self.spawn("serve", Some(&fault));
        until("the daemon answers", || self.machine.status().is_ok());
        let driver = self.drive(&Job::restore(scene));
        until(&format!("phase {phase}"), || self.state().job.is_some_and(|job| job.phase() == phase));
        // It writes no more: what is on the disk now is what a crash leaves.
        std::thread::sleep(Duration::from_millis(30));
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        driver.join().unwrap();
    }

    /// One process of the agent, without a machine around it.
    pub fn spawn(&self, verb: &str, fault: Option<&Fault>) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.machine.log()).unwrap();
        Command::new(PROGRAM)
            .args(fault.into_iter().flat_map(Fault::words))
            .args(["reinstated", "--root"])
            .arg(&self.root)
            .arg(verb)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// A boot as far as the activation; true where it succeeded.
    pub fn activate(&self, fault: Option<Kind>) -> bool {
        empty_run(&self.root);
        let fault = fault.map(|kind| Fault::new("activate", kind));
        self.spawn("activate", fault.as_ref()).wait().unwrap().success()
    }

    /// The durable steps of what `run` lets the faulty process do.
    pub fn count(&self, run: impl FnOnce(Kind)) -> u64 {
        let counter = self.root.with_file_name("steps");
        run(Kind::Count(counter.clone()));
        let steps = fs::metadata(counter).unwrap().len();
        assert!(steps > 0);
        steps
    }

    pub fn state(&self) -> State {
        match fs::read_to_string(self.root.join(AGENT).join("state.toml")) {
            Ok(text) => toml::from_str(&text).unwrap(),
            Err(_) => State::default(),
        }
    }

    pub fn history(&self) -> Vec<HistoryEntry> {
        self.state().history
    }

    pub fn picture(&self) -> Picture {
        Picture::take(&self.root)
    }

    pub fn is(&self, picture: &Picture) -> bool {
        self.picture().difference(picture).is_empty()
    }

    pub fn assert_is(&self, picture: &Picture, why: &str) {
        let difference = self.picture().difference(picture);
        assert!(difference.is_empty(), "{why}: not what was expected:\n{difference}{}", self.log());
    }

    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.machine.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// No job, no lock and no staging is left, and only the generations that the record needs.
    pub fn assert_clean(&self, why: &str) {
        let agent = self.root.join(AGENT);
        assert_eq!(names(&agent.join("drafts")), [""; 0], "{why}: drafts\n{}", self.log());
        let state = self.state();
        assert!(state.job.is_none(), "{why}: {state:?}");
        let mut needed: Vec<_> = state.needed().iter().map(u64::to_string).collect();
        needed.sort();
        needed.dedup();
        assert_eq!(names(&agent.join("generations")), needed, "{why}: generations");
        assert!(!agent.join("restore.lock").exists(), "{why}: the lock is still there");
        assert_eq!(self.machine.status().unwrap().lock, None, "{why}");
        let temporary =
            self.picture().0.into_keys().find(|path| path.rsplit('/').next().unwrap().starts_with(".rein"));
        assert_eq!(temporary, None, "{why}");
    }

    /// After a crash and a start: wholly old and on record as interrupted, or wholly new and on
    /// record as a success. True where it is the new one.
    pub fn assert_old_or_new(&self, old: &Picture, new: &Picture, before: usize, why: &str) -> bool {
        self.assert_clean(why);
        let history = self.history();
        assert!(history.len() <= before + 1, "{why}: {history:?}");
        let entry = history.first().filter(|_| history.len() > before);
        match entry.map(|entry| &entry.outcome) {
            Some(Outcome::Succeeded) => {
                self.assert_is(new, why);
                assert_eq!(entry.unwrap().to, self.state().active, "{why}");
                true
            }
            Some(Outcome::Failed { failures }) => {
                assert_eq!(failures[0].code, Code::Interrupted, "{why}");
                assert!(entry.unwrap().phase < Phase::Committed, "{why}");
                self.assert_is(old, why);
                false
            }
            None => {
                self.assert_is(old, why);
                false
            }
            Some(other) => panic!("{why}: {other:?}\n{}", self.log()),
        }
    }
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A boot begins with an empty memory.
pub fn empty_run(root: &Path) {
    let run = root.join("run");
    let _ = fs::remove_dir_all(&run);
    fs::create_dir_all(run.join("reinstate")).unwrap();
}

/// Runs each trial, two at a time.
pub fn each(trials: &[u64], run: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(trial) = trials.get(next.fetch_add(1, Ordering::SeqCst) as usize) {
                    run(*trial);
                }
            });
        }
    });
}

/// A seed that is printed, and can be given again.
pub fn random() -> Xoshiro256PlusPlus {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| rand::rng().random());
    println!("seed: {seed} (again with SEED={seed})");
    Xoshiro256PlusPlus::seed_from_u64(seed)
}
