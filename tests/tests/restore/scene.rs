//! What every test plays on: a donor's backup, and a replacement that boots.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use reinstate_api::{Code, Failure, HistoryEntry, JobView, Outcome, QuestionKind, Status};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::compare::{NO_CONFIGURATION, Tree};
use reinstate_tests::machine::Machine;
use serde_json::json;
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

/// The name that every test's copy of the donor's backup has.
pub const FILE: &str = "fw-a_20260105080000.tar";

/// A number that is another one in each run; it is printed, and `REINSTATE_TEST_SEED` repeats it.
pub fn seed() -> u64 {
    let given = std::env::var("REINSTATE_TEST_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("REINSTATE_TEST_SEED={seed}");
    seed
}

/// An appliance that has made a backup and has failed since.
pub struct Donor {
    /// Its configuration when the backup was made.
    pub tree: Tree,
    pub archive: Vec<u8>,
}

impl Donor {
    /// The usual one, in service under the name fw-a. All tests that run at one time share it.
    pub fn usual() -> Arc<Self> {
        static USUAL: Mutex<Weak<Donor>> = Mutex::new(Weak::new());
        let mut usual = USUAL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(donor) = usual.upgrade() {
            return donor;
        }
        let donor = Arc::new(Self::of(&Appliance::donor("fw-a")));
        *usual = Arc::downgrade(&donor);
        donor
    }

    /// With a file of so many bytes that do not compress in its backup.
    pub fn large(bytes: u64) -> Self {
        Self::of(&Appliance::donor("fw-a").noise("var/lib/appliance/file-lists/large.list", bytes))
    }

    pub fn of(appliance: &Appliance) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("donor");
        appliance.build(&root).unwrap();
        let mut machine = Machine::new(PROGRAM, &root);
        machine.start().unwrap();
        let made: reinstate_api::Created = machine.client().post("/v1/backups", &json!({})).unwrap();
        let archive = fs::read(root.join(reinstate_api::BACKUP_FOLDER).join(made.file)).unwrap();
        let tree = Tree::read(&root, &NO_CONFIGURATION).unwrap();
        machine.stop();
        Self { tree, archive }
    }
}

/// What a command said, and its exit status.
#[derive(Debug)]
pub struct Said {
    pub text: String,
    pub status: Option<i32>,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Self { text, status: output.status.code() }
    }
}

/// A replacement that runs, and a folder that a server can serve.
pub struct Scene {
    pub machine: Machine,
    pub donor: Arc<Donor>,
    /// The replacement as it was before anybody typed anything.
    pub before: Tree,
    mounts: bool,
    served: TempDir,
    _place: TempDir,
}

impl Scene {
    pub fn new(replacement: Appliance) -> Self {
        Self::of(Donor::usual(), replacement)
    }

    /// The donor's backup lies in the replacement's backup folder, and in the served folder.
    pub fn of(donor: Arc<Donor>, replacement: Appliance) -> Self {
        Self::run_by(donor, replacement, |_, _| PathBuf::from(PROGRAM))
    }

