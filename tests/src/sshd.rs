//! A real OpenSSH server on loopback, with its own keys and configuration, gone when it is dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use tempfile::TempDir;

const PROGRAM: &str = "/usr/sbin/sshd";

/// An account that only one server knows: it has account files of its own in a mount namespace of its
/// own, so that the machine's stay as they are. Only root can do that.
#[derive(Clone, Debug)]
pub struct Account {
    pub name: String,
    pub password: String,
}

/// How the server is set up. It serves the user that runs it, by public key.
pub struct SshdOptions {
    /// With its SFTP subsystem; without it there is only legacy SCP.
    pub sftp: bool,
    pub listen: IpAddr,
    /// Lines as in `authorized_keys`.
    pub authorized_keys: Vec<String>,
    /// Algorithms of its host keys.
    pub host_keys: Vec<Algorithm>,
    /// More lines of `sshd_config`.
    pub config: Vec<String>,
    /// Who may log in with a password, instead of the user that runs it.
    pub account: Option<Account>,
}

impl Default for SshdOptions {
    fn default() -> Self {
        Self {
            sftp: true,
            listen: IpAddr::from([127, 0, 0, 1]),
            authorized_keys: Vec::new(),
            host_keys: vec![Algorithm::Ed25519],
            config: Vec::new(),
            account: None,
        }
    }
}

/// A running server.
pub struct Sshd {
    child: Child,
    address: SocketAddr,
    user: String,
    host_keys: Vec<PublicKey>,
    folder: TempDir,
}

impl Sshd {
    /// Starts a server on a port of its own.
    pub fn start(options: &SshdOptions) -> Self {
        assert!(fs::exists(PROGRAM).unwrap(), "{PROGRAM} is missing: install openssh-server");
        let runs_as = run("id", &["-un"]);
        let user = options.account.as_ref().map_or(runs_as.clone(), |account| account.name.clone());
        if runs_as == "root" {
            // Where sshd confines itself before a login; the service that would make it may not run here.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        // Another process may take the port before the server does.
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let host_keys = make_host_keys(&folder, &options.host_keys);
            let port = TcpListener::bind((options.listen, 0)).unwrap().local_addr().unwrap().port();
            let address = SocketAddr::from((options.listen, port));
            fs::write(folder.path().join("sshd_config"), config(&folder, address, options)).unwrap();
            fs::write(folder.path().join("authorized_keys"), options.authorized_keys.join("\n") + "\n")
                .unwrap();
            let child = program(&folder, options.account.as_ref())
                .args(["-D", "-e", "-f"])
                .arg(folder.path().join("sshd_config"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(fs::File::create(folder.path().join("log")).unwrap())
                .spawn()
                .unwrap();
            let mut server = Self { child, address, user: user.clone(), host_keys, folder };
            if server.answers() {
                return server;
            }
            eprintln!("sshd did not start: {}", server.log());
        }
        panic!("sshd does not start");
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && self.child.try_wait().unwrap().is_none() {
            let mut start = [0; 4];
            if TcpStream::connect(self.address).is_ok_and(|mut s| s.read_exact(&mut start).is_ok())
                && start == *b"SSH-"
            {
                return true;
            }
            sleep(Duration::from_millis(10));
        }
        false
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who may log in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Its host keys, in the order of the options.
    pub fn host_keys(&self) -> &[PublicKey] {
        &self.host_keys
    }

    /// `SHA256:…` of its first host key.
    pub fn fingerprint(&self) -> String {
        self.host_keys[0].fingerprint(HashAlg::Sha256).to_string()
    }

    /// Its line for `known_hosts`, of its first host key.
    pub fn known_hosts_line(&self) -> String {
        known_hosts_line(self.address, &self.host_keys[0])
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Kills the server; the processes that it has forked for connections stay.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The line for a key of a server on a loopback address.
pub fn known_hosts_line(address: SocketAddr, key: &PublicKey) -> String {
    format!("[{}]:{} {}", address.ip(), address.port(), key.to_openssh().unwrap())
}

/// The server's program, behind the account files that it is to see.
fn program(folder: &TempDir, account: Option<&Account>) -> Command {
    let Some(account) = account else {
        return Command::new(PROGRAM);
    };
    assert_eq!(run("id", &["-u"]), "0", "an sshd that takes a password needs root: run the tests as root");
    let files = ["passwd", "shadow"].map(|name| {
        let line = match name {
            "passwd" => format!("{}:x:64123:65534::/:/bin/sh\n", account.name),
            _ => format!("{}:{}:19000:0:99999:7:::\n", account.name, hashed(&account.password)),
        };
        let path = folder.path().join(name);
        fs::write(&path, fs::read_to_string(format!("/etc/{name}")).unwrap() + &line).unwrap();
        let mode = if name == "passwd" { 0o644 } else { 0o600 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    });
    let script =
        "mount --bind \"$1\" /etc/passwd && mount --bind \"$2\" /etc/shadow && shift 2 && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).args(files).arg(PROGRAM);
    command
}

/// As in `shadow`. The password goes in by a pipe: others can read arguments.
pub(crate) fn hashed(password: &str) -> String {
    let mut perl = Command::new("perl")
        .args(["-e", "chomp(my $p = <STDIN>); print crypt($p, q($6$c2FsdHNhbHQ$))"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    perl.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = perl.wait_with_output().unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    assert!(hash.starts_with("$6$"), "this perl's crypt knows no SHA-512");
    hash
}

pub(crate) fn make_host_keys(folder: &TempDir, algorithms: &[Algorithm]) -> Vec<PublicKey> {
    let make = |(number, algorithm): (usize, &Algorithm)| {
        let key = PrivateKey::random(&mut safe_rng(), algorithm.clone()).unwrap();
        let path = folder.path().join(format!("host_key_{number}"));
        fs::write(&path, key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        key.public_key().clone()
    };
    algorithms.iter().enumerate().map(make).collect()
}

fn config(folder: &TempDir, address: SocketAddr, options: &SshdOptions) -> String {
    let folder = folder.path().display();
    let mut lines = vec![
        format!("ListenAddress {address}"),
        "PidFile none".to_owned(),
        "StrictModes no".to_owned(),
        "UsePAM no".to_owned(),
        "PermitRootLogin yes".to_owned(),
        format!("PasswordAuthentication {}", if options.account.is_some() { "yes" } else { "no" }),
        "KbdInteractiveAuthentication no".to_owned(),
        format!("AuthorizedKeysFile {folder}/authorized_keys"),
    ];
    lines.extend((0..options.host_keys.len()).map(|n| format!("HostKey {folder}/host_key_{n}")));
    if options.sftp {
        lines.push("Subsystem sftp internal-sftp".to_owned());
    }
    // The first value of a keyword holds.
    options.config.iter().chain(&lines).map(|line| format!("{line}\n")).collect()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
