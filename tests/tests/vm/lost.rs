//! Writes that a power cut loses: a whole restore is recorded on ext4 with `noauto_da_alloc`, which forgives nothing, and its disk is made
//! again as it may be after a cut: at flushes, and between them with a part of what was not flushed dropped or torn. Each such disk is
//! mounted, and the agent boots on it.
//!
//! The recording is kept in `target/vm/lost`. `REINSTATE_RECORDING=target/vm/lost` takes it instead of making another one, and
//! `REINSTATE_TEST_SEED` draws the same disks from it again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use reinstate_agent::state::State;
use reinstate_api::{Code, Outcome, Phase};
use reinstate_tests::machine::Machine;
use reinstate_tests::picture::Picture;
use reinstate_tests::vm::{
    BOOT, Entry, FACTORY_ADDRESS, Fate, Hardware, NOT_MOUNTED, Recording, Vm, image, kept, raw_copy,
    try_with_root,
};
use reinstate_tests::{Result, must};
use tempfile::TempDir;

use crate::donor::{ADDRESS, donor, end_of_job};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

/// The agent's own folder, below the root.
const AGENT: &str = "var/lib/reinstate";

/// Where all is that domains own.
const CONFIGURATION: [&str; 2] = ["etc", "var/lib/appliance"];

/// Files that make activation longer.
const FILES: usize = 60;

/// Disks with writes lost: before the commit, between it and the activation, inside the activation, and after it.
const WITH_LOSSES: [usize; 4] = [50, 30, 150, 40];

/// Never fewer disks than these, in all and with writes lost while the record said that the activation had begun.
const LEAST: [usize; 2] = [300, 50];

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
                    add("inside Activating with writes lost");
                }
            }
            Err(why) => failed.push(format!("{cut:?}: {why}")),
        }
    }
    println!("{count:?} in {} s", started.elapsed().as_secs());
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), ends.len(), failed.join("\n"));
    let least = ["disks", "inside Activating with writes lost"].map(|what| count.get(what).copied());
    assert!(least >= LEAST.map(Some), "{count:?}");
    assert!(["ended old", "ended new"].iter().all(|what| count.contains_key(what)), "{count:?}");

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

/// When something was first written that the record became; positions in the recording.
#[derive(Debug)]
struct Marks {
    /// The last flush before the restore began.
    asked: usize,
    committed: usize,
    /// From here on the commit is durable: each writing of the record follows the flushes of the one before it.
    rebooting: usize,
    activating: usize,
    activated: usize,
    /// Some time after its end.
    end: usize,
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

/// An appliance after such a boot, when the agent had nothing more to do.
struct Settled {
    found: State,
    left: State,
    picture: Picture,
    drafts: Vec<String>,
    generations: Vec<String>,
    /// What the daemon could not read on an appliance: of the agent's files, those that are not its user's.
    strangers: Vec<PathBuf>,
    is_locked: bool,
    log: String,
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
        let recording = Recording::open(&folder.join("writes")).unwrap();
        let marks = Marks::find(&recording).unwrap();
        let flushes = |part: Range<usize>| {
            recording.entries()[part].iter().filter(|entry| **entry == Entry::Flush).count()
        };
        let [begin, commit, boot, done, end] =
            [marks.asked, marks.committed, marks.activating, marks.activated, marks.end];
        for (part, range) in [("before the commit", begin..commit), ("until the activation", commit..boot)]
            .into_iter()
            .chain([("inside the activation", boot..done), ("after it", done..end)])
        {
            println!("{part}: {} entries, {} flushes", range.len(), flushes(range));
        }
        // A file system in memory: what is flushed there costs nothing.
        let place = tempfile::tempdir_in("/dev/shm").unwrap();
        let image = raw_copy(&image("reinstate.qcow2"), &place.path().join("image"));
        let none = Picture(BTreeMap::new());
        let mut lost = Self { recording, marks, image, place, old: none.clone(), new: none };
        let whole = |at| Cut { at, fates: BTreeMap::new() };
        let ends: Vec<_> = [lost.marks.asked, lost.marks.end]
            .map(|at| lost.settle_at(&whole(at), &Mutex::new(lost.base())).unwrap())
            .into();
        assert!(ends[0].left.history.is_empty() && ends[0].left.job.is_none(), "{}", ends[0].log);
        assert_eq!(ends[1].left.history[0].outcome, Outcome::Succeeded, "{}", ends[1].log);
        [lost.old, lost.new] = [ends[0].picture.clone(), ends[1].picture.clone()];
        assert_ne!(lost.old.difference(&lost.new), "", "a test that compares these could not fail");
        lost
    }

