//! One appliance to break, and what has to be true of it afterwards.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reinstate_agent::activate::BROKEN;
use reinstate_agent::job::Stage;
use reinstate_agent::state::State;
use reinstate_api::{Code, HistoryEntry, Outcome, Phase, Status};
use reinstate_tests::client::Client;
use reinstate_tests::fault::{Fault, Kind};
use reinstate_tests::machine::Machine;
use reinstate_tests::picture::Picture;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::scene::{AGENT, PATIENCE, PROGRAM, Scene, empty_run, names, until};

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

    /// It has to be confirmed, so many minutes after the restart.
    pub fn restore_within(scene: &Scene, minutes: u32) -> Self {
        let body = json!({ "source": { "backup": scene.file }, "confirm_within": minutes });
        Self { body: Some(body), ..Self::restore(scene) }
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

    /// Two changes that need no confirmation.
    pub fn configure() -> Self {
        let body = json!({ "changes": [{ "hostname": "edge" }, { "dns-servers": ["192.0.2.53"] }] });
        Self { method: "POST", path: "/v1/configure", body: Some(body) }
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
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("fw");
        Self { machine: Machine::new(PROGRAM, &root), root, _folder: folder }
    }

    /// Asks and agrees in the background: a daemon that is stopped answers nobody.
    pub fn drive(&self, job: &Job) -> JoinHandle<()> {
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

    /// What somebody sees who logs in.
    pub fn greeting(&self) -> String {
        let session = Command::new(PROGRAM)
            .args(["shell", "--socket"])
            .arg(self.root.join(reinstate_api::SOCKET))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8(session.stdout).unwrap()
    }

    pub fn state(&self) -> State {
        match fs::read_to_string(self.root.join(AGENT).join("state.toml")) {
            Ok(text) => toml::from_str(&text).unwrap(),
            Err(_) => State::default(),
        }
    }

    /// Activations that the pending job has begun; none once it is decided on.
    pub fn boots(&self) -> Option<u32> {
        match self.state().job?.stage {
            Stage::Pending(switch) => Some(switch.boots),
            _ => None,
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

    /// What network and SSH look at is there while neither configuration is.
    pub fn assert_marked_unless_whole(&self, scene: &Scene, why: &str) {
        let whole = self.is(&scene.old) || self.is(&scene.new);
        assert!(
            whole || self.root.join(BROKEN).exists(),
            "{why}: nothing says that it is not whole\n{}",
            self.log()
        );
    }

    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.machine.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// No job, no lock and no staging is left, and no generation but those that the record needs and that were live.
    pub fn assert_clean(&self, why: &str) {
        let agent = self.root.join(AGENT);
        assert_eq!(names(&agent.join("drafts")), [""; 0], "{why}: drafts\n{}", self.log());
        let state = self.state();
        assert!(state.job.is_none(), "{why}: {state:?}");
        let there = names(&agent.join("generations"));
        let stays = |number: &String| state.lived().contains(&number.parse().unwrap());
        let needed: Vec<_> = state.needed().iter().map(u64::to_string).collect();
        assert!(needed.iter().all(|number| there.contains(number)), "{why}: {needed:?} of {there:?}");
        let more: Vec<_> = there.iter().filter(|name| !needed.contains(name) && !stays(name)).collect();
        assert_eq!(more, [""; 0], "{why}: generations");
        assert!(!agent.join("restore.lock").exists(), "{why}: the lock is still there");
        assert_eq!(self.machine.status().unwrap().lock, None, "{why}");
        let temporary =
            self.picture().0.into_keys().find(|path| path.rsplit('/').next().unwrap().starts_with(".rein"));
        assert_eq!(temporary, None, "{why}");
    }

    /// On record as taken back for this reason, once, with the old configuration exactly.
    pub fn assert_rolled_back(&self, old: &Picture, code: Code) {
        let history = self.history();
        assert_eq!(history.len(), 1, "{history:?}");
        let Outcome::RolledBack { failures } = &history[0].outcome else {
            panic!("{history:?}\n{}", self.log())
        };
        assert_eq!(failures[0].code, code, "{failures:?}");
        self.assert_is(old, "rolled back");
        self.assert_clean("rolled back");
    }

    /// After a disk that was in trouble and is so no more: as [`Trial::assert_old_or_new`], or taken back and saying
    /// why. True where it is the new one.
    pub fn assert_decided(&self, old: &Picture, new: &Picture, why: &str) -> bool {
        match self.history().first().map(|entry| &entry.outcome) {
            Some(Outcome::Failed { failures } | Outcome::RolledBack { failures }) => {
                self.assert_clean(why);
                self.assert_is(old, why);
                assert!(!failures.is_empty() && failures.iter().all(|f| !f.message.is_empty()), "{why}");
                false
            }
            _ => self.assert_old_or_new(old, new, 0, why),
        }
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
                assert_eq!(failures[0].code, Code::Interrupted, "{why}: {failures:?}\n{}", self.log());
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
