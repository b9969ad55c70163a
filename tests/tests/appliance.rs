//! What an admin asks about the appliance itself, who may ask, and its power.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reinstate_api::{
    Access, BackupEntry, Created, Disk, InterfaceView, Log, Method, Network, Pinged, Session, Ssh, Time,
    UserView,
};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::link::Host;
use reinstate_tests::machine::Machine;
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_sandbox");

/// What takes a moment has happened by then.
const SOON: Duration = Duration::from_secs(10);

fn start(appliance: &Appliance) -> (TempDir, Machine) {
    start_as(BINARY, appliance)
}

fn start_as(program: impl Into<PathBuf>, appliance: &Appliance) -> (TempDir, Machine) {
    let root = tempfile::tempdir().unwrap();
    appliance.build(root.path()).unwrap();
    // Others than its owner reach the socket.
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut machine = Machine::new(program, root.path());
    machine.start().unwrap();
    (root, machine)
}

fn code(answer: &Value) -> &str {
    answer["failures"][0]["code"].as_str().unwrap_or_default()
}

#[test]
fn the_network_is_shown_as_configured_with_the_state_of_the_link() {
    let (_root, machine) = start(&Appliance::donor("fw-a"));
    let network: Network = machine.client().get("/v1/network").unwrap();
    assert_eq!(network.hostname, "fw-a");
    assert_eq!(network.dns_servers, ["192.0.2.53", "2001:db8::53"]);
    assert_eq!(network.search_domains, ["example.net"]);
    let management = network.management;
    assert_eq!((management.name.as_str(), management.kernel.as_str()), ("management0", "ens160"));
    assert_eq!((management.enabled, management.link, management.mtu), (Some(true), Some(true), Some(1500)));
    assert_eq!((management.ipv4.method, management.ipv6.method), (Method::Manual, Method::Manual));
    assert_eq!(management.ipv4.addresses, ["192.0.2.10/24"]);
    assert_eq!(management.ipv4.gateway.as_deref(), Some("192.0.2.1"));
    assert_eq!(management.ipv6.gateway.as_deref(), Some("2001:db8::1"));
    assert_eq!(management.addresses, ["192.0.2.10/24", "2001:db8::10/64"]);
    assert!(management.mac.starts_with("00:50:56:"), "{}", management.mac);
}

#[test]
fn interfaces_are_shown_in_bus_order_and_those_that_are_missing_last() {
    let (_root, machine) = start(&Appliance::donor("fw-a").without_interface("0000:1b:00.0"));
    let interfaces: Vec<InterfaceView> = machine.client().get("/v1/interfaces").unwrap();
    let names: Vec<_> = interfaces.iter().map(|view| (view.name.as_str(), view.kernel.as_str())).collect();
    let here = [("management0", "ens160"), ("failover0", "ens192"), ("data0", "ens224"), ("data1", "")];
    assert_eq!(names, here);
    assert_eq!(
        interfaces.iter().map(|view| view.management).collect::<Vec<_>>(),
        [true, false, false, false]
    );
    assert_eq!(interfaces[2].addresses, ["2001:db8:10::1/64"]);
    let missing = &interfaces[3];
    assert_eq!((missing.link, missing.mtu, missing.mac.as_str()), (None, None, ""));
    assert_eq!(missing.ipv6.addresses, ["2001:db8:20::1/64"], "configured all the same");
    assert!(missing.addresses.is_empty(), "and not there");
}

#[test]
fn a_link_that_is_down_and_values_that_make_no_sense_are_shown_as_that() {
    let (root, machine) = start(&Appliance::replacement());
    let link = fs::canonicalize(root.path().join("sys/devices")).unwrap();
    let card = find(&link, "eth0");
    for (file, text) in [("flags", "0x1002\n"), ("operstate", "down\n"), ("mtu", "many\n")] {
        replace(&card.join(file), text);
    }
    fs::remove_file(card.join("carrier")).unwrap();
    let network = root.path().join("etc/systemd/network/10-management0.network");
    let long = "9".repeat(10_000);
    replace(
        &network,
        &format!("[Network]\nAddress={long}\nGateway={long}\nDNS={long}\nDHCP={long}\nDomains={long}\n"),
    );
    let shown: Network = machine.client().get("/v1/network").unwrap();
    let management = shown.management;
    assert_eq!((management.enabled, management.link, management.mtu), (Some(false), Some(false), None));
    assert_eq!(management.ipv4.method, Method::Disabled);
    assert!(shown.dns_servers.is_empty() && shown.search_domains.is_empty());

    replace(&network, &"#".repeat(100_000));
    let (status, answer) = machine.client().call("GET", "/v1/network", None).unwrap();
    assert_eq!((status, code(&answer)), (500, "io"), "{answer}");
    assert!(answer.to_string().contains("10-management0.network"), "{answer}");
}

