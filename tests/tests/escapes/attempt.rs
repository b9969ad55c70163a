//! A payload that leaves a mark wherever something runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use reinstate_tests::login::{ADMIN, Login, OPERATOR};
use tempfile::TempDir;

use super::{PATIENCE, assert_usable, session};

/// Numbers of the accounts.
fn id(user: &str) -> &'static str {
    match user {
        ADMIN => "1000",
        OPERATOR => "1100",
        _ => panic!("{user} has no number here"),
    }
}

/// A program on the appliance, as one of its users and with nothing in its environment.
pub fn by(login: &Login, user: &str, program: &str) -> Command {
    let mut command = login.inside("/usr/bin/setpriv");
    command.args(["--reuid", id(user), "--regid", id(user), "--init-groups", program]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command
}

/// Where a payload leaves its mark.
pub struct Mark {
    folder: TempDir,
}

impl Mark {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("mark").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Self { folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mark")
    }

    /// In a shell's words.
    pub fn touch(&self) -> String {
        format!("touch {}", self.path().display())
    }

    /// A file for others to use, world-readable.
    pub fn beside(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The payload is one: this program, run there as the admin, leaves the mark.
    #[track_caller]
    pub fn prove(&self, program: &mut Command) {
        let output = program.output().unwrap();
        assert!(self.path().exists(), "no payload: {program:?}: {output:?}");
        fs::remove_file(self.path()).unwrap();
    }

    /// A shell that reads these lines leaves the mark.
    #[track_caller]
    pub fn prove_by_shell(&self, login: &Login, lines: &str) {
        self.prove(by(login, ADMIN, "/bin/sh").args(["-c", lines]));
    }

    #[track_caller]
    pub fn assert_none(&self) {
        assert!(!self.path().exists(), "it has led out");
    }
}

/// A line that a shell would take for more than one command, or for another one: by `ssh HOST LINE`, and typed. Neither
/// runs it; it comes back as what it is, not understood.
#[track_caller]
pub fn leads_nowhere(line: impl Fn(&str) -> String) {
    let login = super::shared();
    let mark = Mark::new();
    let line = line(&mark.touch());
    mark.prove_by_shell(&login, &line);
    let client = login.client(ADMIN);
    let said = client.ssh(&[], &[&line]);
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(said.out.contains("Syntax error: ") && said.err.is_empty(), "{said:?}");
    assert!(said.out.contains(&reinstate_api::one_line(&line)), "not what was sent: {said:?}");
    mark.assert_none();

    let mut session = session(&client);
    session.write(&(line.replace(['\r', '\n'], "\r") + "\r"));
    session.read_until("Syntax error: ", PATIENCE).unwrap();
    assert_usable(&mut session);
    mark.assert_none();
}
