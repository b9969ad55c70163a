//! The power is cut at every durable step of a job: of a restore, of the way back, of a live change. What is left is
//! made from the recorded steps: once as a killed process leaves it, once with the last write torn, and once with
//! nothing of all that but what was synced.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::RngExt;
use rand::seq::SliceRandom;
use reinstate_agent::state::State;
use reinstate_api::Status;
use reinstate_tests::disk::{Disk, Done, Trace, Tree, View, What};

use crate::scene::{AGENT, Scene, Stage, each, random, until};
use crate::trial::{Job, Trial};
use reinstate_tests::picture::Picture;

/// One job, and what the appliance is before and after it.
pub struct Played<'a> {
    pub name: &'static str,
    old: &'a Picture,
    new: &'a Picture,
    /// Jobs that were on record before.
    before: usize,
    pub trace: Trace,
    pub steps: Vec<Done>,
    pub base: Tree,
    _trial: Trial,
}

impl<'a> Played<'a> {
    pub fn restore(scene: &'a Scene) -> Self {
        Self::play("restore", scene, Stage::Ready, &Job::restore(scene), [&scene.old, &scene.new])
    }

    pub fn rollback(scene: &'a Scene) -> Self {
        Self::play("rollback", scene, Stage::Restored, &Job::rollback(), [&scene.new, &scene.old])
    }

    pub fn delete_manager(scene: &'a Scene) -> Self {
        let pictures = [&scene.new, &scene.unmanaged];
        Self::play("manager delete", scene, Stage::Restored, &Job::delete_manager(), pictures)
    }

