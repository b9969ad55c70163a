//! Writes that a power cut loses: a whole restore is recorded on ext4 with `noauto_da_alloc`, which forgives nothing, and its disk is made
//! again as it may be after a cut: at flushes, and between them with a part of what was not flushed dropped or torn. Each such disk is
//! mounted, and the agent boots on it.
//!
//! The recording is kept in `target/vm/lost`. `REINSTATE_RECORDING=target/vm/lost` takes it instead of making another one, and
//! `REINSTATE_TEST_SEED` draws the same disks from it again.

mod restore;
mod settle;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use reinstate_api::{Outcome, Phase};
use reinstate_tests::picture::Picture;
use reinstate_tests::vm::{Entry, Fate, NOT_MOUNTED, Recording, image, kept, raw_copy, try_with_root};
use reinstate_tests::{Result, must};
use tempfile::{NamedTempFile, TempDir};

use restore::{Marks, WRITES, restore};
use settle::{Settled, settle};

const PARTS: [&str; 4] = ["before the commit", "until the activation", "inside the activation", "after it"];

/// Disks with writes lost, of each part.
const WITH_LOSSES: [usize; 4] = [50, 30, 150, 40];

/// Never fewer than these. Inside the activation is a disk on which the record says that it has begun.
const LEAST: [(&str, usize); 4] = [("disks", 300), (INSIDE, 50), ("ended old", 50), ("ended new", 50)];

const INSIDE: &str = "inside Activating with writes lost";

/// Disks on which flushes count for nothing.
const UNSAFE: usize = 12;

#[test]
#[ignore = "needs the image: tests/vm"]
fn whatever_writes_a_power_cut_loses_the_configuration_is_wholly_the_old_or_the_new_one() {
    let lost = Lost::record();
    let mut random = random();
    let mut cuts = lost.cuts(&mut random);
    cuts.sort_by_key(|cut| lost.recording.flushed(cut.at));
    let started = Instant::now();
    let ends = lost.play(&cuts);
    let mut failed = Vec::new();
    let mut count = BTreeMap::<&str, usize>::new();
    for (cut, end) in &ends {
        let mut add = |what| *count.entry(what).or_default() += 1;
        add("disks");
        add(if cut.fates.is_empty() { "at a flush" } else { "with writes lost" });
        match end {
            Ok(end) => {
                add(if end.is_new { "ended new" } else { "ended old" });
                if end.found == Some(Phase::Activating) && !cut.fates.is_empty() {
                    add(INSIDE);
                }
            }
            Err(why) => failed.push(format!("{cut:?}: {why}")),
        }
    }
    println!("{count:?} in {} s", started.elapsed().as_secs());
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), ends.len(), failed.join("\n"));
    for (what, least) in LEAST {
        assert!(count.get(what).is_some_and(|count| *count >= least), "fewer than {least} {what}: {count:?}");
    }

    let cuts = lost.unsafe_cuts(&mut random);
    let whys = lost.play(&cuts).into_iter().filter_map(|(_, end)| end.err()).map(|why| why.to_string());
    let noticed: Vec<_> = whys.filter(|why| !why.starts_with(NOT_MOUNTED)).collect();
    noticed.iter().for_each(|why| println!("noticed: {}", why.lines().take(2).collect::<Vec<_>>().join(" ")));
    println!("of {UNSAFE} disks that had lost flushed writes, {} were noticed", noticed.len());
    assert!(!noticed.is_empty(), "a disk that loses what was flushed would not be noticed either");
}

/// A recorded restore.
struct Lost {
    recording: Recording,
    marks: Marks,
    /// What was there before the first write.
    image: PathBuf,
    place: TempDir,
    old: Picture,
    new: Picture,
}

/// A moment at which the power goes, and what becomes of what was written by then and not kept.
struct Cut {
    at: usize,
    fates: BTreeMap<usize, Fate>,
}

/// What the boot after a cut has found, and what came of it.
struct End {
    found: Option<Phase>,
    is_new: bool,
}

impl std::fmt::Debug for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cut at {} with {:?}", self.at, self.fates)
    }
}

impl Lost {
    fn record() -> Self {
        let folder = match std::env::var_os("REINSTATE_RECORDING") {
            Some(folder) => PathBuf::from(folder),
            None => {
                let folder = kept("lost");
                restore(&folder);
                folder
            }
        };
        let recording = Recording::open(&folder.join(WRITES)).unwrap();
        let marks = Marks::find(&recording).unwrap();
        for (name, part) in PARTS.into_iter().zip(marks.parts()) {
            let flushes = recording.entries()[part.clone()].iter().filter(|entry| **entry == Entry::Flush);
            println!("{name}: {} flushes among {} entries", flushes.count(), part.len());
        }
        // A file system in memory: what is flushed there costs nothing.
        let place = tempfile::tempdir_in("/dev/shm").unwrap();
        let image = raw_copy(&image("reinstate.qcow2"), &place.path().join("image"));
        let none = Picture(BTreeMap::new());
        let mut lost = Self { recording, marks, image, place, old: none.clone(), new: none };
        let whole = |at| Cut { at, fates: BTreeMap::new() };
        let base = Mutex::new(lost.base());
        let [old, new] =
            [lost.marks.asked, lost.marks.end].map(|at| lost.settle_at(&whole(at), &base).unwrap());
        assert!(old.left.history.is_empty() && old.left.job.is_none(), "{}", old.log);
        assert_eq!(new.left.history[0].outcome, Outcome::Succeeded, "{}", new.log);
        (lost.old, lost.new) = (old.picture, new.picture);
        assert_ne!(lost.old.difference(&lost.new), "", "a test that compares these could not fail");
        lost
    }