/// The folder of that name below another one.
fn find(below: &Path, name: &str) -> PathBuf {
    let mut left = vec![below.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_name() == name {
                return entry.path();
            }
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            }
        }
    }
    panic!("there is no {name}");
}

fn replace(path: &Path, text: &str) {
    fs::remove_file(path).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn the_disk_is_shown_with_what_of_it_is_the_agents() {
    let (_root, machine) = start(&Appliance::replacement());
    let client = machine.client();
    let before: Disk = client.get("/v1/disk").unwrap();
    assert!(before.file_systems[0].path == "/" && before.file_systems[0].size > before.file_systems[0].free);
    let made: Created = client.post("/v1/backups", &json!({})).unwrap();
    let after: Disk = client.get("/v1/disk").unwrap();
    assert_eq!(after.backups, before.backups + made.bytes);
}

#[test]
fn people_are_shown_with_what_they_may_do_and_whether_they_can_log_in() {
    let (root, machine) = start(&Appliance::donor("fw-a"));
    let edit = |file: &str, change: &dyn Fn(String) -> String| {
        let path = root.path().join("etc").join(file);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    };
    edit("passwd", &|text| text + "oper:x:1005:28::/:/usr/bin/reinstate-shell\nno\n:::\n");
    edit("shadow", &|text| text.replace("alice:$6$", "alice:!$6$"));
    let users: Vec<UserView> = machine.client().get("/v1/users").unwrap();
    let user = |name: &str, uid, access, locked| UserView { name: name.into(), uid, access, locked };
    let expected = [
        user("admin", 1000, Some(Access::Config), false),
        user("alice", 1001, None, true),
        user("oper", 1005, Some(Access::Basic), true),
    ];
    assert_eq!(users, expected);
}

#[test]
fn the_time_is_shown_with_its_zone_and_whether_it_is_kept() {
    let (root, machine) = start(&Appliance::donor("fw-a"));
    let time = || machine.client().get::<Time>("/v1/time").unwrap();
    assert_eq!((time().zone.as_str(), time().synchronized), ("Europe/Zurich", None));
    let timesync = root.path().join("run/systemd/timesync");
    fs::create_dir_all(&timesync).unwrap();
    assert_eq!(time().synchronized, Some(false));
    fs::write(timesync.join("synchronized"), "").unwrap();
    assert_eq!(time().synchronized, Some(true));
    assert!(time().uptime > 0);
    fs::remove_file(root.path().join("etc/localtime")).unwrap();
    assert_eq!(time().zone, "UTC");
}

#[test]
fn servers_whose_keys_are_known_are_shown_by_fingerprint() {
    let (root, machine) = start(&Appliance::donor("fw-a"));
    let key = fs::read_to_string(root.path().join("etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
    let accepted =
        format!("[192.0.2.41]:2222 {key}@revoked bad.example {key}half a line\n|1|c2FsdA==|aGFzaA== {key}");
    fs::write(root.path().join("var/lib/reinstate/known_hosts"), accepted).unwrap();
    let ssh: Ssh = machine.client().get("/v1/ssh").unwrap();
    let shown: Vec<_> = ssh.trusted_hosts.iter().map(|host| (host.host.as_str(), host.configured)).collect();
    let expected = [
        ("backup.example.net", true),
        ("192.0.2.40", true),
        ("[192.0.2.41]:2222", false),
        ("(hashed)", false),
    ];
    assert_eq!(shown, expected);
    let host = &ssh.trusted_hosts[2];
    assert_eq!(host.algorithm, "ssh-ed25519");
    assert_eq!(host.fingerprint, fingerprint(&root.path().join("etc/ssh/ssh_host_ed25519_key.pub")));
}

/// As OpenSSH shows it.
fn fingerprint(key: &Path) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(key).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn from_where_ssh_is_open_is_shown_as_networks() {
    let list = "etc/ssh/sshd_config.d/20-access-list.conf";
    let profile = format!("[ssh]\naccess-list = '/{list}'\n");
    let (root, machine) = start(&Appliance::donor("fw-a").profile_override(&profile));
    let shown = || machine.client().get::<Ssh>("/v1/ssh").unwrap().access_list;
    assert!(shown().is_empty(), "from everywhere");
    let text = "# Made.\nAllowUsers *@192.0.2.0/24\nAllowUsers *@2001:db8::/32 admin\n";
    fs::write(root.path().join(list), text).unwrap();
    assert_eq!(shown(), ["192.0.2.0/24", "2001:db8::/32", "admin"]);
}

/// Everything below a folder, by path.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => left.push(entry.path()),
                kind if kind.is_file() => files.push((entry.path(), fs::read(entry.path()).unwrap())),
                _ => {}
            }
        }
    }
    files
}