    /// Plays it once to its end, and records it.
    fn play(
        name: &'static str,
        scene: &Scene,
        stage: Stage,
        job: &Job,
        [old, new]: [&'a Picture; 2],
    ) -> Self {
        let mut trial = scene.trial(stage);
        let (base, before) = (Tree::read(&trial.root).unwrap(), trial.history().len());
        let trace = trial.machine.record(&trial.root.with_file_name("trace")).unwrap();
        trial.machine.start().unwrap();
        assert!(trial.play(job).outcome.is_success());
        trial.machine.stop();
        let steps = trace.steps().unwrap();
        let played = Self { name, old, new, before, trace, steps, base, _trial: trial };
        // Else something is written past the layer that is recorded, and none of this would prove anything.
        let (made, is) = (played.disk_at(played.steps.len(), None), Tree::read(&played._trial.root).unwrap());
        assert_eq!(made.tree(View::Live).difference(&is), [""; 0].map(std::path::PathBuf::from), "{name}");
        played
    }

    /// After so many steps, with this one left out.
    pub fn disk_at(&self, steps: usize, without: Option<usize>) -> Disk {
        let mut disk = Disk::of(&self.base).unwrap();
        for (number, done) in self.steps[..steps].iter().enumerate() {
            if Some(number) != without {
                disk.apply(done, &self.trace).unwrap();
            }
        }
        disk
    }

    pub fn told(&self, number: usize) -> String {
        match self.steps.get(number) {
            Some(Done { what: What::Rename(to), path }) => {
                format!("rename {} {}", path.display(), to.display())
            }
            Some(Done { what, path }) => {
                let what = format!("{what:?}");
                let verb = what.split(['(', ' ']).next().unwrap().to_lowercase();
                format!("{verb} {}", path.display())
            }
            None => "its end".into(),
        }
    }

    /// Puts the tree on a disk and starts the appliance: wholly old or wholly new, and on record. True where it is new.
    pub fn comes_back(&self, tree: &Tree, why: &str) -> bool {
        let mut trial = Trial::empty();
        tree.write(&trial.root).unwrap();
        trial.machine.start().unwrap();
        self.is_whole(&trial, tree, why)
    }

    fn is_whole(&self, trial: &Trial, tree: &Tree, why: &str) -> bool {
        let over = |status: Status| status.job.is_none_or(|job| job.outcome.is_some());
        until("the end of the job", || {
            !trial.machine.is_rebooting() && trial.machine.status().is_ok_and(over)
        });
        let is_new = trial.assert_old_or_new(self.old, self.new, self.before, why);
        // Whoever was told that a job began hears how it ended.
        let begun = state(tree).is_some_and(|state| state.job.is_some());
        assert!(!begun || trial.history().len() == self.before + 1, "{why}: nothing says how it ended");
        is_new
    }
}

pub fn state(tree: &Tree) -> Option<State> {
    let text = tree.file(&format!("{AGENT}/state.toml"))?;
    Some(toml::from_str(std::str::from_utf8(text).unwrap()).unwrap())
}

/// Both that the record names: also the one that nothing goes back to in the end.
fn assert_generations_are_kept(disk: &Disk, why: &str) {
    let (live, durable) = (disk.tree(View::Live), disk.tree(View::Durable));
    let needed = state(&durable).map(|state| state.needed()).unwrap_or_default();
    let lost = live
        .difference(&durable)
        .into_iter()
        .find(|path| needed.iter().any(|number| path.starts_with(format!("{AGENT}/generations/{number}"))));
    assert_eq!(lost, None, "{why}: of a generation that the record names");
}

/// All of them where `REINSTATE_STEPS` is `all`, otherwise some, drawn by the seed.
fn chosen(number: usize, some: usize) -> Vec<u64> {
    let mut all: Vec<_> = (0..number as u64).collect();
    if std::env::var("REINSTATE_STEPS").as_deref() != Ok("all") {
        all.shuffle(&mut random());
        all.truncate(some);
    }
    all
}

/// Cuts the power after each number of steps, the first and the last included.
fn cut_everywhere(played: &Played<'_>) {
    let (name, steps) = (played.name, played.steps.len());
    let [killed, torn, forgot, new, same] = [(); 5].map(|()| AtomicUsize::new(0));
    let seen = Mutex::new(BTreeSet::new());
    let numbers = chosen(steps + 1, 40);
    each(&numbers, |number| {
        let number = number as usize;
        let told = played.told(number);
        let disk = played.disk_at(number, None);
        let cut = |tree: Tree, count: &AtomicUsize, how: &str| {
            // What was synced is the same after most steps.
            if !seen.lock().unwrap().insert(tree.mark()) {
                same.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let why = format!("{name}, cut before step {number} of {steps} ({told}), {how}");
            count.fetch_add(1, Ordering::Relaxed);
            new.fetch_add(usize::from(played.comes_back(&tree, &why)), Ordering::Relaxed);
        };
        assert_generations_are_kept(&disk, &told);
        cut(disk.tree(View::Live), &killed, "everything before it kept");
        cut(disk.tree(View::Durable), &forgot, "only what was synced kept");
        if let Some(done @ Done { what: What::Write(_), .. }) = played.steps.get(number) {
            let mut disk = disk;
            disk.tear(done, &played.trace).unwrap();
            cut(disk.tree(View::Live), &torn, "the write torn");
        }
    });
    let [killed, torn, forgot, new, same] = [killed, torn, forgot, new, same].map(AtomicUsize::into_inner);
    println!(
        "{name}: {steps} durable steps; the power was cut at {} of {} moments: {killed} disks with everything kept, \
         {torn} with a torn write, {forgot} with only what was synced, {same} of them equal to one before; \
         {new} ended with the new configuration",
        numbers.len(),
        steps + 1
    );
    assert!(new > 0 && new < killed + torn + forgot, "{name}: both sides of the commit were tried");
}

#[test]
fn a_restore_whose_power_is_cut_at_any_step_leaves_the_old_or_the_new_configuration() {
    let scene = Scene::get();
    cut_everywhere(&Played::restore(&scene));
}

#[test]
fn a_rollback_whose_power_is_cut_at_any_step_leaves_the_old_or_the_new_configuration() {
    let scene = Scene::get();
    cut_everywhere(&Played::rollback(&scene));
}

#[test]
fn a_live_change_whose_power_is_cut_at_any_step_leaves_the_old_or_the_new_configuration() {
    let scene = Scene::get();
    cut_everywhere(&Played::delete_manager(&scene));
}

#[test]
fn a_second_power_cut_during_the_recovery_changes_nothing_about_the_end() {
    let scene = Scene::get();
    let (played, mut random) = (Played::restore(&scene), random());
    let steps = played.steps.len();
    let pairs: Vec<(usize, f64, bool)> = (0..chosen(200, 20).len())
        .map(|_| (random.random_range(0..=steps), random.random_range(0.0..1.0), random.random()))
        .collect();
    let numbers: Vec<_> = (0..pairs.len() as u64).collect();
    each(&numbers, |pair| {
        let (first, share, forgets) = pairs[pair as usize];
        let view = if forgets { View::Durable } else { View::Live };
        let base = played.disk_at(first, None).tree(view);
        let mut trial = Trial::empty();
        base.write(&trial.root).unwrap();
        let trace = trial.machine.record(&trial.root.with_file_name("trace")).unwrap();
        trial.machine.start().unwrap();
        played.is_whole(&trial, &base, &format!("cut before step {first}"));
        trial.machine.stop();
        let recovery = trace.steps().unwrap();
        let second = (recovery.len() as f64 * share) as usize;
        let mut disk = Disk::of(&base).unwrap();
        recovery[..second].iter().for_each(|done| disk.apply(done, &trace).unwrap());
        let told = format!("cut before step {first} of {steps}, then at {second} of {}", recovery.len());
        played.comes_back(&disk.tree(view), &told);
    });
    println!("{} pairs of power cuts", pairs.len());
}
