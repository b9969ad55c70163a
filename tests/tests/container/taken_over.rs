//! A daemon taken over: what somebody can do who runs code of theirs in it. agent/THREATS.md says the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reinstate_agent::tree::Digest;
use reinstate_tests::container::{Container, apart};
use reinstate_tests::must;
use reinstate_tests::vm::{FACTORY_ADDRESS, Said};
use serde_json::{Value, json};

use crate::replacement::Replacement;

/// Code in a unit's place, with all that the unit is kept to. A shell plays it, which the units may not start.
const TAKEN_OVER: &str = "[Service]
Type=oneshot
Restart=no
WatchdogSec=0
RemainAfterExit=no
ExecStart=
ExecStart=/bin/sh
ExecPaths=/usr/bin /usr/sbin
StandardInput=file:/run/taken-over/does
StandardOutput=truncate:/run/taken-over/said
StandardError=append:/run/taken-over/said
";

/// The same without a way to start a shell.
const A_SHELL: &str =
    "[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\nExecStart=/bin/sh -c true\n";

/// Words for what has no program of its own: a system call, a socket, a request.
const WORDS: &str = r#"
call() { perl -e "syscall($1) == 0 or die qq(\$!\n)"; }
open_socket() { perl -MSocket -e "socket(S, $1) or die qq(\$!\n)"; }
ask() {
    perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("/run/reinstate/$ARGV[0].sock"))
        or die "$!\n"; syswrite S, "$ARGV[1]\n"; shutdown S, 1; print while <S>;' "$1" "$2"
}
"#;

/// The folders where a process may make files.
const WRITABLE: &str = "find / -writable -type d ! -path '/proc/*' -prune 2>/dev/null | sort";

const DAEMON: &str = "reinstated.service";