#[test]
fn the_tech_support_file_tells_of_the_appliance_and_holds_none_of_its_secrets() {
    let planted = |number: u32| format!("Planted-Secret-{number}");
    let psk = format!("secrets {{\n  ike-x {{\n    secret = \"{}\"\n  }}\n}}\n", planted(1));
    let vrrp = format!("vrrp_instance x {{\n  authentication {{\n    auth_pass {}\n  }}\n}}\n", planted(2));
    let wireguard = format!("[NetDev]\nName=wg0\nKind=wireguard\n[WireGuard]\nPrivateKey={}\n", planted(3));
    let (root, machine) = start(
        &Appliance::donor("fw-a")
            .file("etc/swanctl/conf.d/psk.conf", psk.clone(), 0o640)
            .file("etc/keepalived/keepalived.conf", vrrp, 0o640)
            .file("etc/systemd/network/40-wg0.netdev", wireguard, 0o640)
            .file("etc/systemd/network/wg.key", planted(4), 0o600)
            .file("etc/appliance/manager.key", planted(5), 0o600)
            .file("etc/appliance/ha/group.key", planted(6), 0o600)
            .file("etc/nftables.d/30-comment.nft", format!("# {}\n", planted(7)), 0o644)
            .file("etc/appliance/pki/private/world.pem", planted(8), 0o644)
            .file("etc/gshadow", format!("reinstate-admin:{}::admin\n", planted(9)), 0o640),
    );
    // What the configuration holds of keys and hashes, as it is.
    let mut secrets: Vec<String> = (1..=9).map(planted).collect();
    secrets.push("PERPETUAL-4711".into());
    let shadow = fs::read_to_string(root.path().join("etc/shadow")).unwrap();
    secrets.extend(
        shadow.lines().filter_map(|line| line.split(':').nth(1)).filter(|h| h.len() > 3).map(str::to_owned),
    );
    let (mut keys, mut digests) = (0, vec![reinstate_agent::tree::Digest::of(psk.as_bytes()).to_string()]);
    for (path, content) in files(&root.path().join("etc")) {
        let text = String::from_utf8_lossy(&content).into_owned();
        if text.contains("PRIVATE KEY") {
            keys += 1;
            secrets.extend(text.lines().filter(|line| !line.starts_with('-')).map(str::to_owned));
            digests.push(reinstate_agent::tree::Digest::of(&content).to_string());
        }
        assert!(!path.ends_with("shadow") || !text.is_empty());
    }
    assert!(keys >= 4 && secrets.len() > 30, "{keys} keys, {} secrets", secrets.len());

    let client = machine.client();
    let _: Created = client.post("/v1/backups", &json!({})).unwrap();
    let made: Created = client.post("/v1/tech-support", &json!({})).unwrap();
    let name = made.file.strip_suffix(".tech-support.tar.gz").unwrap();
    let (host, at) = name.split_once('_').unwrap();
    assert!(host == "fw-a" && at.len() == 14 && at.bytes().all(|b| b.is_ascii_digit()), "{name}");
    let backups = root.path().join("var/sf/backup");
    assert_eq!(fs::metadata(backups.join(&made.file)).unwrap().len(), made.bytes);
    assert!(!backups.join(format!("{}.part", made.file)).exists());

    let unpacked = tempfile::tempdir().unwrap();
    reinstate_tests::must(
        Command::new("tar").arg("-xzf").arg(backups.join(&made.file)).arg("-C").arg(unpacked.path()),
    );
    let inside = files(unpacked.path());
    for (path, content) in &inside {
        let text = String::from_utf8_lossy(content);
        for secret in secrets.iter().chain(&digests) {
            assert!(!text.contains(secret.as_str()), "{secret} is in {}", path.display());
        }
    }
    let told = |name: &str| {
        let (_, content) =
            inside.iter().find(|(path, _)| path.ends_with(name)).unwrap_or_else(|| panic!("no {name}"));
        String::from_utf8(content.clone()).unwrap()
    };
    for (file, word) in [
        ("about.txt", "Not in it"),
        ("version.json", env!("CARGO_PKG_VERSION")),
        ("facts.json", "VFW-100"),
        ("network.json", "192.0.2.53"),
        ("interfaces.json", "failover0"),
        ("disk.json", "free_inodes"),
        ("users.json", "alice"),
        ("time.json", "Europe/Zurich"),
        ("ssh.json", "backup.example.net"),
        ("status.json", "warnings"),
        ("history.json", "[]"),
        ("backups.json", "fw-a_"),
        ("generations.json", "0"),
        ("files.json", "/etc/swanctl/conf.d/psk.conf"),
        ("log.txt", "a tech-support file is made"),
    ] {
        let text = told(file);
        assert!(text.contains(word) && !text.contains("\"failures\""), "{file}: {text}");
    }
}

