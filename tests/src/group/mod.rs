//! HA groups of real agents, each in a network namespace of its own.

pub mod net;
pub mod pair;
pub mod succession;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reinstate_api::{
    Answer, AnswerRequest, Created, Failure, HistoryEntry, JobView, Outcome, QuestionKind, Role, Started,
    Status,
};
use russh::keys::{Algorithm, PrivateKey};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::appliance::{self, Appliance, keys};
use crate::machine::Machine;
use net::{Net, Port, Ports};

/// The donors' interfaces for management and for the failover link, as the kernel names them.
pub const MANAGEMENT: &str = "ens160";
pub const FAILOVER: &str = "ens192";

/// Longer than the longest restore of a group.
const PATIENCE: Duration = Duration::from_secs(120);

/// What makes members of one group: who they are, and the keys.
pub struct Roster {
    pub name: String,
    pub members: Vec<Listed>,
    /// The group's private key.
    pub key: String,
}

/// One member, as the group's description has it.
#[derive(Clone)]
pub struct Listed {
    pub uuid: String,
    pub hostname: String,
    pub role: Role,
    /// With prefix length.
    pub management: String,
    pub failover: String,
    /// Private and public half of its endpoint's host key.
    pub host_key: (String, String),
}

/// A fresh one in the form of OpenSSH: private half, public half.
pub fn key_pair() -> (String, String) {
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    (keys::openssh(&key), reinstate_agent::peers::host_key_line(&key))
}

impl Roster {
    /// Members `fw-a`, `fw-b`, … with these roles.
    pub fn new(name: &str, roles: &[Role]) -> Self {
        let members = roles.iter().zip('a'..).enumerate().map(|(number, (role, letter))| Listed {
            uuid: format!("{0}{0}{0}{0}{0}{0}{0}{0}-0000-4000-8000-00000000000{number}", letter),
            hostname: format!("fw-{letter}"),
            role: *role,
            management: format!("192.0.2.{}/24", 10 + number),
            failover: format!("198.51.100.{}/24", 1 + number),
            host_key: key_pair(),
        });
        Self { name: name.to_owned(), members: members.collect(), key: key_pair().0 }
    }

    /// The file that describes the group.
    pub fn text(&self) -> String {
        let mut text = format!("name = \"{}\"\n", self.name);
        for member in &self.members {
            let Listed { uuid, hostname, role, management, failover, host_key } = member;
            let bare = |address: &str| address.split('/').next().unwrap_or_default().to_owned();
            let addresses = [bare(failover), bare(management)];
            text += &format!(
                "\n[[members]]\nuuid = \"{uuid}\"\nhostname = \"{hostname}\"\nrole = \"{role}\"\n\
                 addresses = {addresses:?}\nfailover = \"{failover}\"\nhost_key = \"{}\"\n",
                host_key.1
            );
        }
        text
    }

    /// A member in service.
    pub fn appliance(&self, number: usize) -> Appliance {
        let member = &self.members[number];
        let appliance = Appliance::donor(&member.hostname)
            .seed(10 + number as u64)
            .device_uuid(&member.uuid)
            .role(member.role)
            .unregistered()
            .management(&[&member.management])
            .file("etc/appliance/ha/group.toml", self.text(), 0o644)
            .file("etc/appliance/ha/group.key", self.key.as_str(), 0o600)
            .file("etc/appliance/ha/host.key", member.host_key.0.as_str(), 0o600);
        quick(appliance)
    }
}

/// Few files, no checkers and no units: what is tested is what happens between members.
pub fn quick(appliance: Appliance) -> Appliance {
    let ha = appliance::reference_profile().join("domains.d/ha.toml");
    let mut table: toml::Table = toml::from_str(&fs::read_to_string(ha).unwrap()).unwrap();
    table.remove("validate");
    ["files", "firewall", "licence", "ssh", "users", "vpn", "pki"]
        .iter()
        .fold(appliance.without_profile("ha.ruleset").without_profile("ssh"), |appliance, domain| {
            appliance.without(&format!("usr/lib/reinstate/domains.d/{domain}.toml"))
        })
        .domain_override("ha", &toml::to_string(&table).unwrap())
        .profile_override("[health]\nunits = []\n[ha.state]\nfile = \"/var/lib/appliance/ha-state\"\n")
}