    /// `program` gives what starts the agent, from a folder to write to and the replacement's root.
    pub fn run_by(
        donor: Arc<Donor>,
        replacement: Appliance,
        program: impl FnOnce(&Path, &Path) -> PathBuf,
    ) -> Self {
        let (served, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // A server may run with another account.
        fs::set_permissions(served.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = place.path().join("new");
        replacement.build(&root).unwrap();
        let program = program(place.path(), &root);
        let mut scene = Self {
            mounts: program != Path::new(PROGRAM),
            machine: Machine::new(&program, &root),
            before: Tree::default(),
            donor: donor.clone(),
            served,
            _place: place,
        };
        scene.serve(FILE, &donor.archive);
        scene.machine.start().unwrap();
        scene.keep(FILE, &donor.archive);
        let generations = names(&scene.daemons_root().join("var/lib/reinstate/generations"));
        let log = fs::read_to_string(scene.machine.log()).unwrap();
        assert_eq!(generations, BTreeSet::from(["0".to_owned()]), "{log}");
        scene.before = Tree::read(&root, &NO_CONFIGURATION).unwrap();
        scene
    }

    pub fn root(&self) -> &Path {
        self.machine.root()
    }

    /// The root as the daemon sees it, where it has mounts of its own.
    pub fn daemons_root(&self) -> PathBuf {
        if !self.mounts {
            return self.root().to_owned();
        }
        let daemon = self.machine.daemon().expect("the daemon runs");
        let root = self.root().strip_prefix("/").unwrap();
        Path::new("/proc").join(daemon.to_string()).join("root").join(root)
    }

    pub fn served(&self, name: &str) -> PathBuf {
        self.served.path().join(name)
    }

    /// Puts a file where a server has it.
    pub fn serve(&self, name: &str, content: &[u8]) {
        fs::write(self.served(name), content).unwrap();
        fs::set_permissions(self.served(name), fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Puts a file into the replacement's own backup folder.
    pub fn keep(&self, name: &str, content: &[u8]) {
        fs::write(self.kept(name), content).unwrap();
    }

    pub fn kept(&self, name: &str) -> PathBuf {
        self.root().join(reinstate_api::BACKUP_FOLDER).join(name)
    }

    /// The line that restores a file from a server.
    pub fn from(&self, server: SocketAddr, user: &str, file: &str, more: &str) -> String {
        let folder = self.served.path().display();
        format!("restore remote-manager-backup location {server} {user} {folder} backup {file} {more}")
    }

    pub fn say(&self, command: &str, answers: &str) -> Said {
        self.machine.shell(command, answers).unwrap().into()
    }

    /// A shell of its own, that the caller may kill; what it says comes by its standard output.
    pub fn spawn(&self, command: &str) -> Child {
        let socket = self.root().join(reinstate_api::SOCKET);
        let mut shell = Command::new(PROGRAM);
        shell.args(["shell", "--socket"]).arg(socket).args(["-c", command]);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
    }

    pub fn public_key(&self) -> String {
        let said = self.say("show public-key", "");
        let line = said.text.lines().find(|line| line.starts_with("ssh-ed25519 "));
        line.unwrap_or_else(|| panic!("no key in {said:?}")).to_owned()
    }

    pub fn status(&self) -> Status {
        self.machine.status().unwrap()
    }

    pub fn job(&self) -> JobView {
        self.status().job.expect("there is a job")
    }

    pub fn history(&self) -> Vec<HistoryEntry> {
        self.machine.client().get("/v1/history").unwrap()
    }

    /// Waits until the job is as `done` says.
    pub fn wait(&self, what: &str, done: impl Fn(&JobView) -> bool) -> JobView {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let job = self.status().job;
            if let Some(job) = job.as_ref().filter(|job| done(job)) {
                return job.clone();
            }
            assert!(Instant::now() < until, "{what} did not happen within 60 s: {job:?}");
            sleep(Duration::from_millis(5));
        }
    }

    pub fn wait_for_confirm(&self) -> JobView {
        self.wait("the question", |job| {
            job.question.as_ref().is_some_and(|question| question.kind == QuestionKind::Confirm)
        })
    }

    pub fn wait_for_end(&self) -> JobView {
        self.wait("the job's end", |job| job.outcome.is_some())
    }

    /// Everything of the replacement that a refused restore has to leave alone: what the daemon has,
    /// without its record of jobs, downloads, and what it has learnt of servers.
    pub fn untouched(&self) -> Tree {
        let except = [
            "run",
            "var/sf/backup",
            "var/lib/reinstate/state.toml",
            "var/lib/reinstate/known_hosts",
            "var/lib/reinstate/device_key",
        ];
        Tree::read(&self.daemons_root(), &except).unwrap()
    }

    /// Types a command that has to be refused, with everything that is promised then: the exit status,
    /// the codes in the API's answer and on record, and nothing changed.
    pub fn refused(&self, command: &str, answers: &str) -> Refused {
        let before = self.untouched();
        let said = self.say(command, answers);
        assert_eq!(said.status, Some(1), "{said:?}");
        let refused = self.failed(&before);
        for failure in &refused.failures {
            let shown = format!("Error: {} [{}]", failure.message, failure.code);
            assert!(said.text.contains(&shown), "{shown}\nis not in\n{}", said.text);
        }
        assert!(said.text.contains("Nothing was changed."), "{}", said.text);
        Refused { said, ..refused }
    }

    /// The job has failed, and nothing is other than `before`.
    pub fn failed(&self, before: &Tree) -> Refused {
        let status = self.status();
        let job = status.job.expect("there is a job");
        let Some(Outcome::Failed { failures }) = job.outcome else { panic!("{:?}", job.outcome) };
        let last = self.history().remove(0);
        assert_eq!((last.id, &last.outcome), (job.id, &Outcome::Failed { failures: failures.clone() }));
        assert_eq!((last.from, last.to), (status.active, status.active));
        assert_eq!(before.differences(&self.untouched()), Vec::<String>::new());
        let own = self.daemons_root().join("var/lib/reinstate");
        assert_eq!(names(&own.join("drafts")), BTreeSet::new());
        assert_eq!(names(&own.join("generations")), BTreeSet::from(["0".to_owned()]));
        assert_eq!(status.lock, None);
        assert!(!own.join("restore.lock").exists());
        assert_eq!(self.machine.reboots(), 0);
        assert!(!self.machine.is_rebooting());
        Refused { failures, said: Said { text: String::new(), status: None } }
    }

    /// The restore of the usual backup from the local folder, refused.
    pub fn refused_here(&self) -> Refused {
        self.refused(&format!("restore remote-manager-backup backup {FILE}"), "Y\n")
    }

    /// Restores the usual backup from the local folder, to the end.
    pub fn restore_here(&self) {
        let said = self.say(&format!("restore remote-manager-backup {FILE}"), "Y\n");
        assert_eq!(said.status, Some(0), "{said:?}");
        self.restored(1);
    }

    /// The appliance restarts for the `reboots`th time in all, and is the donor then.
    pub fn restored(&self, reboots: u32) {
        self.machine.wait_for_reboot(reboots).unwrap();
        let status = self.machine.wait_until_idle().unwrap();
        let last = status.last.expect("the restore is on record");
        assert_eq!(last.outcome, Outcome::Succeeded);
        assert_eq!((status.lock, status.active), (None, last.to));
        let wrong = reinstate_tests::compare::restored(self.root(), &self.before, &self.donor.tree).unwrap();
        assert!(wrong.is_empty(), "after the restore\n{}", wrong.join("\n"));
    }
}

pub fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Why a restore was refused.
#[derive(Debug)]
pub struct Refused {
    pub failures: Vec<Failure>,
    pub said: Said,
}

impl Refused {
    pub fn codes(&self) -> BTreeSet<Code> {
        self.failures.iter().map(|failure| failure.code).collect()
    }

    /// There is this one reason, its sentence holds all of `values`, and it says how to go on.
    pub fn alone(&self, code: Code, values: &[&str]) -> &Failure {
        let [failure] = &self.failures[..] else { panic!("{:#?}", self.failures) };
        assert_eq!(failure.code, code, "{failure}");
        for value in values {
            assert!(failure.message.contains(value), "'{value}' is not in: {failure}");
        }
        assert!(!failure.hint.is_empty(), "no way on: {failure}");
        failure
    }
}
