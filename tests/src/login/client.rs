//! Stock clients: ssh, scp and sftp, each command from a configuration of its own.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// One account at one server.
pub struct Client {
    user: String,
    door: SocketAddr,
    folder: TempDir,
}

/// What a command said, and its exit status.
#[derive(Debug)]
pub struct Said {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Client {
    pub fn with_key(user: &str, door: SocketAddr, known_hosts: &Path, key: &Path) -> Self {
        let lines = format!("BatchMode yes\nIdentitiesOnly yes\nIdentityFile {}\n", key.display());
        Self::new(user, door, known_hosts, &lines)
    }

    pub fn with_password(user: &str, door: SocketAddr, known_hosts: &Path, password: &str) -> Self {
        let lines = "PubkeyAuthentication no\nNumberOfPasswordPrompts 1\n";
        let client = Self::new(user, door, known_hosts, lines);
        // Read from a file: a password may hold what a shell understands.
        fs::write(client.folder.path().join("password"), password).unwrap();
        fs::write(client.ask(), "#!/bin/sh\ncat \"${0%/*}/password\"\n").unwrap();
        fs::set_permissions(client.ask(), fs::Permissions::from_mode(0o700)).unwrap();
        client
    }

    fn new(user: &str, door: SocketAddr, known_hosts: &Path, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The first value of a keyword holds, and the command line comes before the file.
        let config = format!(
            "Host appliance\n HostName {}\n Port {}\n User {user}\n HostKeyAlias appliance\n\
             {lines}StrictHostKeyChecking yes\nUserKnownHostsFile {}\nGlobalKnownHostsFile /dev/null\n\
             ControlMaster no\nConnectTimeout 20\nUpdateHostKeys no\nLogLevel INFO\n",
            door.ip(),
            door.port(),
            folder.path().join("known_hosts").display(),
        );
        fs::write(folder.path().join("config"), config).unwrap();
        let known = fs::read_to_string(known_hosts).unwrap();
        let known = known
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(_, key)| format!("appliance {key}\n"));
        fs::write(folder.path().join("known_hosts"), known.collect::<String>()).unwrap();
        Self { user: user.into(), door, folder }
    }

    fn ask(&self) -> PathBuf {
        self.folder.path().join("ask")
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn door(&self) -> SocketAddr {
        self.door
    }

    /// `ssh`, `scp` or `sftp` with its options; the server's name is `appliance`.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.folder.path().join("config")).stdin(Stdio::null());
        command.env_remove("SSH_AUTH_SOCK").env_remove("DISPLAY").env("LC_ALL", "C.UTF-8");
        if self.ask().exists() {
            command.env("SSH_ASKPASS", self.ask()).env("SSH_ASKPASS_REQUIRE", "force");
        }
        command
    }

    /// Options, then the command that is run there, if any.
    pub fn ssh(&self, options: &[&str], command: &[&str]) -> Said {
        run(self.command("ssh").args(options).arg("appliance").args(command), b"")
    }

    /// `ssh` with all of its standard input.
    pub fn ssh_with(&self, options: &[&str], command: &[&str], input: &[u8]) -> Said {
        run(self.command("ssh").args(options).arg("appliance").args(command), input)
    }

    pub fn scp<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Said {
        run(self.command("scp").args(arguments), b"")
    }

    /// `sftp` with lines as they are typed; it goes on after one that fails.
    pub fn sftp(&self, lines: &str) -> Said {
        run(self.command("sftp").arg("appliance"), lines.as_bytes())
    }

    /// The SFTP subsystem with its packets on standard input and output.
    pub fn subsystem(&self) -> Child {
        self.command("ssh")
            .args(["-s", "appliance", "sftp"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

impl Said {
    pub fn ok(&self) -> bool {
        self.status == Some(0)
    }

    /// Both, as on a terminal.
    pub fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

fn run(command: &mut Command, input: &[u8]) -> Said {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}: install openssh-client"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let typing = std::thread::spawn(move || {
        // A client that has ended reads no more.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    typing.join().unwrap();
    Said {
        status: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
