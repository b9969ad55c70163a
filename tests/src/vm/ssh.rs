//! OpenSSH's client: root's key to look with, and an admin's password.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};
use tempfile::TempDir;

use super::{BOOT, script};

/// An emulated processor takes its time for a key exchange.
const COMMAND: Duration = Duration::from_secs(180);

/// A key pair in a file of its own.
pub struct Key {
    folder: TempDir,
    public: String,
}

impl Key {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        let path = folder.path().join("key");
        fs::write(&path, key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let public = key.public_key().to_openssh().unwrap();
        Self { folder, public }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    pub fn public(&self) -> &str {
        &self.public
    }
}

/// Types the password where the client asks for one.
pub struct Askpass(TempDir);

impl Askpass {
    fn new(password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("password"), password).unwrap();
        let text = format!("#!/bin/sh\nexec cat '{}/password'\n", folder.path().display());
        script(&folder.path().join("ask"), &text);
        Self(folder)
    }
}

/// One account on one server.
#[derive(Clone)]
pub struct Ssh {
    user: String,
    door: SocketAddr,
    key: Option<PathBuf>,
    password: Option<Arc<Askpass>>,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ssh {
    pub fn with_key(user: &str, door: SocketAddr, key: PathBuf) -> Self {
        Self { user: user.into(), door, key: Some(key), password: None }
    }

    pub fn with_password(user: &str, door: SocketAddr, password: &str) -> Self {
        let password = Some(Arc::new(Askpass::new(password)));
        Self { user: user.into(), door, key: None, password }
    }

    fn options(&self, command: &mut Command) {
        command.args(["-F", "/dev/null", "-o", "ControlMaster=no", "-o", "LogLevel=ERROR"]);
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        command.args([
            "-o",
            "ConnectTimeout=20",
            "-o",
            "ServerAliveInterval=10",
            "-o",
            "ServerAliveCountMax=6",
        ]);
        match &self.key {
            Some(key) => {
                command.args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i"]).arg(key);
            }
            None => {
                command.args(["-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1"]);
            }
        }
        if let Some(ask) = &self.password {
            command.env("SSH_ASKPASS", ask.0.path().join("ask")).env("SSH_ASKPASS_REQUIRE", "force");
        }
    }

    /// In words of their own: a URL cannot hold an address of IPv6.
    fn port(&self) -> String {
        format!("Port={}", self.door.port())
    }

    fn login(&self) -> String {
        format!("{}@{}", self.user, self.door.ip())
    }

    /// Runs a command, with all of its standard input.
    pub fn said(&self, command: &str, input: impl AsRef<[u8]>) -> Said {
        let mut ssh = Command::new("ssh");
        self.options(&mut ssh);
        ssh.arg("-T").args(["-o", &self.port(), &self.login()]).arg(command);
        run(ssh, input.as_ref())
    }

    /// Starts a command with its input and output open.
    pub fn spawn(&self, command: &str) -> Child {
        let mut ssh = Command::new("ssh");
        self.options(&mut ssh);
        ssh.arg("-T").args(["-o", &self.port(), &self.login()]).arg(command);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Like [`Ssh::said`], again and again until there is a connection.
    pub fn patient(&self, command: &str, input: impl AsRef<[u8]>) -> Said {
        let end = Instant::now() + BOOT;
        loop {
            let said = self.said(command, input.as_ref());
            // 255 is the client's own.
            if said.status.is_some_and(|status| status != 255) || Instant::now() > end {
                return said;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Fetches a file by SFTP, from its full path.
    pub fn fetch(&self, from: &str, to: &Path) {
        let mut sftp = Command::new("sftp");
        self.options(&mut sftp);
        let place = format!("{}@[{}]:{from}", self.user, self.door.ip());
        sftp.args(["-q", "-o", &self.port(), &place]).arg(to);
        let said = run(sftp, b"");
        assert!(said.ok && to.exists(), "cannot fetch {from}: {said:?}");
    }

    /// An interactive session on a terminal.
    pub fn session(&self) -> Child {
        let mut ssh = Command::new("ssh");
        self.options(&mut ssh);
        ssh.args(["-tt", "-e", "none"]).args(["-o", &self.port(), &self.login()]);
        ssh.env("TERM", "xterm");
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
    }
}

/// Runs a program to its end, or ends it.
pub(crate) fn run(mut command: Command, input: &[u8]) -> Said {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    std::thread::spawn(move || {
        // It may end without reading.
        let _ = stdin.write_all(&input);
    });
    let id = child.id();
    let (done, wait) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let output = child.wait_with_output();
        let _ = done.send(());
        output
    });
    if wait.recv_timeout(COMMAND).is_err() {
        // Its id is not reused before the reader has waited for it.
        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(id as i32), nix::sys::signal::Signal::SIGKILL);
    }
    let output = reader.join().unwrap().unwrap();
    Said {
        ok: output.status.success(),
        status: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