/// One member that runs, in its namespace.
pub struct Member {
    pub machine: Machine,
    /// The backup that it has made of itself, in its backup folder.
    pub file: String,
    pub number: usize,
}

/// A group whose members all run.
pub struct Group {
    pub net: Net,
    pub roster: Roster,
    pub members: Vec<Member>,
    place: TempDir,
}

impl Group {
    pub fn start(program: &Path, roster: Roster) -> Self {
        Self::start_with(program, roster, |appliance| appliance)
    }

    /// Each member with something different about it.
    pub fn start_with(program: &Path, roster: Roster, change: impl Fn(Appliance) -> Appliance) -> Self {
        let port = |name: &str, address: &str| Port {
            name: name.into(),
            mac: None,
            addresses: vec![address.into()],
        };
        let ports = roster.members.iter().map(|member| Ports {
            management: port(MANAGEMENT, &member.management),
            failover: port(FAILOVER, &member.failover),
        });
        let net = Net::new(&ports.collect::<Vec<_>>());
        let place = tempfile::tempdir().unwrap();
        let mut group = Self { net, roster, members: Vec::new(), place };
        for number in 0..group.roster.members.len() {
            let appliance = change(group.roster.appliance(number));
            let mut member = group.boot(program, number, &appliance);
            let made: Created = member.machine.client().post("/v1/backups", &json!({})).unwrap();
            member.file = made.file;
            group.members.push(member);
        }
        group
    }

    /// The member has died: a replacement with factory defaults is on its cables, and the member's backup
    /// lies in its backup folder. Its failover link has no address.
    pub fn replace(&mut self, program: &Path, number: usize) {
        let file = self.members[number].file.clone();
        let archive = fs::read(self.members[number].backup(&file)).unwrap();
        self.members[number].machine.stop();
        let appliance = quick(Appliance::replacement().seed(50 + number as u64));
        let [management, failover] = [0, 1].map(|at| &appliance.hardware().interfaces[at]);
        let ports = Ports {
            management: Port {
                name: management.kernel.clone(),
                mac: Some(management.mac.clone()),
                addresses: vec![format!("192.0.2.{}/24", 200 + number)],
            },
            failover: Port {
                name: failover.kernel.clone(),
                mac: Some(failover.mac.clone()),
                addresses: Vec::new(),
            },
        };
        self.net.replace(number, &ports);
        let mut member = self.boot(program, number, &appliance);
        fs::write(member.backup(&file), archive).unwrap();
        member.file = file;
        self.members[number] = member;
    }

    /// An appliance that runs in the namespace of this number.
    pub fn boot(&self, program: &Path, number: usize, appliance: &Appliance) -> Member {
        let root = (0..)
            .map(|n| self.place.path().join(format!("{number}-{n}")))
            .find(|root| !root.exists())
            .unwrap();
        appliance.build(&root).unwrap();
        let _ = fs::create_dir_all(root.join("var/lib/appliance"));
        let state = if number == 0 { "active\n" } else { "standby\n" };
        fs::write(root.join("var/lib/appliance/ha-state"), state).unwrap();
        let wrapper = self.wrapper(program, number);
        let mut machine = Machine::new(wrapper, root);
        machine.start().unwrap();
        Member { machine, file: String::new(), number }
    }

