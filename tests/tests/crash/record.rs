//! A record that cannot be read.

use std::fs;

use crate::scene::{AGENT, Scene, Stage, names};
use crate::trial::Job;

#[test]
fn a_record_that_cannot_be_read_is_kept_and_nothing_is_touched() {
    let scene = Scene::get();
    let whole = {
        let trial = scene.trial(Stage::Committed);
        fs::read(trial.root.join(AGENT).join("state.toml")).unwrap()
    };
    let text = String::from_utf8(whole.clone()).unwrap();
    let contents: [(&str, Vec<u8>); 6] = [
        ("torn in the middle", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("of another format", text.replacen("format = 1", "format = 2", 1).into_bytes()),
        ("with an unknown key", format!("surprise = 1\n{text}").into_bytes()),
        ("zeroes", vec![0; whole.len()]),
        ("too large", [whole.as_slice(), &vec![b'\n'; 5 << 20]].concat()),
    ];
    for (why, content) in contents {
        assert_ne!(content, whole, "{why}");
        let mut trial = scene.trial(Stage::Committed);
        let agent = trial.root.join(AGENT);
        fs::write(agent.join("state.toml"), &content).unwrap();
        let generations = names(&agent.join("generations"));
        assert!(!trial.activate(None), "{why}: activate says that it failed");
        trial.machine.start().unwrap();
        let status = trial.machine.status().unwrap();
        assert!(status.warnings.iter().any(|w| w.contains("state.toml")), "{why}: {status:?}");
        let greeting = trial.greeting();
        assert!(greeting.contains("Warning: ") && greeting.contains("state.toml"), "{why}: {greeting}");
        for job in [Job::restore(&scene), Job::rollback(), Job::factory(), Job::delete_manager()] {
            let (code, answer) = job.ask(&trial.machine.client()).unwrap();
            assert!(code >= 400, "{why}: {answer}");
            assert_eq!(answer["failures"][0]["code"], "state-unreadable", "{why}: {answer}");
        }
        trial.machine.stop();
        assert!(fs::read(agent.join("state.toml")).unwrap() == content, "{why}: the record was changed");
        assert_eq!(names(&agent.join("generations")), generations, "{why}");
        assert!(agent.join("restore.lock").exists(), "{why}");
        trial.assert_is(&scene.old, why);
    }
}

#[test]
fn a_record_that_is_not_a_file_is_said_to_be_unreadable() {
    let scene = Scene::get();
    let mut trial = scene.trial(Stage::Ready);
    let record = trial.root.join(AGENT).join("state.toml");
    let _ = fs::remove_file(&record);
    fs::create_dir(&record).unwrap();
    trial.machine.start().unwrap();
    let (_, answer) = Job::restore(&scene).ask(&trial.machine.client()).unwrap();
    assert_eq!(answer["failures"][0]["code"], "state-unreadable", "{answer}");
    trial.assert_is(&scene.old, "unreadable");
}