#[test]
fn a_tech_support_file_is_listed_as_what_it_is_and_no_backup() {
    let (_root, machine) = start(&Appliance::replacement());
    let client = machine.client();
    let made: Created = client.post("/v1/tech-support", &json!({})).unwrap();
    let listed: Vec<BackupEntry> = client.get("/v1/backups").unwrap();
    let entry = listed.iter().find(|entry| entry.file == made.file).unwrap();
    assert!(entry.tech_support && entry.details.is_none() && entry.problem.is_empty(), "{entry:?}");
    let backup: Created = client.post("/v1/backups", &json!({})).unwrap();
    let listed: Vec<BackupEntry> = client.get("/v1/backups").unwrap();
    assert!(listed.iter().any(|entry| entry.file == backup.file && !entry.tech_support));
}

#[test]
fn the_last_lines_of_the_log_are_shown_as_many_as_were_asked_for() {
    let (_root, machine) = start(&Appliance::replacement());
    let client = machine.client();
    fs::File::options()
        .append(true)
        .open(machine.log())
        .unwrap()
        .write_all(format!("\x1b[2J{}\nthe last line\n", "x".repeat(10_000)).as_bytes())
        .unwrap();
    let log: Log = client.get("/v1/log?lines=2").unwrap();
    assert_eq!(log.lines.len(), 2);
    assert!(log.lines[0].starts_with("\\u{1b}[2Jxxx") && log.lines[0].len() < 3000, "{:?}", log.lines);
    assert_eq!(log.lines[1], "the last line");
    assert!(client.get::<Log>("/v1/log").unwrap().lines.len() >= 2);
    for wrong in ["lines=0", "lines=10001", "lines=-1", "lines=", "lines=1&lines=2", "n=1"] {
        let (status, answer) = client.call("GET", &format!("/v1/log?{wrong}"), None).unwrap();
        assert_eq!((status, code(&answer)), (400, "bad-request"), "{wrong}: {answer}");
    }
}

/// A session that lasts as long as the value does.
struct Opened {
    _stream: BufReader<UnixStream>,
    session: Session,
}

