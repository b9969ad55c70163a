//! The appliances that the tests break: small ones, made once and copied for each trial.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use reinstate_api::{Created, Phase};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::machine::Machine;
use reinstate_tests::picture::Picture;
use serde_json::json;
use tempfile::TempDir;

use crate::trial::{Job, Trial};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

/// Nothing that is waited for takes longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The agent's own folder, below the root.
pub const AGENT: &str = "var/lib/reinstate";

/// Few files and no checkers, so that a restore takes a fraction of a second.
fn small(appliance: Appliance) -> Appliance {
    ["files", "firewall", "ha", "licence", "ssh", "users"]
        .iter()
        .fold(appliance.without_profile("ha").without_profile("ssh"), |appliance, domain| {
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
        scene.keep(trial, Stage::Committed);

        let mut trial = scene.trial(Stage::Ready);
        trial.machine.start().unwrap();
        assert!(trial.play(&Job::restore(&scene)).outcome.is_success());
        scene.new = Picture::take(&trial.root);
        scene.keep(trial, Stage::Restored);

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

    /// What trials of this stage are copied from.
    fn keep(&self, trial: Trial, stage: Stage) {
        trial.machine.power().cut();
        copy(&trial.root, &self.folder.path().join(stage.name()));
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
    let given = std::env::var("REINSTATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| rand::rng().random());
    println!("REINSTATE_TEST_SEED={seed}");
    Xoshiro256PlusPlus::seed_from_u64(seed)
}
