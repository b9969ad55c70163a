//! Generations that are damaged after the commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngExt;
use reinstate_api::{Code, Outcome};
use reinstate_tests::fault::Kind;

use crate::scene::{AGENT, Scene, Stage, each, random};
use crate::trial::Job;

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path(), into),
            kind if kind.is_file() => into.push(entry.path()),
            _ => {}
        }
    }
    into.sort();
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    let bit = (at % (bytes.len() as u64 * 8)) as usize;
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

#[test]
fn one_flipped_bit_in_the_staged_generation_takes_the_restore_back() {
    let scene = Scene::get();
    let mut random = random();
    let staged = format!("{AGENT}/generations/2");
    let probe = scene.trial(Stage::Committed);
    let mut found = Vec::new();
    files(&probe.root.join(&staged), &mut found);
    let found: Vec<_> = found.iter().map(|path| path.strip_prefix(&probe.root).unwrap()).collect();
    // The record is text that people read; what in it decides has a test of its own.
    let found: Vec<_> = found.into_iter().filter(|path| !path.ends_with("generation.toml")).collect();
    let places: Vec<u64> = found.iter().map(|_| random.random()).collect();
    println!("{} files of the staged generation, a bit flipped in each", found.len());
    each(&(0..found.len() as u64).collect::<Vec<_>>(), |number| {
        let path = found[number as usize];
        let mut trial = scene.trial(Stage::Committed);
        flip(&trial.root.join(path), places[number as usize]);
        trial.machine.start().unwrap();
        trial.machine.wait_until_idle().unwrap();
        let history = trial.history();
        let Outcome::RolledBack { failures } = &history[0].outcome else {
            panic!("{}: {history:?}", path.display())
        };
        let plain = path.starts_with(format!("{staged}/tree")) && !path.to_string_lossy().contains("private");
        let plain = plain && !path.to_string_lossy().ends_with(".key");
        let expected = if plain { Code::DigestMismatch } else { failures[0].code };
        assert_ne!(failures[0].code, Code::Internal);
        trial.assert_rolled_back(&scene.old, expected);
        assert_eq!(trial.machine.reboots(), 0);
    });
}

#[test]
fn an_activation_cut_short_whose_target_is_damaged_by_then_ends_with_the_old_configuration_whole() {
    let scene = Scene::get();
    let probe = scene.trial(Stage::Committed);
    let steps = probe.count(|kind| assert!(probe.activate(Some(kind))));
    // The last ones put on record that it has ended.
    let steps = steps - 8;
    println!("activation: cut at every third of {steps} steps, then damaged");
    each(&(0..steps).step_by(3).collect::<Vec<_>>(), |step| {
        let why = format!("cut at step {step} of {steps}");
        let mut trial = scene.trial(Stage::Committed);
        assert!(!trial.activate(Some(Kind::Kill(step))), "{why}: it was not cut");
        flip(&trial.root.join(format!("{AGENT}/generations/2/index.jsonl")), 4711);
        trial.machine.start().unwrap();
        trial.machine.wait_until_idle().unwrap();
        trial.assert_is(&scene.old, &why);
        let outcome = trial.history()[0].outcome.clone();
        assert!(matches!(outcome, Outcome::RolledBack { .. }), "{why}: {outcome:?}");
    });
}

#[test]
fn a_damaged_record_of_the_staged_generation_takes_the_restore_back() {
    let scene = Scene::get();
    let record = format!("{AGENT}/generations/2/generation.toml");
    let damages: [&dyn Fn(String) -> String; 4] = [
        &|_| String::new(),
        &|text| text[..text.len() / 2].to_owned(),
        &|text| text.replace("\"manager\"", "\"manafer\""),
        &|text| text.replace("format = 1", "format = 3"),
    ];
    for damage in damages {
        let mut trial = scene.trial(Stage::Committed);
        let path = trial.root.join(&record);
        let text = fs::read_to_string(&path).unwrap();
        let damaged = damage(text.clone());
        assert_ne!(text, damaged);
        fs::write(&path, damaged).unwrap();
        trial.machine.start().unwrap();
        trial.machine.wait_until_idle().unwrap();
        let Some(Outcome::RolledBack { failures }) = trial.history().first().map(|e| e.outcome.clone())
        else {
            panic!("{:?}\n{}", trial.history(), trial.log())
        };
        trial.assert_rolled_back(&scene.old, failures[0].code);
    }
}

#[test]
fn with_both_generations_damaged_the_appliance_says_so_and_stays_as_it_is() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Committed);
    for number in [1, 2] {
        flip(&trial.root.join(format!("{AGENT}/generations/{number}/index.jsonl")), 4711);
    }
    let broken = trial.root.join("run/reinstate/broken");
    assert!(!trial.activate(None), "activate says that it failed");
    assert!(broken.exists());
    let state = fs::read(trial.root.join(AGENT).join("state.toml")).unwrap();
    for _ in 0..3 {
        trial.machine.start().unwrap();
        let status = trial.machine.status().unwrap();
        assert!(status.warnings.iter().any(|w| w.contains("neither configuration")), "{status:?}");
        assert!(matches!(status.job.unwrap().outcome, Some(Outcome::Broken { .. })));
        assert!(fs::read_to_string(&broken).unwrap().contains("neither"));
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(trial.machine.reboots(), 0);
        let (refused, answer) = Job::restore(&scene).ask(&trial.machine.client()).unwrap();
        assert!(refused >= 400, "{answer}");
        trial.machine.stop();
    }
    assert_eq!(fs::read(trial.root.join(AGENT).join("state.toml")).unwrap(), state, "nothing loops");
    trial.assert_is(&scene.old, "nothing was edited before both were found damaged");
}
