//! Where a session is held: an appliance with its agent, and what its admin can reach.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use reinstate_api::Status;
use reinstate_tests::appliance::Appliance;
use reinstate_tests::group::Group;
use reinstate_tests::login::Login;
use reinstate_tests::machine::Machine;
use reinstate_tests::server::{BackupServer, FOLDER, USER};
use serde_json::json;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

/// The name that every copy of the donor's backup has.
pub const FILE: &str = "fw-a_20260105080000.tar";
pub const BUNDLE: &str = "edge.20260105080000.tar.gz";

enum Host {
    /// Logins by accounts of the appliance's own.
    Login(Box<Login>),
    /// The first member of a group, in network namespaces; whoever asks is root.
    Group(Box<Group>),
}

pub struct Place {
    host: Host,
    server: Option<(BackupServer, TempDir)>,
}

impl Place {
    pub fn of(appliance: &Appliance) -> Self {
        Self { host: Host::Login(Box::new(Login::new(PROGRAM, appliance))), server: None }
    }

    pub fn group(roster: reinstate_tests::group::Roster) -> Self {
        let group = Group::start(Path::new(PROGRAM), roster);
        let silent = |member: &reinstate_api::MemberView| member.state.is_none();
        group.members[0].wait("the members' answers", |status| {
            status.group.as_ref().is_some_and(|group| !group.members.iter().any(silent))
        });
        Self { host: Host::Group(Box::new(group)), server: None }
    }

    /// With the donor's backup in its backup folder.
    #[must_use]
    pub fn with_backup(self) -> Self {
        fs::write(self.folder().join(FILE), donor()).unwrap();
        self
    }

    #[must_use]
    pub fn with_bundle(self) -> Self {
        let place = tempfile::tempdir().unwrap();
        let names = [FILE, "fw-b_20260105080000.tar"];
        names.iter().for_each(|name| fs::write(place.path().join(name), donor()).unwrap());
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(place.path()).arg("-czf").arg(self.folder().join(BUNDLE)).args(names);
        reinstate_tests::must(&mut tar);
        self
    }

    /// With an SSH server that has the donor's backup.
    #[must_use]
    pub fn with_server(mut self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), donor()).unwrap();
        self.server = Some((BackupServer::start(folder.path().to_owned()).unwrap(), folder));
        self
    }

    /// With a backup that it has made of itself.
    #[must_use]
    pub fn with_own_backup(self) -> Self {
        let _: reinstate_api::Created = self.machine().client().post("/v1/backups", &json!({})).unwrap();
        self
    }

    /// A medium with the donor's backup is put in.
    pub fn put_medium(&self) {
        let medium = self.machine().root().join("run/reinstate/medium");
        fs::create_dir_all(&medium).unwrap();
        fs::write(medium.join("fw-a_from-medium.tar"), donor()).unwrap();
    }

    /// Waits for the restart so many in all, and until nothing is left to be done after it.
    pub fn restarted(&self, count: u32, idle: bool) {
        self.machine().wait_for_reboot(count).unwrap();
        if idle {
            self.machine().wait_until_idle().unwrap();
            self.wait("a word from the manager", |status| {
                status.checkin.as_ref().is_none_or(|told| told.accepted.is_some() || told.failure.is_some())
            });
        }
        if let Host::Login(login) = &self.host {
            login.admit();
        }
    }

    /// Waits until a job waits for its confirmation.
    pub fn unconfirmed(&self) {
        self.wait("the wait for a confirmation", |status| {
            status.job.as_ref().is_some_and(|job| job.confirm_until.is_some())
        });
    }

    fn wait(&self, what: &str, done: impl Fn(&Status) -> bool) {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let status = self.machine().status().unwrap();
            if done(&status) {
                return;
            }
            assert!(Instant::now() < end, "{what} does not come: {status:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// The shell, as this account starts it; `command` is the one line of a session that has no other.
    pub fn shell(&self, user: &str, command: Option<&str>) -> Command {
        let mut shell = match &self.host {
            Host::Login(login) => {
                let mut shell = login.inside("/usr/bin/setpriv");
                shell.args(["--reuid", user, "--regid", user, "--init-groups", "/usr/bin/reinstate-shell"]);
                shell
            }
            Host::Group(group) => {
                let socket = group.members[0].machine.root().join(reinstate_api::SOCKET);
                let mut shell = Command::new(PROGRAM);
                shell.arg("shell").arg("--socket").arg(socket);
                shell
            }
        };
        shell.args(command.iter().flat_map(|command| ["-c", command]));
        shell
    }

    /// What is another in each run: how a script names it, and its value.
    pub fn values(&self) -> Vec<(&'static str, String)> {
        let mut values = Vec::new();
        if let Some((server, _)) = &self.server {
            values.push(("{server}", server.address().to_string()));
            values.push(("{port}", server.address().port().to_string()));
            values.push(("{user}", USER.to_owned()));
            values.push(("{folder}", FOLDER.to_owned()));
            values.push(("{password}", server.password().to_owned()));
            values.push(("{fingerprint}", server.fingerprint().to_owned()));
        }
        values
    }

    pub fn machine(&self) -> &Machine {
        match &self.host {
            Host::Login(login) => &login.machine,
            Host::Group(group) => &group.members[0].machine,
        }
    }

    fn folder(&self) -> PathBuf {
        self.machine().root().join(reinstate_api::BACKUP_FOLDER)
    }
}

/// The backup of an appliance in service.
fn donor() -> &'static [u8] {
    static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("donor");
        Appliance::donor("fw-a").build(&root).unwrap();
        let mut machine = Machine::new(PROGRAM, &root);
        machine.start().unwrap();
        let made: reinstate_api::Created = machine.client().post("/v1/backups", &json!({})).unwrap();
        fs::read(root.join(reinstate_api::BACKUP_FOLDER).join(made.file)).unwrap()
    })
}
