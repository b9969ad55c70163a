//! A real login: the shipped SSH server over a sandbox with a running agent, and stock clients.
//!
//! A mount namespace of its own has the appliance's programs and files where an appliance has them: `/etc` is the
//! sandbox's, `/usr` the machine's with `/usr/bin/reinstate-shell` and `/usr/lib/reinstate/{sftp,sshd_config}` in it,
//! `/run/reinstate` leads to the sandbox's. sshd and the agent run in there, the clients outside. It needs root.
//!
//! What differs from an appliance: no PAM (`UsePAM no`), and so no password that has to be changed at once; one port of
//! loopback; the agent works on the sandbox's folder, not on `/`; no systemd; homes are in memory; the agent runs as
//! root, so its socket is given to its group from here.

mod client;
mod session;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::appliance::{Appliance, shipped_sshd_config};
use crate::machine::Machine;
use crate::{must, outside};

pub use client::{Client, Said};
pub use session::Session;

/// Who may log in, by the class of what they may do.
pub const ADMIN: &str = "admin";
pub const OPERATOR: &str = "operator";

const SHELL: &str = "/usr/bin/reinstate-shell";

/// Which no appliance of the harness has otherwise.
const OPERATOR_ID: u32 = 1100;

/// Makes the namespace: what is where, then it waits until its input ends.
/// $1 the multi-call program, $2 the appliance's root, $3 sshd_config, $4 a folder for the layers.
const PLACES: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 layers "$4"
mkdir -p "$4/upper/bin" "$4/upper/lib/reinstate" "$4/work"
touch "$4/upper/bin/reinstate-shell" "$4/upper/lib/reinstate/sftp" "$4/upper/lib/reinstate/sshd_config"
mount -t overlay -o "lowerdir=/usr,upperdir=$4/upper,workdir=$4/work" usr /usr
mount --bind "$1" /usr/bin/reinstate-shell
mount --bind "$1" /usr/lib/reinstate/sftp
mount --bind "$3" /usr/lib/reinstate/sshd_config
mount -t tmpfs -o mode=755 run /run
mkdir -m 755 /run/sshd
ln -s "$2/run/reinstate" /run/reinstate
mount -t tmpfs -o mode=755 home /home
mount --bind "$2/etc" /etc
for user in admin:1000 operator:1100; do
  mkdir -p "/home/${user%:*}/.ssh"
  cp "$4/../authorized_keys" "/home/${user%:*}/.ssh/authorized_keys"
  chown -R "${user#*:}:${user#*:}" "/home/${user%:*}"
  chmod -R go= "/home/${user%:*}/.ssh"
done
echo ready
read -r _ || true
"#;

/// An appliance that people log in to. Dropping it ends everything that it started.
pub struct Login {
    pub machine: Machine,
    sshd: Child,
    door: SocketAddr,
    namespace: Namespace,
    place: TempDir,
}

/// Of mounts; it lives as long as this does.
struct Namespace {
    holder: Child,
    _input: ChildStdin,
}