/// What the daemon's code tries in vain, and what it hears.
const REFUSED: [(&str, &str, &str); 25] = [
    ("read password hashes", "cat /etc/shadow", "Permission denied"),
    ("read a host key", "cat /etc/ssh/ssh_host_ed25519_key", "Permission denied"),
    ("read the group's key", "cat /etc/appliance/ha/group.key", "Permission denied"),
    ("read a VPN key", "cat /etc/swanctl/private/taken.key", "Permission denied"),
    ("read unsealed keys", "ls /run/reinstate/secrets/etc", "Permission denied"),
    ("change accounts", "echo evil >>/etc/passwd", "Permission denied"),
    ("change a program", "echo evil >>/usr/sbin/reinstated", "Permission denied"),
    ("change the boot loader", "touch /boot/evil", "Read-only file system"),
    ("add a unit", "touch /etc/systemd/system/evil.service", "Read-only file system"),
    ("add a unit for this boot", "touch /run/systemd/system/evil.service", "Read-only file system"),
    ("say that all is whole", "rm /run/reinstate/broken", "Read-only file system"),
    ("put a link in its folder's place", "mv /var/lib/reinstate /var/lib/evil", "Read-only file system"),
    ("become root", r#"perl -MPOSIX -e 'setuid(0) or die "$!\n"'"#, "Operation not permitted"),
    ("mount", "call '165, 0, 0, 0, 0, 0'", "Operation not permitted"),
    ("load a module", "call '175, 0, 0, 0'", "Operation not permitted"),
    ("make a user namespace", "call '272, 0x10000000'", "Operation not permitted"),
    ("trace a process", "call '101, 16, 1, 0, 0'", "Operation not permitted"),
    ("load a program into the kernel", "call '321, 0, 0, 0'", "Operation not permitted"),
    ("restart the kernel", "call '169, 0, 0, 0, 0'", "Operation not permitted"),
    ("name the host", "call '170, 0, 0'", "Operation not permitted"),
    ("open a raw socket", "open_socket 'AF_INET, SOCK_RAW, 1'", "Operation not permitted"),
    ("send frames", "open_socket '17, SOCK_RAW, 0'", "not supported"),
    ("see another's process", "ls /proc/1", "No such file"),
    ("end another's process", "kill -9 1", "not permitted"),
    ("tell systemd to stop", "systemctl --no-ask-password stop ssh.service", "Access denied"),
];

/// What it asks others for in vain: the socket, the request, a word of the answer.
const NOT_DONE: [(&str, &str, &str); 14] = [
    ("root", r#"{"verb":"serve","values":[]}"#, "'serve' is not for this socket"),
    ("root", r#"{"verb":"activate","values":[]}"#, "'activate' is not for this socket"),
    ("root", r#"{"verb":"confine","values":["1","ssh"]}"#, "'confine' is not for this socket"),
    ("root", r#"{"verb":"validate","values":["1"]}"#, "'validate' is not for this socket"),
    ("root", r#"{"verb":"probe","values":[]}"#, "request is refused"),
    ("root", r#"{"verb":"sh","values":["-c","id"]}"#, "there is no command 'sh'"),
    ("root", r#"{"verb":"scan","values":["--root","/tmp"]}"#, "request is refused"),
    ("root", r#"{"verb":"scan","values":[],"root":"/tmp"}"#, "unknown field"),
    ("root", r#"{"verb":"snapshot","values":["../../../etc/evil","x"]}"#, "request is refused"),
    ("root", r#"{"verb":"import","values":["../../etc/shadow"]}"#, "failed"),
    ("root", r#"{"verb":"inactive","values":["--version"]}"#, "is no unit's name"),
    ("check", r#"{"verb":"snapshot","values":["7","x"]}"#, "'snapshot' is not for this socket"),
    ("check", r#"{"verb":"validate","values":["../1"]}"#, "request is refused"),
    ("network", r#"{"verb":"scan","values":[]}"#, "'scan' is not for this socket"),
];

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_daemon_taken_over_reads_and_changes_nothing_but_its_own_folders_and_gets_no_rights() {
    apart("taken-over", |site| {
        let new = Replacement::boot(site);
        for file in ["/etc/appliance/ha/group.key", "/etc/swanctl/private/taken.key", "/run/reinstate/broken"]
        {
            new.container.look(&format!("install -D -m 600 /dev/null {file}"));
        }
        new.container.look("install -d -m 700 /run/reinstate/secrets");
        let old = new.container.look("reinstated scan");

        new.container.drop_in(DAEMON, A_SHELL);
        let said = new.container.said(&format!("systemctl daemon-reload; systemctl restart {DAEMON}"), "");
        assert!(!said.ok, "the daemon's code can start a shell");
        let why = new.container.look(&format!("systemctl show -P ExecMainStatus {DAEMON}"));
        assert_eq!(why, "203\n", "not executed");

        let daemon = Taken::over(&new.container, DAEMON, DAEMON);
        for (what, command, expected) in REFUSED {
            let said = daemon.does(command);
            assert!(!said.ok && said.out.contains(expected), "{what}: {said:?}");
        }
        for (socket, request, expected) in NOT_DONE {
            let said = daemon.does(&format!("ask {socket} '{request}'"));
            assert!(said.out.contains("failed") && said.out.contains(expected), "{request}: {said:?}");
        }
        let status = daemon.does("cat /proc/self/status").out;
        for line in
            ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
        {
            assert!(status.contains(line), "{line} is not in {status}");
        }
        let writable = daemon.does(WRITABLE).out;
        let own = ["/dev/mqueue", "/dev/shm", "/tmp", "/var/lib/reinstate", "/var/sf/backup", "/var/tmp"];
        assert_eq!(writable.lines().collect::<Vec<_>>(), own);
        for folder in own {
            let said = daemon.does(&format!("cp /bin/true {folder}/evil; {folder}/evil"));
            assert!(!said.ok && said.out.contains("Permission denied"), "a program in {folder}: {said:?}");
        }
        assert_eq!(new.container.look("reinstated scan"), old);
    });
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_daemon_taken_over_has_made_live_what_a_backup_could_bring_and_nothing_else() {
    apart("taken-over-forger", |site| {
        let mut new = Replacement::boot(site);
        let daemon = Taken::over(&new.container, DAEMON, DAEMON);
        // What it can do: have the configuration copied, keys and all.
        daemon.asks("root", "snapshot", &["1", "taken over"]);
        daemon.must("cd /var/lib/reinstate/generations/1 && cat seal.key tree/etc/shadow");
        let forger = Forger { folder: new.container.root().join("var/lib/reinstate") };
        let old = new.container.look("reinstated scan");

        // A store that leads elsewhere is none.
        daemon.must("cd /var/lib/reinstate && mv generations kept && ln -s /etc generations");
        let said = daemon.asks("root", "snapshot", &["7", "evil"]);
        assert!(said.contains("failed"), "{said}");
        new.container.look("test ! -e /etc/7");
        daemon.must("cd /var/lib/reinstate && rm generations && mv kept generations");

        let forgeries: [(&str, &str, Change); 9] = [
            ("a second root", "line-refused", |f| f.append("etc/passwd", "evil:x:0:0::/root:/bin/sh\n")),
            ("a group of root's", "account-refused", |f| f.append("etc/group", "evil:x:0:admin\n")),
            ("a command at each login", "line-refused", |f| {
                f.append("etc/ssh/sshd_config", "ForceCommand evil\n");
            }),
            ("a script of the HA engine", "line-refused", |f| {
                let script = "vrrp_instance a {\n  notify /tmp/evil\n}\n";
                f.put("ha", "etc/keepalived/keepalived.conf", script);
            }),
            ("a path that no domain owns", "path-not-owned", |f| {
                f.put("system", "etc/systemd/system/evil.service", "[Service]\nExecStart=/tmp/evil\n");
            }),
            ("a path that leads out", "is damaged", |f| {
                f.line("etc/hostname")["path"] = json!("etc/../root/evil");
            }),
            ("a set-user-id bit", "path-not-owned", |f| f.line("etc/hostname")["mode"] = json!(0o4755)),
            ("a link in the tree", "symbolic links", |f| {
                let file = f.folder.join("tree/etc/hostname");
                fs::remove_file(&file).unwrap();
                std::os::unix::fs::symlink("/etc/shadow", file).unwrap();
            }),
            ("a file that is another now", "digest-mismatch", |f| {
                fs::write(f.folder.join("tree/etc/hostname"), "evil\n").unwrap();
            }),
        ];
        for (number, (what, expected, change)) in (10..).zip(forgeries) {
            forger.commit(number, change);
            let said = daemon.asks("root", "activate-now", &[]) + &forger.state();
            assert!(said.contains(expected), "{what}: {expected} is expected: {said}");
            assert_eq!(new.container.look("reinstated scan"), old, "{what}");
        }

        // What it can do: have a configuration made live that holds nothing refused.
        forger.commit(30, |f| {
            f.put("system", "etc/hosts", "192.0.2.66 update.example\n");
            f.append("etc/passwd", "evil:x:1999:1999::/:/usr/bin/reinstate-shell\n");
            f.append("etc/group", "evil:x:1999:\n");
        });
        let said = daemon.asks("root", "activate-now", &[]);
        assert!(said.contains("done"), "{said}");
        assert_eq!(new.container.look("cat /etc/hosts"), "192.0.2.66 update.example\n");
        new.container.look("getent passwd evil");
        forger.commit(1, |_| ());
        daemon.asks("root", "activate-now", &[]);
        assert_eq!(new.container.look("reinstated scan"), old);

        // What it can do: ask for a restart. Nothing more is activated there.
        forger.commit(31, |f| f.append("etc/passwd", "evil:x:0:0::/root:/bin/sh\n"));
        daemon.write(&request("root", "reboot", &[]));
        new.container.look(&format!("systemctl start --no-block {DAEMON}"));
        new.container.restarts();
        new.container.wait_for_ssh(FACTORY_ADDRESS);
        assert_eq!(new.container.look("reinstated scan"), old);
        new.container.wait_for_boot();
        new.container.mend(DAEMON);
        new.container.look(&format!("systemctl reset-failed {DAEMON}; systemctl restart {DAEMON}"));
        let shown = new.end_of_job();
        assert!(shown.contains(": rolled back") && shown.contains("[line-refused]"), "{shown}");
    });
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn what_has_rights_has_no_network_and_what_has_the_network_has_no_files() {
    apart("taken-over-helpers", |site| {
        let new = Replacement::boot(site);
        // It sees the appliance's interfaces, and opens no way to them: IPv4, IPv6, netlink, packets.
        let root = Taken::over(&new.container, "reinstate-root@.service", "reinstate-root@taken.service");
        for family in [2, 10, 16, 17] {
            let said = root.does(&format!("perl -e 'socket(S, {family}, 2, 0) and exit; die \"$!\\n\"'"));
            assert!(!said.ok && said.out.contains("not supported"), "{family}: {said:?}");
        }
        for (unit, instance) in [
            ("reinstate-check@.service", "reinstate-check@taken.service"),
            ("reinstate-activate.service", "reinstate-activate.service"),
        ] {
            let process = Taken::over(&new.container, unit, instance);
            let links = process.does("grep -o '[a-z0-9]*:' /proc/net/dev").out;
            assert_eq!(links, "lo:\n", "{unit}");
        }
        let probe =
            Taken::over(&new.container, "reinstate-network@.service", "reinstate-network@taken.service");
        for folder in ["/etc", "/var", "/boot", "/run/reinstate"] {
            let said = probe.does(&format!("ls {folder}"));
            assert!(!said.ok && said.out.contains("Permission denied"), "{folder}: {said:?}");
        }
        let writable = probe.does(WRITABLE).out;
        assert_eq!(writable.lines().collect::<Vec<_>>(), ["/dev/mqueue", "/dev/shm", "/tmp"]);
        // Raw sockets and addresses of interfaces.
        let status = probe.does("cat /proc/self/status").out;
        assert!(status.contains("CapBnd:\t0000000000003000"), "{status}");
    });
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn memory_tasks_and_files_of_each_process_have_a_limit() {
    apart("taken-over-limits", |site| {
        let new = Replacement::boot(site);
        for unit in [
            DAEMON,
            "reinstate-root@x.service",
            "reinstate-check@x.service",
            "reinstate-network@x.service",
            "reinstate-activate.service",
            "reinstate-rescue.service",
            "reinstate-zero-touch.service",
        ] {
            for (limit, most) in [("MemoryMax", 1 << 30), ("TasksMax", 64), ("LimitNOFILE", 1024)] {
                let set = new.container.look(&format!("systemctl show -P {limit} {unit}"));
                let set: u64 = set.trim().parse().unwrap_or_else(|_| panic!("{limit} of {unit} is {set}"));
                assert!(set <= most, "{limit} of {unit} is {set}");
            }
        }
    });
}

/// A unit whose code is somebody else's.
struct Taken<'a, 'b> {
    container: &'a Container<'b>,
    unit: String,
}

impl<'a, 'b> Taken<'a, 'b> {
    /// `unit` is the one with this drop-in, or an instance of it.
    fn over(container: &'a Container<'b>, with: &str, unit: &str) -> Self {
        container.drop_in(with, TAKEN_OVER);
        container.look(&format!("mkdir -p /run/taken-over; systemctl daemon-reload; systemctl stop {unit}"));
        Self { container, unit: unit.to_owned() }
    }

    fn write(&self, script: &str) {
        let said = self.container.said("cat >/run/taken-over/does", format!("{WORDS}{script}\n"));
        assert!(said.ok, "{said:?}");
    }

    fn does(&self, script: &str) -> Said {
        self.write(script);
        let unit = &self.unit;
        let start =
            format!("systemctl start {unit} 2>/dev/null; ended=$?; cat /run/taken-over/said; exit $ended");
        self.container.said(&start, "")
    }

    fn must(&self, script: &str) {
        let said = self.does(script);
        assert!(said.ok, "`{script}`: {said:?}");
    }

    fn asks(&self, socket: &str, verb: &str, values: &[&str]) -> String {
        self.does(&request(socket, verb, values)).out
    }
}

fn request(socket: &str, verb: &str, values: &[&str]) -> String {
    format!("ask {socket} '{}'", json!({"verb": verb, "values": values}))
}

type Change = fn(&mut Forgery);

/// Makes generations, and commits them.
struct Forger {
    folder: PathBuf,
}

impl Forger {
    fn commit(&self, number: u64, change: impl FnOnce(&mut Forgery)) {
        if number != 1 {
            let mut forgery = Forgery::of_first(&self.folder.join("generations"), number);
            change(&mut forgery);
            forgery.finish(number);
        }
        let path = self.folder.join("state.toml");
        let mut state: toml::Table = self.state().parse().unwrap();
        let job = format!(
            "id = \"6f9a55a7-0000-4000-8000-{number:012}\"\nkind = \"restore\"\nsource = \"nothing\"\nby = \"nobody\"\n\
             started = \"2026-01-01T00:00:00Z\"\n[stage]\nat = \"pending\"\ntarget = {number}\nfrom = 1\n"
        );
        state.insert("job".into(), job.parse::<toml::Table>().unwrap().into());
        state.insert("next".into(), 100.into());
        fs::write(path, state.to_string()).unwrap();
    }

    fn state(&self) -> String {
        // It is written at the first change.
        fs::read_to_string(self.folder.join("state.toml"))
            .unwrap_or_else(|_| "format = 1\nrevision = 0\nactive = 0\nnext = 1\n".to_owned())
    }
}

/// A copy of generation 1 with something else in it, all digests right.
struct Forgery {
    folder: PathBuf,
    lines: Vec<Value>,
}

impl Forgery {
    fn of_first(generations: &Path, number: u64) -> Self {
        let folder = generations.join(number.to_string());
        must(Command::new("cp").arg("-a").arg(generations.join("1")).arg(&folder));
        let index = fs::read_to_string(folder.join("index.jsonl")).unwrap();
        let lines = index.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { folder, lines }
    }

    fn line(&mut self, path: &str) -> &mut Value {
        let found = self.lines.iter_mut().find(|line| line["path"] == path);
        found.unwrap_or_else(|| panic!("{path} is in no domain"))
    }

    fn append(&mut self, path: &str, text: &str) {
        let content = fs::read_to_string(self.folder.join("tree").join(path)).unwrap() + text;
        let domain = self.line(path)["domain"].as_str().unwrap().to_owned();
        self.put(&domain, path, &content);
    }

    fn put(&mut self, domain: &str, path: &str, content: &str) {
        let file = self.folder.join("tree").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
        self.lines.retain(|line| line["path"] != path);
        let digest = Digest::of(content.as_bytes()).to_string();
        self.lines.push(json!({
            "domain": domain, "path": path, "mode": 0o644, "owner": "root", "group": "root",
            "kind": "file", "size": content.len(), "sha256": digest,
        }));
    }

    fn finish(self, number: u64) {
        let index: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.folder.join("index.jsonl"), &index).unwrap();
        let record = self.folder.join("generation.toml");
        let mut table: toml::Table = fs::read_to_string(&record).unwrap().parse().unwrap();
        table.insert("number".into(), i64::try_from(number).unwrap().into());
        table.insert("index_sha256".into(), Digest::of(index.as_bytes()).to_string().into());
        fs::write(record, table.to_string()).unwrap();
    }
}