    /// The moments of this run.
    fn cuts(&self, random: &mut Xoshiro256PlusPlus) -> Vec<Cut> {
        let Marks { asked, committed, activating, activated, end, .. } = self.marks;
        let flushes = (asked..end).filter(|at| self.recording.entries()[*at] == Entry::Flush);
        let mut cuts: Vec<_> = flushes.map(|flush| Cut { at: flush + 1, fates: BTreeMap::new() }).collect();
        let parts = [asked..committed, committed..activating, activating..activated, activated..end];
        for (part, wanted) in parts.into_iter().zip(WITH_LOSSES) {
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
        Cut { at, fates: Fate::draw(&self.losable(at), share, random) }
    }

    fn losable(&self, at: usize) -> Vec<usize> {
        self.recording.losable(self.recording.flushed(at)..at)
    }

    /// After the activation, with some of its writes missing that a flush had followed.
    fn unsafe_cuts(&self, random: &mut Xoshiro256PlusPlus) -> Vec<Cut> {
        let Marks { activating, activated, end, .. } = self.marks;
        let writes = self.recording.losable(activating..activated);
        (0..UNSAFE).map(|_| Cut { at: end, fates: Fate::draw(&writes, 0.8, random) }).collect()
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

    /// Old or new, and nothing else; durable is durable; and the record says what happened.
    fn judge(&self, cut: &Cut, settled: &Settled) -> Result<End> {
        let Settled { found, left, picture, log, .. } = settled;
        let ensure = |is: bool, what: String| if is { Ok(()) } else { Err(format!("{what}\n{log}")) };
        ensure(left.job.is_none(), format!("a job goes on: {left:?}"))?;
        ensure(!settled.is_locked, "the lock is still there".into())?;
        ensure(settled.drafts.is_empty(), format!("drafts are left: {:?}", settled.drafts))?;
        ensure(settled.strangers.is_empty(), format!("not the daemon's: {:?}", settled.strangers))?;
        let needed: BTreeSet<_> = left.needed().iter().map(u64::to_string).collect();
        let there: BTreeSet<_> = settled.generations.iter().cloned().collect();
        ensure(there == needed, format!("generations {there:?} are there, {needed:?} are needed"))?;
        let entry = match left.history.as_slice() {
            [] => None,
            [entry] => Some(entry),
            more => return Err(format!("ended more than once: {more:?}").into()),
        };
        ensure(entry.is_some() || found.job.is_none(), format!("{found:?} has left nothing on record"))?;
        let is_new = match entry.map(|entry| &entry.outcome) {
            None => false,
            Some(Outcome::Succeeded) => true,
            Some(Outcome::Failed { failures }) if failures[0].code == Code::Interrupted => false,
            Some(other) => return Err(format!("{other:?}\n{log}").into()),
        };
        let expected = if is_new { &self.new } else { &self.old };
        let difference = picture.difference(expected);
        ensure(difference.is_empty(), format!("not wholly what the record says:\n{difference}"))?;
        ensure(left.active == entry.map_or(0, |entry| entry.to), format!("another one is active: {left:?}"))?;
        if is_new {
            ensure(cut.at > self.marks.committed, "new before its commit".into())?;
        } else {
            ensure(cut.at <= self.marks.rebooting, "old after its commit".into())?;
        }
        Ok(End { found: found.job.as_ref().map(|job| job.phase()), is_new })
    }
}

/// A disk with everything on it up to a position.
struct Base {
    disk: tempfile::NamedTempFile,
    position: usize,
}

impl Marks {
    /// Where the agent's record was written, by what it says.
    fn find(recording: &Recording) -> Result<Self> {
        let mut records = Vec::new();
        for (at, entry) in recording.entries().iter().enumerate() {
            let Entry::Write(write) = entry else { continue };
            for block in recording.content(write)?.chunks(4096) {
                let text = block.split(|byte| *byte == 0).next().unwrap_or_default();
                if text.starts_with(b"format = 1\nrevision = ")
                    && let Ok(state) = toml::from_str::<State>(&String::from_utf8_lossy(text))
                {
                    records.push((at, state));
                }
            }
        }
        let first = |what: &str, is: &dyn Fn(&State) -> bool| {
            let found = records.iter().find(|(_, state)| is(state));
            found.map(|(at, _)| *at).ok_or_else(|| format!("the record was never written {what}"))
        };
        let phase = |wanted| move |state: &State| state.job.as_ref().is_some_and(|job| job.phase() == wanted);
        let asked = first("with a job", &|state| state.job.is_some())?;
        let ended = first("with an end", &|state| !state.history.is_empty())?;
        Ok(Self {
            asked: recording.flushed(asked),
            committed: first("as committed", &phase(Phase::Committed))?,
            rebooting: first("as rebooting", &phase(Phase::Rebooting))?,
            activating: first("as activating", &phase(Phase::Activating))?,
            activated: first("as activated", &phase(Phase::Finishing))?,
            end: recording.flushed((ended + 300).min(recording.entries().len())),
        })
    }
}

/// Restores the donor's backup on a machine whose writes are recorded.
fn restore(folder: &Path) {
    let donor = donor();
    let mut hardware = Hardware::new("recorded", 0x61).also(ADDRESS);
    hardware.recording = Some(folder.join("writes"));
    let mut vm = Vm::new(folder, hardware);
    vm.start();
    vm.wait_for_ssh(FACTORY_ADDRESS);
    vm.look(
        FACTORY_ADDRESS,
        "sed -i '/ ext4 /s/defaults/defaults,noauto_da_alloc/' /etc/fstab && mount -o remount /",
    );
    let forgives_nothing = |vm: &Vm, address| {
        let mounted = vm.look(address, "grep ' / ext4 ' /proc/mounts");
        assert!(mounted.contains("noauto_da_alloc"), "{mounted}");
    };
    forgives_nothing(&vm, FACTORY_ADDRESS);
    let archive = donor.archive_with(|archive| {
        for number in 0..FILES {
            let path = format!("var/lib/appliance/file-lists/lost-{number:03}.list");
            archive.put("files", &path, &format!("{number}\n").repeat(2000)).unwrap();
        }
    });
    let put = format!("cat > /var/sf/backup/{} && sync", donor.file);
    let put = vm.ssh(FACTORY_ADDRESS).patient(&put, archive);
    assert!(put.ok, "{put:?}");
    let line = format!("reinstate-shell -c 'restore remote-manager-backup {}'", donor.file);
    let said = vm.ssh(FACTORY_ADDRESS).said(&line, "Y\n");
    assert!(said.ok, "{said:?}");
    vm.qmp().expect("RESET", BOOT);
    vm.wait_for_ssh(ADDRESS);
    let shown = end_of_job(&vm, ADDRESS);
    assert!(shown.contains(": succeeded"), "{shown}");
    forgives_nothing(&vm, ADDRESS);
    vm.power_off(ADDRESS);
}

/// Boots on a root file system, and lets the agent bring to an end what it finds.
fn settle(root: &Path) -> Result<Settled> {
    let found = state(root)?;
    without_checkers(root)?;
    let mut machine = Machine::new(PROGRAM, root);
    let played = machine.start().and_then(|()| machine.wait_until_idle());
    machine.stop();
    let log = fs::read_to_string(machine.log()).unwrap_or_default();
    let _ = fs::remove_file(machine.log());
    let status = played.map_err(|error| format!("{error}\n{log}"))?;
    let agent = root.join(AGENT);
    Ok(Settled {
        found,
        left: state(root)?,
        picture: Picture::of(root, &CONFIGURATION)?,
        drafts: names(&agent.join("drafts"))?,
        generations: names(&agent.join("generations"))?,
        strangers: strangers(&agent, agent.metadata()?.uid())?,
        is_locked: status.lock.is_some() || agent.join("restore.lock").exists(),
        log,
    })
}

/// They are the image's own programs, and run as the daemon's user.
fn without_checkers(root: &Path) -> Result<()> {
    for domain in fs::read_dir(root.join("usr/lib/reinstate/domains.d"))? {
        let path = domain?.path();
        let text = fs::read_to_string(&path)?;
        let kept: Vec<_> = text.lines().filter(|line| !line.starts_with("validate ")).collect();
        fs::write(&path, kept.join("\n"))?;
    }
    Ok(())
}

fn state(root: &Path) -> Result<State> {
    match fs::read_to_string(root.join(AGENT).join("state.toml")) {
        Ok(text) => toml::from_str(&text).map_err(|error| format!("state.toml: {error}").into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(error.into()),
    }
}

fn strangers(folder: &Path, owner: u32) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, meta) = (entry.path(), entry.metadata()?);
        if meta.is_dir() {
            found.extend(strangers(&path, owner)?);
        }
        if meta.uid() != owner {
            found.push(path);
        }
    }
    Ok(found)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn copy(from: &Path, to: &Path) {
    must(std::process::Command::new("cp").arg("--sparse=auto").args([from, to]));
}

/// A seed that is printed, and can be given again.
fn random() -> Xoshiro256PlusPlus {
    let given = std::env::var("REINSTATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| rand::rng().random());
    println!("REINSTATE_TEST_SEED={seed}");
    Xoshiro256PlusPlus::seed_from_u64(seed)
}
