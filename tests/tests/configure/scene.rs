//! An appliance that runs and is configured.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use reinstate_api::{Code, Failure, HistoryEntry, JobView, Outcome, Status};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::machine::Machine;
use reinstate_tests::picture::Picture;
use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

/// Longer than the reference profile's time for health.
const PATIENCE: Duration = Duration::from_secs(180);

pub const NETWORK: &str = "etc/systemd/network/10-management0.network";
pub const LIST: &str = "etc/ssh/sshd_config.d/20-access-list.conf";

/// In service, without a list of its own of who may log in.
pub fn in_service() -> Appliance {
    Appliance::donor("fw-a").without("etc/ssh/sshd_config.d/10-access.conf")
}

pub struct Scene {
    pub machine: Machine,
    _folder: TempDir,
}

impl Scene {
    /// Answers the job's question with yes, once it is asked.
    pub fn agrees(&self) {
        loop {
            let job = self.status().job.unwrap();
            if let Some(question) = job.question {
                let yes = json!({ "question": question.number, "answer": "yes" });
                assert_eq!(self.call("POST", "/v1/answer", &yes).0, 200);
                return;
            }
            assert_eq!(job.outcome, None);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    pub fn new(appliance: Appliance) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("fw");
        appliance.build(&root).unwrap();
        let mut machine = Machine::new(PROGRAM, &root);
        machine.start().unwrap();
        Self { machine, _folder: folder }
    }

    pub fn root(&self) -> &Path {
        self.machine.root()
    }

    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    pub fn picture(&self) -> Picture {
        Picture::take(self.root())
    }

    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.machine.client().call(method, path, Some(body)).unwrap()
    }

    pub fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        self.machine.client().get(path).unwrap()
    }

    pub fn history(&self) -> Vec<HistoryEntry> {
        self.get("/v1/history")
    }

    pub fn status(&self) -> Status {
        self.machine.status().unwrap()
    }

    /// Asks for changes, and has a job.
    pub fn ask(&self, body: &Value) {
        let (status, answer) = self.call("POST", "/v1/configure", body);
        assert_eq!(status, 200, "{answer}");
    }

    /// Waits until the job waits for a confirmation.
    pub fn wait_for_confirm(&self) -> JobView {
        let until = Instant::now() + PATIENCE;
        loop {
            // It does not answer while it starts.
            let job = self.machine.status().ok().and_then(|status| status.job);
            match job {
                Some(job) if job.confirm_until.is_some() => return job,
                Some(job) if job.outcome.is_some() => panic!("it has ended: {job:?}"),
                job => assert!(Instant::now() < until, "no confirmation is asked for: {job:?}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn confirm(&self) {
        assert_eq!(self.call("POST", "/v1/confirm", &json!({})).0, 200);
    }

    /// Makes changes to their end, confirmed where that is asked for; without a restart.
    pub fn configure(&self, body: &Value) -> HistoryEntry {
        let (before, reboots) = (self.history().len(), self.machine.reboots());
        self.ask(body);
        let until = Instant::now() + PATIENCE;
        loop {
            let job = self.status().job.unwrap();
            if job.outcome.is_some() {
                break;
            }
            if job.confirm_until.is_some() {
                // It may have been confirmed in this loop's last turn.
                let _ = self.call("POST", "/v1/confirm", &json!({}));
            }
            assert!(Instant::now() < until, "{job:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let history = self.history();
        assert_eq!(history.len(), before + 1);
        assert_eq!(self.machine.reboots(), reboots, "no change restarts the appliance");
        history.into_iter().next().unwrap()
    }

    pub fn done(&self, changes: Value) -> HistoryEntry {
        let entry = self.configure(&json!({ "changes": changes }));
        assert_eq!(entry.outcome, Outcome::Succeeded, "{entry:?}");
        let status = self.status();
        assert_eq!((status.active, status.previous, status.lock), (entry.to, Some(entry.from), None));
        entry
    }

    /// Exactly these paths are other ones than before, or there are more, or fewer.
    pub fn changed(&self, changes: Value) -> BTreeSet<String> {
        let before = self.picture().configuration().0;
        self.done(changes);
        let after = self.picture().configuration().0;
        let all: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
        all.into_iter().filter(|path| before.get(path) != after.get(path)).collect()
    }

    /// Refused at once: no job, nothing changed.
    pub fn refused(&self, body: &Value) -> Failure {
        let (before, jobs) = (self.picture(), self.history());
        let (status, answer) = self.call("POST", "/v1/configure", body);
        assert!((400..500).contains(&status), "{status}: {answer}");
        assert_eq!((self.picture().difference(&before), self.history()), (String::new(), jobs));
        serde_json::from_value(answer["failures"][0].clone()).unwrap()
    }

    /// Its job fails, and nothing is changed.
    pub fn failed(&self, changes: Value) -> Failure {
        let (before, active) = (self.picture(), self.status().active);
        let entry = self.configure(&json!({ "changes": changes }));
        let Outcome::Failed { failures } = entry.outcome else { panic!("{entry:?}") };
        assert_eq!(self.picture().difference(&before), "");
        assert_eq!((self.status().active, self.status().lock), (active, None));
        failures.into_iter().next().unwrap()
    }

    pub fn generations(&self) -> BTreeSet<u64> {
        let folder = self.root().join("var/lib/reinstate/generations");
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// Whatever the agent has written of its own, and what it has said: nowhere is this text. What is live of the
    /// account database is in generations as it is, hashes and all.
    pub fn nowhere_in_the_clear(&self, text: &str) {
        let own = self.root().join("var/lib/reinstate");
        let mut files = vec![self.machine.log().to_owned()];
        let mut folders = vec![own];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        assert!(files.iter().any(|file| file.ends_with("generation.toml")) && files.len() > 20);
        for file in files {
            // A link may lead to what is only in memory.
            let bytes = fs::read(&file).unwrap_or_default();
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!found, "{} holds it", file.display());
        }
        let said = serde_json::to_string(&(self.status(), self.history())).unwrap();
        assert!(!said.contains(text), "{said}");
    }
}

pub fn code(failure: &Failure) -> Code {
    assert!(!failure.message.is_empty());
    failure.code
}