    /// The moments of this run.
    fn cuts(&self, random: &mut Xoshiro256PlusPlus) -> Vec<Cut> {
        let flushes =
            (self.marks.asked..self.marks.end).filter(|at| self.recording.entries()[*at] == Entry::Flush);
        let mut cuts: Vec<_> = flushes.map(|flush| Cut { at: flush + 1, fates: BTreeMap::new() }).collect();
        for (part, wanted) in self.marks.parts().into_iter().zip(WITH_LOSSES) {
            for _ in 0..wanted {
                cuts.push(self.cut(&part, random));
            }
        }
        cuts
    }

    /// With losses: between any two flushes alike, however much was written there.
    fn cut(&self, part: &Range<usize>, random: &mut Xoshiro256PlusPlus) -> Cut {
        let ends: Vec<_> = part
            .clone()
            .filter(|at| self.recording.entries()[*at] == Entry::Flush)
            .filter(|flush| !self.losable(*flush).is_empty())
            .collect();
        let end = *ends.choose(random).expect("writes between two flushes");
        let first = self.losable(end)[0];
        let at = if random.random_bool(0.5) { end } else { random.random_range(first + 1..=end) };
        let share = *[0.0, 0.25, 0.5, 0.75, 0.9, 1.0].choose(random).unwrap();
        Cut { at, fates: self.recording.draw(&self.losable(at), share, random) }
    }

    fn losable(&self, at: usize) -> Vec<usize> {
        self.recording.losable(self.recording.flushed(at)..at)
    }

    /// After the activation, with some of its writes missing that a flush had followed.
    fn unsafe_cuts(&self, random: &mut Xoshiro256PlusPlus) -> Vec<Cut> {
        let Marks { activating, activated, end, .. } = self.marks;
        let writes = self.recording.losable(activating..activated);
        (0..UNSAFE).map(|_| Cut { at: end, fates: self.recording.draw(&writes, 0.8, random) }).collect()
    }

    /// Boots on the disk of each cut, two at a time.
    fn play<'a>(&self, cuts: &'a [Cut]) -> Vec<(&'a Cut, Result<End>)> {
        let (base, next, ends) = (Mutex::new(self.base()), Mutex::new(cuts.iter()), Mutex::default());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let Some(cut) = next.lock().unwrap().next() else { return };
                        let settled = self.settle_at(cut, &base);
                        let end = settled.and_then(|settled| self.judge(cut, &settled));
                        let mut ends: std::sync::MutexGuard<'_, Vec<_>> = ends.lock().unwrap();
                        ends.push((cut, end));
                        if ends.len() % 25 == 0 {
                            println!("{} of {} disks", ends.len(), cuts.len());
                        }
                    }
                });
            }
        });
        ends.into_inner().unwrap()
    }

    fn base(&self) -> Base {
        let disk = tempfile::Builder::new().prefix("base").tempfile_in(self.place.path()).unwrap();
        copy(&self.image, disk.path());
        Base { disk, position: 0 }
    }

    fn settle_at(&self, cut: &Cut, base: &Mutex<Base>) -> Result<Settled> {
        let disk = tempfile::Builder::new().prefix("cut").tempfile_in(self.place.path())?;
        // What is kept for sure is done once for all cuts; what may be lost, on this disk alone.
        let kept = cut.fates.keys().next().copied().unwrap_or(cut.at).min(self.recording.flushed(cut.at));
        {
            let mut base = base.lock().unwrap();
            if base.position > kept {
                *base = self.base();
            }
            self.recording.replay(base.position..kept, &BTreeMap::new(), base.disk.as_file())?;
            base.position = kept;
            copy(base.disk.path(), disk.path());
        }
        self.recording.replay(kept..cut.at, &cut.fates, disk.as_file())?;
        try_with_root(disk.path(), settle)?
    }

    fn judge(&self, cut: &Cut, settled: &Settled) -> Result<End> {
        let is_new = settled.is_new(&self.old, &self.new).map_err(|why| format!("{why}\n{}", settled.log))?;
        match is_new {
            true if cut.at <= self.marks.committed => Err("new before its commit".into()),
            false if cut.at > self.marks.rebooting => Err("old after its commit".into()),
            _ => Ok(End { found: settled.found.job.as_ref().map(|job| job.phase()), is_new }),
        }
    }
}

/// A disk with everything on it up to a position.
struct Base {
    disk: NamedTempFile,
    position: usize,
}

fn copy(from: &Path, to: &Path) {
    must(Command::new("cp").arg("--sparse=auto").args([from, to]));
}

/// A seed that is printed, and can be given again.
fn random() -> Xoshiro256PlusPlus {
    let given = std::env::var("REINSTATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| rand::rng().random());
    println!("REINSTATE_TEST_SEED={seed}");
    Xoshiro256PlusPlus::seed_from_u64(seed)
}