impl Drop for Namespace {
    /// Sessions outlive the server that has forked them: whatever runs in the namespace ends.
    fn drop(&mut self) {
        let own = fs::read_link(format!("/proc/{}/ns/mnt", self.holder.id()));
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let id = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
            let namespace = fs::read_link(process.path().join("ns/mnt"));
            if let (Some(id), Ok(own), Ok(namespace)) = (id, &own, namespace)
                && *own == namespace
                && id != self.holder.id() as i32
            {
                let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            }
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Login {
    /// `program` is the multi-call binary.
    pub fn new(program: &str, appliance: &Appliance) -> Self {
        Self::with_lines(program, appliance, &[])
    }

    /// With more lines in the appliance's own `/etc/ssh/sshd_config`, at its end.
    pub fn with_lines(program: &str, appliance: &Appliance, lines: &[&str]) -> Self {
        let uid = nix::unistd::geteuid();
        assert!(uid.is_root(), "a login takes mounts and accounts of its own: run the tests as root");
        let place = tempfile::tempdir().unwrap();
        // People come through here to the agent's socket.
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = place.path().join("appliance");
        appliance.build(&root).unwrap();
        furnish(&root);
        let config = root.join("etc/ssh/sshd_config");
        let own = fs::read_to_string(&config).unwrap() + &lines.join("\n") + "\n";
        fs::write(&config, own).unwrap();
        must(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(place.path().join("key")),
        );
        fs::copy(place.path().join("key.pub"), place.path().join("authorized_keys")).unwrap();

        let namespace = Namespace::make(program, &root, place.path());
        let enter = place.path().join("enter");
        let script = format!(
            "#!/bin/sh\nexec nsenter --mount=/proc/{}/ns/mnt -- '{program}' \"$@\"\n",
            namespace.holder.id()
        );
        fs::write(&enter, script).unwrap();
        fs::set_permissions(&enter, fs::Permissions::from_mode(0o755)).unwrap();
        let mut machine = Machine::new(enter, &root);
        machine.start().unwrap();
        let (sshd, door) = serve(&namespace, place.path(), 0);
        let login = Self { machine, sshd, door, namespace, place };
        login.admit();
        login.remember();
        login
    }

    /// Gives the agent's socket to those who may ask it, as systemd does. A restart of the agent makes a new one.
    pub fn admit(&self) {
        let socket = self.machine.root().join(reinstate_api::SOCKET);
        let group = group_id(self.machine.root(), "reinstate-admin");
        let about = fs::metadata(&socket).unwrap();
        if about.mode() & 0o006 == 0 && about.gid() != group {
            chown(&socket, None, Some(group)).unwrap();
        }
    }

    /// What happens with a restart besides the agent's own: the SSH server starts with what is configured now, where it
    /// was before.
    pub fn restarted(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
        (self.sshd, self.door) = serve(&self.namespace, self.place.path(), self.door.port());
        self.admit();
        self.remember();
    }

    /// Where the SSH server is.
    pub fn door(&self) -> SocketAddr {
        self.door
    }

    /// What is in the appliance's backup folder.
    pub fn backups(&self) -> PathBuf {
        self.machine.root().join(reinstate_api::BACKUP_FOLDER)
    }

    /// A key that logs `admin` and `operator` in.
    pub fn key(&self) -> PathBuf {
        self.place.path().join("key")
    }

    /// The server's host key, as `known_hosts` has it.
    pub fn known_hosts(&self) -> PathBuf {
        self.place.path().join("known_hosts")
    }

    pub fn password(&self, user: &str) -> String {
        password(user)
    }

    /// A client that logs in with the key.
    pub fn client(&self, user: &str) -> Client {
        Client::with_key(user, self.door, &self.known_hosts(), &self.key())
    }

    pub fn client_with_password(&self, user: &str, password: &str) -> Client {
        Client::with_password(user, self.door, &self.known_hosts(), password)
    }

    /// A program that sees what sshd and the agent see.
    pub fn inside(&self, program: &str) -> Command {
        self.namespace.run(program)
    }

    /// What sshd has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("sshd.log")).unwrap_or_default()
    }

    fn remember(&self) {
        let keys = Command::new("ssh-keyscan")
            .args(["-p", &self.door.port().to_string(), &self.door.ip().to_string()])
            .output()
            .unwrap();
        assert!(!keys.stdout.is_empty(), "sshd shows no host key: {}", self.log());
        fs::write(self.known_hosts(), keys.stdout).unwrap();
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

impl Namespace {
    fn make(program: &str, root: &Path, place: &Path) -> Self {
        let layers = place.join("layers");
        fs::create_dir(&layers).unwrap();
        let log = fs::File::create(place.join("namespace.log")).unwrap();
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", PLACES, "sh", program])
            .args([root, &shipped_sshd_config(), &layers])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let input = holder.stdin.take().unwrap();
        let mut said = String::new();
        let mut output = std::io::BufReader::new(holder.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut said).unwrap();
        let log = fs::read_to_string(place.join("namespace.log")).unwrap();
        assert_eq!(said, "ready\n", "the namespace cannot be made: {log}");
        Self { holder, _input: input }
    }

    fn run(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).args(["--", program]);
        command
    }
}

/// On that port, or on a free one where it is 0.
fn serve(namespace: &Namespace, place: &Path, port: u16) -> (Child, SocketAddr) {
    // Another process may take the port before the server does.
    for _ in 0..5 {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let port = if port == 0 { free() } else { port };
        let door = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = fs::File::create(place.join("sshd.log")).unwrap();
        let mut sshd = namespace
            .run("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", "/usr/lib/reinstate/sshd_config"])
            .args(["-o", "UsePAM=no", "-o", "PidFile=none", "-o"])
            .arg(format!("ListenAddress={door}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end && sshd.try_wait().unwrap().is_none() {
            if outside::answers(door, Duration::from_secs(1)) {
                return (sshd, door);
            }
            sleep(Duration::from_millis(10));
        }
        let _ = sshd.kill();
        let _ = sshd.wait();
        eprintln!("sshd did not start: {}", fs::read_to_string(place.join("sshd.log")).unwrap());
    }
    panic!("sshd does not start");
}

fn password(user: &str) -> String {
    format!("{user} knows 1 password")
}

/// Passwords that are known, the operator, and what of `/etc` is the image's.
fn furnish(root: &Path) {
    let etc = root.join("etc");
    let change = |name: &str, change: &dyn Fn(String) -> String| {
        let path = etc.join(name);
        let text = fs::read_to_string(&path).unwrap();
        // Written in place: owner and mode stay.
        fs::write(&path, change(text)).unwrap();
    };
    change("passwd", &|text| {
        text + &format!("{OPERATOR}:x:{OPERATOR_ID}:{OPERATOR_ID}::/home/{OPERATOR}:{SHELL}\n")
    });
    let join = |text: String| {
        let lines = text.lines().map(|line| match line.starts_with("reinstate-operator:") {
            true => format!("{line}{OPERATOR}\n"),
            false => format!("{line}\n"),
        });
        lines.collect::<String>()
    };
    change("group", &|text| join(text) + &format!("{OPERATOR}:x:{OPERATOR_ID}:\n"));
    change("gshadow", &|text| join(text) + &format!("{OPERATOR}:!::\n"));
    for user in [ADMIN, OPERATOR] {
        set_password(root, user, &password(user));
    }
    for name in ["protocols", "services", "nsswitch.conf", "ld.so.cache"] {
        let (from, to) = (Path::new("/etc").join(name), etc.join(name));
        if from.exists() && !to.exists() {
            fs::copy(from, to).unwrap();
        }
    }
}

/// Gives an account a password, in an appliance's folder.
pub fn set_password(root: &Path, user: &str, password: &str) {
    let path = root.join("etc/shadow");
    let text = fs::read_to_string(&path).unwrap();
    let others = text.lines().filter(|line| line.split(':').next() != Some(user)).map(str::to_owned);
    let own = format!("{user}:{}:19950:0:99999:7:::", crate::sshd::hashed(password));
    let lines: String = others.chain([own]).map(|line| line + "\n").collect();
    // Written in place: owner and mode stay.
    fs::write(&path, lines).unwrap();
}

fn group_id(root: &Path, name: &str) -> u32 {
    let groups = fs::read_to_string(root.join("etc/group")).unwrap();
    let line = groups.lines().find(|line| line.split(':').next() == Some(name));
    line.and_then(|line| line.split(':').nth(2)?.parse().ok()).unwrap()
}