    /// The program inside of a namespace.
    fn wrapper(&self, program: &Path, number: usize) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let wrapper = self.place.path().join(format!("in-{number}"));
        let text = format!(
            "#!/bin/sh\nexec nsenter --net={} {} \"$@\"\n",
            self.net.member(number).path(),
            program.display()
        );
        fs::write(&wrapper, text).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        wrapper
    }

    /// Waits until nobody holds a lock, and no release is owed.
    pub fn settled(&self) {
        let until = Instant::now() + PATIENCE;
        for member in &self.members {
            loop {
                let Status { lock, releases, .. } = member.status();
                if lock.is_none() && releases.is_empty() {
                    break;
                }
                assert!(Instant::now() < until, "{}: {lock:?}, {releases:?}", member.number);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    pub fn place(&self) -> &Path {
        self.place.path()
    }
}

impl Member {
    /// A file in its backup folder.
    pub fn backup(&self, file: &str) -> PathBuf {
        self.machine.root().join(reinstate_api::BACKUP_FOLDER).join(file)
    }

    /// Waits for something to be so.
    pub fn wait(&self, what: &str, so: impl Fn(&Status) -> bool) -> Status {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.machine.status();
            if let Ok(status) = &status
                && so(status)
            {
                return status.clone();
            }
            assert!(Instant::now() < until, "{what} does not come: {status:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Restores its own backup to the end, saying yes to everything: how that ended.
    pub fn restored(&self, words: &[&str]) -> HistoryEntry {
        let before = self.mark();
        self.restore(words).unwrap();
        self.drive(&mut |_| {});
        let entry = self.idle();
        assert_eq!(self.since(before).len(), 1);
        entry
    }

    /// The last job's failures; there must be some, and nothing may be changed.
    pub fn refused(&self, file: &str, words: &[&str]) -> Vec<Failure> {
        let generation = self.status().active;
        self.restore_file(file, words).unwrap();
        self.drive(&mut |_| {});
        let entry = self.idle();
        assert_eq!((entry.from, entry.to, self.status().active), (generation, generation, generation));
        let Outcome::Failed { failures } = entry.outcome else { panic!("{entry:?}") };
        failures
    }

    pub fn status(&self) -> Status {
        self.machine.status().unwrap()
    }

    pub fn history(&self) -> Vec<HistoryEntry> {
        self.machine.client().get("/v1/history").unwrap()
    }

    /// What it has on record now: a mark for [`Member::since`].
    pub fn mark(&self) -> Option<Uuid> {
        self.history().first().map(|entry| entry.id)
    }

    /// What came to the record after the mark, newest first.
    pub fn since(&self, mark: Option<Uuid>) -> Vec<HistoryEntry> {
        self.history().into_iter().take_while(|entry| Some(entry.id) != mark).collect()
    }

    /// When a restore of this member has announced its commit, as its log has it.
    pub fn announced(&self, restore: Uuid) -> Timestamp {
        let log = fs::read_to_string(self.machine.log()).unwrap();
        let mark = format!("phase id={restore} phase=committing");
        let line = log.lines().find(|line| line.contains(&mark)).expect("it has announced its commit");
        line.split_whitespace().next().and_then(|at| at.parse().ok()).expect("a line begins with its time")
    }

    /// Starts the restore of its own backup; the words go with the request.
    pub fn restore(&self, words: &[&str]) -> crate::Result<Started> {
        self.restore_file(&self.file, words)
    }

    pub fn restore_file(&self, file: &str, words: &[&str]) -> crate::Result<Started> {
        let request = json!({"source": {"backup": file}, "overrides": words});
        self.machine.client().post("/v1/restore", &request)
    }

    pub fn answer(&self, question: u64, answer: Answer) {
        let request: Value = json!(AnswerRequest { question, answer });
        let _ = self.machine.client().call("POST", "/v1/answer", Some(&request));
    }

    /// Says yes to whether to go on, and no to going on against what was found, until the job has ended, or
    /// the appliance restarts; the job as it was seen last.
    pub fn drive(&self, seen: &mut dyn FnMut(&JobView)) -> Option<JobView> {
        let until = Instant::now() + PATIENCE;
        let (mut last, mut answered): (Option<JobView>, u64) = (None, 0);
        while Instant::now() < until {
            let Ok(status) = self.machine.status() else { return last };
            let Some(job) = status.job else { return last };
            seen(&job);
            if let Some(question) = job.question.as_ref().filter(|question| question.number > answered) {
                answered = question.number;
                self.answer(
                    question.number,
                    match question.kind {
                        QuestionKind::Override { .. } => Answer::No,
                        _ => Answer::Yes,
                    },
                );
            }
            let over = job.outcome.is_some();
            last = Some(job);
            if over {
                return last;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the restore of {} does not end: {last:?}", self.number);
    }

    /// The question that the job asks now.
    pub fn question(&self) -> (u64, QuestionKind) {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            let job = status.job.as_ref();
            if let Some(question) = job.and_then(|job| job.question.clone()) {
                return (question.number, question.kind);
            }
            assert!(job.is_none_or(|job| job.outcome.is_none()), "{job:?}");
            assert!(Instant::now() < until, "nothing is asked: {status:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until nothing runs here any more; how the last job ended.
    pub fn idle(&self) -> HistoryEntry {
        self.machine.wait_until_idle().unwrap();
        self.history().into_iter().next().expect("something was done")
    }
}