fn open(root: &Path, from: &str) -> Result<Opened, Value> {
    let mut stream = UnixStream::connect(root.join(reinstate_api::SOCKET)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET /v1/session?from={from} HTTP/1.0\r\n\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    let (mut status, mut line) = (String::new(), String::from("-"));
    stream.read_line(&mut status).unwrap();
    while !line.trim().is_empty() {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    line.clear();
    stream.read_line(&mut line).unwrap();
    match status.contains(" 200 ") {
        true => Ok(Opened { session: serde_json::from_str(&line).unwrap(), _stream: stream }),
        false => Err(serde_json::from_str(&line).unwrap()),
    }
}

#[test]
fn a_session_says_who_may_what_and_lasts() {
    let (root, _machine) = start(&Appliance::replacement());
    let mut opened = open(root.path(), "ssh").unwrap();
    let Session { user, access, idle, setup, expert } = opened.session.clone();
    assert_eq!((user.as_str(), access, idle, setup, expert), ("root", Access::Config, 900, false, false));
    let stream = opened._stream.get_mut();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let silence = std::io::Read::read(stream, &mut [0]).unwrap_err();
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock, "it neither ends nor says more");
    for wrong in ["", "ftp", "ssh&from=console"] {
        let refused = open(root.path(), wrong).err().unwrap();
        assert_eq!(code(&refused), "bad-request", "{wrong}");
    }
}

#[test]
fn as_many_ssh_sessions_as_the_profile_says_and_always_one_on_the_console() {
    let (root, _machine) = start(&Appliance::replacement());
    let mut sessions: Vec<_> = (0..32).map(|_| open(root.path(), "ssh").unwrap()).collect();
    let refused = open(root.path(), "ssh").err().unwrap();
    assert_eq!(code(&refused), "too-many-sessions");
    assert!(refused.to_string().contains("32"), "{refused}");
    let console = open(root.path(), "console").unwrap();
    assert_eq!(console.session.user, "root");
    drop(console);
    assert!(open(root.path(), "ssh").is_err(), "the console's place is nobody else's");
    drop(sessions.pop());
    let until = Instant::now() + SOON;
    while open(root.path(), "ssh").is_err() {
        assert!(Instant::now() < until, "the place of a session that has ended is not given away");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_first_login_is_asked_for_until_its_mark_says_that_it_is_done() {
    let sessions = "[sessions]\nidle = 0\nssh = 1\n";
    let device = "etc/appliance/device.conf";
    let fresh = Appliance::replacement().file(device, "UUID=4711\nROLE=standalone\n", 0o644);
    let (root, _machine) = start(&fresh.profile_override(sessions));
    let mark = root.path().join(device);
    let session = || open(root.path(), "console").unwrap().session;
    assert!(session().setup && session().idle == 0);
    for (text, needed) in [("SETUP=\n", true), ("SETUP=done\n", false), ("SETUP=undone\n", true), ("", true)]
    {
        fs::write(&mark, text).unwrap();
        assert_eq!(session().setup, needed, "{text}");
    }
    let _one = open(root.path(), "ssh").unwrap();
    assert_eq!(code(&open(root.path(), "ssh").err().unwrap()), "too-many-sessions");
}

const ERIKA: u32 = 64201;
const OTTO: u32 = 64202;
const MALLORY: u32 = 64203;
const NOBODY_KNOWN: u32 = 64204;

const PEOPLE: &str =
    "erika:x:64201:64300::/:/bin/sh\notto:x:64202:64311::/:/bin/sh\nmallory:x:64203:64300::/:/bin/sh\n";
const GROUPS: &str = "reinstate-admin:x:64310:erika\nreinstate-operator:x:64311:\npeople:x:64300:\n";

/// The agent with account files of its own, in a mount namespace of its own: the machine's stay as they are.
fn with_accounts(folder: &Path) -> PathBuf {
    assert!(nix::unistd::geteuid().is_root(), "a mount namespace needs root: run the tests as root");
    for (name, lines) in [("passwd", PEOPLE), ("group", GROUPS)] {
        let machine = fs::read_to_string(format!("/etc/{name}")).unwrap();
        let others: String = machine
            .lines()
            .filter(|line| !line.starts_with("reinstate"))
            .fold(String::new(), |all, line| all + line + "\n");
        fs::write(folder.join(name), others + lines).unwrap();
    }
    let script = folder.join("on-its-own");
    let text = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {0}/passwd /etc/passwd && \
         mount --bind {0}/group /etc/group && exec {BINARY} \"$@\"' sh \"$@\"\n",
        folder.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// One request of another account's; the status and the body.
fn asks(root: &Path, uid: u32, method: &str, path: &str, body: &str) -> (u16, Value) {
    const CLIENT: &str = r#"use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0) or die $!;
        connect(S, pack_sockaddr_un(shift)) or die $!; syswrite S, shift; print while <S>;"#;
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
    let output = Command::new("perl")
        .args(["-e", CLIENT])
        .arg(root.join(reinstate_api::SOCKET))
        .arg(request)
        .uid(uid)
        .gid(64300)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer:?}"));
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn who_is_an_operator_looks_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (root, machine) = start_as(with_accounts(folder.path()), &Appliance::replacement());
    let made: Created = machine.client().post("/v1/backups", &json!({})).unwrap();
    for path in [
        "/v1/status",
        "/v1/version",
        "/v1/network",
        "/v1/interfaces",
        "/v1/disk",
        "/v1/users",
        "/v1/time",
        "/v1/ssh",
        "/v1/log",
        "/v1/history",
        "/v1/backups",
        "/v1/managers",
        "/v1/public-key",
        "/v1/texts",
    ] {
        let (status, answer) = asks(root.path(), OTTO, "GET", path, "");
        assert_eq!(status, 200, "{path}: {answer}");
    }
    let listed: Value = machine.client().get("/v1/backups").unwrap();
    assert_eq!(listed[0]["details"]["licence"], "EVALUATION-90");
    let (_, shown) = asks(root.path(), OTTO, "GET", "/v1/backups", "");
    assert_eq!((&shown[0]["file"], &shown[0]["details"]["licence"]), (&listed[0]["file"], &json!("")));
    let (status, answer) =
        asks(root.path(), OTTO, "POST", "/v1/ping", r#"{"host":"127.0.0.1","sequence":1}"#);
    assert_eq!(status, 200, "{answer}");
    let download = format!("/v1/files/{}", made.file);
    for (method, path, body) in [
        ("POST", "/v1/restore", json!({"source": {"backup": made.file}})),
        ("POST", "/v1/rollback", json!({})),
        ("POST", "/v1/factory", json!({})),
        ("POST", "/v1/answer", json!({"question": 1, "answer": "yes"})),
        ("POST", "/v1/abort", json!({})),
        ("POST", "/v1/confirm", json!({})),
        ("POST", "/v1/backups", json!({})),
        ("POST", "/v1/lock/clear", json!({})),
        ("POST", "/v1/tasks/acknowledge", json!({})),
        ("POST", "/v1/reboot", json!({})),
        ("POST", "/v1/shutdown", json!({})),
        ("DELETE", "/v1/manager", json!({})),
        ("GET", download.as_str(), json!(null)),
    ] {
        let (status, answer) = asks(root.path(), OTTO, method, path, &body.to_string());
        assert_eq!((status, code(&answer)), (403, "forbidden"), "{method} {path}: {answer}");
        let message = answer["failures"][0]["message"].as_str().unwrap();
        assert!(message.contains("otto") && message.contains("reinstate-admin"), "{message}");
    }
    assert!(machine.status().unwrap().job.is_none() && machine.reboots() == 0);
}

#[test]
fn who_is_in_neither_group_gets_nothing_and_hears_which_groups_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let (root, _machine) = start_as(with_accounts(folder.path()), &Appliance::replacement());
    for (uid, name) in [(MALLORY, "mallory"), (NOBODY_KNOWN, "uid 64204")] {
        for (method, path) in [("GET", "/v1/status"), ("GET", "/v1/nothing"), ("POST", "/v1/ping")] {
            let (status, answer) = asks(root.path(), uid, method, path, "");
            assert_eq!((status, code(&answer)), (403, "forbidden"), "{name} {path}: {answer}");
            let message = answer["failures"][0]["message"].as_str().unwrap();
            for word in [name, "reinstate-admin", "reinstate-operator"] {
                assert!(message.contains(word), "{message}");
            }
        }
    }
}

#[test]
fn membership_counts_from_the_next_request_on() {
    let folder = tempfile::tempdir().unwrap();
    let (root, _machine) = start_as(with_accounts(folder.path()), &Appliance::replacement());
    let may_change = |uid| asks(root.path(), uid, "POST", "/v1/abort", "{}").0 != 403;
    let session = |uid| asks(root.path(), uid, "GET", "/v1/status", "").0;
    assert!(may_change(ERIKA) && session(ERIKA) == 200);
    let group = folder.path().join("group");
    let text = fs::read_to_string(&group).unwrap();
    let swapped = text.replace("reinstate-admin:x:64310:erika", "reinstate-admin:x:64310:mallory");
    // In place: it is what the agent's namespace shows.
    fs::write(&group, swapped).unwrap();
    assert!(!may_change(ERIKA) && session(ERIKA) == 403);
    assert!(may_change(MALLORY) && session(MALLORY) == 200);
}

fn ping(machine: &Machine, host: &str) -> (u16, Value) {
    machine.client().call("POST", "/v1/ping", Some(&json!({"host": host, "sequence": 7}))).unwrap()
}

#[test]
fn a_host_that_answers_an_echo_is_told_from_one_that_is_silent_and_one_that_nothing_gets_to() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (Host::new(), Host::new());
    here.ip("link set dev lo up");
    here.connect(("eth0", "02:00:5e:00:53:01"), &there, ("eth9", "02:00:5e:00:53:02"));
    here.ip("address add 192.0.2.1/24 dev eth0");
    here.ip("address add 2001:db8::1/64 dev eth0 nodad");
    there.ip("address add 192.0.2.2/24 dev eth9");
    there.ip("address add 2001:db8::2/64 dev eth9 nodad");
    // It gets there, and nobody has that address.
    here.ip("neighbour add 192.0.2.9 lladdr 02:00:5e:00:53:02 dev eth0");
    here.ip("neighbour add 2001:db8::9 lladdr 02:00:5e:00:53:02 dev eth0");
    let (_root, machine) = start_as(here.script(folder.path(), BINARY), &Appliance::replacement());
    // With rights, and without: the latter as the real daemon does it.
    for groups in ["1 0", "0 2147483647"] {
        let set = format!("echo {groups} >/proc/sys/net/ipv4/ping_group_range");
        assert!(here.command("sh").args(["-c", &set]).status().unwrap().success());
        for host in ["127.0.0.1", "::1", "192.0.2.2", "2001:db8::2"] {
            let (status, answer) = ping(&machine, host);
            let pinged: Pinged =
                serde_json::from_value(answer).unwrap_or_else(|e| panic!("{host} {status}: {e}"));
            assert_eq!(pinged.address, host);
            assert!(pinged.time.is_some_and(|time| time > 0.0 && time < 1000.0), "{host}: {pinged:?}");
        }
        for host in ["192.0.2.9", "2001:db8::9"] {
            let (status, answer) = ping(&machine, host);
            assert_eq!((status, &answer), (200, &json!({"address": host, "time": null})));
        }
        for host in ["198.51.100.1", "2001:db8:f::1"] {
            let (_, answer) = ping(&machine, host);
            assert_eq!(code(&answer), "host-unreachable", "{host}: {answer}");
        }
    }
    let (_, answer) = ping(&machine, "nothing.invalid");
    assert_eq!(code(&answer), "name-unresolved", "{answer}");
    for wrong in [String::new(), "x".repeat(254)] {
        assert_eq!(code(&ping(&machine, &wrong).1), "bad-request", "{wrong}");
    }
}

#[test]
fn an_admin_restarts_the_appliance_and_switches_it_off() {
    let (_root, mut machine) = start(&Appliance::replacement());
    let _: Value = machine.client().post("/v1/reboot", &json!({})).unwrap();
    machine.wait_for_reboot(1).unwrap();
    assert!(machine.status().unwrap().last.is_none(), "a restart is no job");
    let _: Value = machine.client().post("/v1/shutdown", &json!({})).unwrap();
    machine.wait_for_power_off().unwrap();
    assert!(machine.status().is_err());
    machine.start().unwrap();
    let log = fs::read_to_string(machine.log()).unwrap();
    for what in ["restart asked for", "shutdown asked for"] {
        let line = log.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {log}"));
        assert!(line.contains("by=\"root\""), "{line}");
    }
}

#[test]
fn an_appliance_does_not_go_down_while_a_restore_waits_for_its_answer() {
    let (_root, machine) = start(&Appliance::replacement());
    let client = machine.client();
    let made: Created = client.post("/v1/backups", &json!({})).unwrap();
    let _: Value = client.post("/v1/restore", &json!({"source": {"backup": made.file}})).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while machine.status().unwrap().job.is_none_or(|job| job.question.is_none()) {
        assert!(Instant::now() < until, "nothing is asked: {:?}", machine.status());
        std::thread::sleep(Duration::from_millis(20));
    }
    for path in ["/v1/reboot", "/v1/shutdown"] {
        let (status, answer) = client.call("POST", path, Some(&json!({}))).unwrap();
        assert_eq!((status, code(&answer)), (409, "busy"), "{path}: {answer}");
    }
    let _: Value = client.post("/v1/abort", &json!({})).unwrap();
    machine.wait_until_idle().unwrap();
    assert_eq!(machine.reboots(), 0);
    let _: Value = client.post("/v1/reboot", &json!({})).unwrap();
    machine.wait_for_reboot(1).unwrap();
}
