//! The same restore from real OpenSSH servers: by SFTP and by legacy SCP, with the device's key and
//! with a password, over IPv4 and IPv6.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString};
use reinstate_api::Failure;
use reinstate_tests::appliance::Appliance;
use reinstate_tests::compare::{Kind, Tree, domains};
use reinstate_tests::sshd::{Account, Sshd, SshdOptions};

use crate::scene::{FILE, PROGRAM, Scene};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn a_restore_by_sftp_with_the_devices_key_over_ipv4_makes_the_replacement_the_donor() {
    restore_with_key(true, V4);
}

#[test]
fn a_restore_by_sftp_with_the_devices_key_over_ipv6_makes_the_replacement_the_donor() {
    restore_with_key(true, V6);
}

#[test]
fn a_restore_by_legacy_scp_with_the_devices_key_over_ipv4_makes_the_replacement_the_donor() {
    restore_with_key(false, V4);
}

#[test]
fn a_restore_by_legacy_scp_with_the_devices_key_over_ipv6_makes_the_replacement_the_donor() {
    restore_with_key(false, V6);
}

#[test]
fn a_restore_by_sftp_with_a_password_over_ipv4_leaves_the_password_nowhere() {
    restore_with_password(true, V4);
}

#[test]
fn a_restore_by_sftp_with_a_password_over_ipv6_leaves_the_password_nowhere() {
    restore_with_password(true, V6);
}

#[test]
fn a_restore_by_legacy_scp_with_a_password_over_ipv4_leaves_the_password_nowhere() {
    restore_with_password(false, V4);
}

#[test]
fn a_restore_by_legacy_scp_with_a_password_over_ipv6_leaves_the_password_nowhere() {
    restore_with_password(false, V6);
}

fn restore_with_key(sftp: bool, listen: IpAddr) {
    let scene = Scene::new(Appliance::replacement());
    fs::remove_file(scene.kept(FILE)).unwrap();
    let authorized_keys = vec![scene.public_key()];
    let server = Sshd::start(&SshdOptions { sftp, listen, authorized_keys, ..SshdOptions::default() });
    let said = scene.say(&scene.from(server.address(), server.user(), FILE, ""), "yes\nY\n");
    assert_eq!(said.status, Some(0), "{said:?}\n{}", server.log());
    assert!(said.text.contains("System will now reboot"), "{said:?}");
    assert_eq!(said.text.contains("no SFTP; using legacy SCP"), !sftp, "{said:?}");
    assert!(!said.text.contains("password:"), "{said:?}");
    finished(&scene);
}

fn restore_with_password(sftp: bool, listen: IpAddr) {
    let password = Alphanumeric.sample_string(&mut rand::rng(), 24);
    let account = Some(Account { name: "backup-reader".into(), password: password.clone() });
    let scene = Scene::new(Appliance::replacement());
    fs::remove_file(scene.kept(FILE)).unwrap();
    let server = Sshd::start(&SshdOptions { sftp, listen, account, ..SshdOptions::default() });
    let processes = ProcessList::watch(&password);
    let command = scene.from(server.address(), server.user(), FILE, "");
    let said = scene.say(&command, &format!("yes\n{password}\nY\n"));
    assert_eq!(said.status, Some(0), "{said:?}\n{}", server.log());
    assert!(said.text.contains("backup-reader@"), "{said:?}");
    finished(&scene);
    processes.never_showed_it();
    assert!(!said.text.contains(&password), "the shell shows the password");
    let log = fs::read(scene.machine.log()).unwrap();
    assert!(!holds(&log, password.as_bytes()), "the password is in the agent's log");
    let tree = Tree::read(scene.root(), &[]).unwrap();
    assert_eq!(holders(&tree, password.as_bytes()), Vec::<&str>::new());
}

/// What every restore has to end with.
fn finished(scene: &Scene) {
    scene.restored(1);
    assert_eq!(fs::read(scene.kept(FILE)).unwrap(), scene.donor.archive);
    assert!(!scene.kept(&format!("{FILE}.part")).exists());
    no_key_lies_in_the_clear(scene);
    every_vpn_file_is_named(scene);
}

/// Neither whole nor in part: no line of a private key is in any file that outlives a restart.
fn no_key_lies_in_the_clear(scene: &Scene) {
    let domains = domains(scene.root()).unwrap();
    let secret = |path: &str| path.parse().is_ok_and(|path| domains.iter().any(|d| d.is_secret(&path)));
    let disk = Tree::read(scene.root(), &["run", "var/sf/backup"]).unwrap();
    let mut lines = 0;
    for (path, node) in scene.donor.tree.iter().filter(|(path, _)| secret(path)) {
        let Kind::File(content) = &node.kind else { continue };
        let text = String::from_utf8_lossy(content);
        // An OpenSSH key begins with what every key of its kind begins with.
        let same = if text.contains("OPENSSH") { 1 } else { 0 };
        let body = text.lines().filter(|line| line.len() > 30 && !line.contains("---")).skip(same);
        // A certificate holds the public half too.
        let public = |line: &str| {
            let others = scene.donor.tree.iter().filter(|(other, _)| *other != path);
            let mut contents = others.filter_map(|(_, node)| match &node.kind {
                Kind::File(content) => Some(content),
                _ => None,
            });
            contents.any(|content| holds(content, line.as_bytes()))
        };
        let own: Vec<&str> = body.filter(|line| !public(line)).collect();
        assert!(!own.is_empty(), "{path} holds no key");
        for line in own {
            lines += 1;
            // What is sealed is read through its link; on the disk is only that.
            let clear: Vec<_> = disk
                .iter()
                .filter(|(_, node)| !node.sealed)
                .filter(
                    |(_, node)| matches!(&node.kind, Kind::File(content) if holds(content, line.as_bytes())),
                )
                .map(|(path, _)| path)
                .collect();
            assert_eq!(clear, Vec::<&str>::new(), "a line of {path} lies in the clear");
        }
    }
    assert!(lines >= 5, "the donor has more keys than {lines} lines");
}

fn every_vpn_file_is_named(scene: &Scene) {
    let shown = scene.say("show restore", "").text;
    let vpn = |tree: &Tree| -> BTreeSet<String> {
        let files = tree.iter().filter(|(_, node)| node.kind != Kind::Folder);
        let files = files.map(|(path, _)| path).filter(|path| path.starts_with("etc/swanctl/"));
        files.filter(|path| *path != "etc/swanctl/swanctl.conf").map(str::to_owned).collect()
    };
    let (old, new) = (vpn(&scene.donor.tree), vpn(&scene.before));
    assert!(!old.is_empty() && !new.is_subset(&old));
    for path in old.union(&new) {
        assert!(shown.contains(&format!("/{path}")), "{path} is not named in\n{shown}");
    }
    assert_eq!(vpn(&Tree::read(scene.root(), &["run"]).unwrap()), BTreeSet::new());
}

fn holds(content: &[u8], what: &[u8]) -> bool {
    content.windows(what.len()).any(|window| window == what)
}

fn holders<'t>(tree: &'t Tree, what: &[u8]) -> Vec<&'t str> {
    let holding = tree.iter().filter(|(path, node)| match &node.kind {
        Kind::File(content) => holds(content, what),
        Kind::Link(target) => holds(target.as_bytes(), what),
        _ => false,
    } || holds(path.as_bytes(), what));
    holding.map(|(path, _)| path).collect()
}

/// Looks at every process's arguments and environment, again and again.
struct ProcessList {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicU32>,
    thread: JoinHandle<Vec<String>>,
}

impl ProcessList {
    fn watch(secret: &str) -> Self {
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stopped, counter, secret) = (stop.clone(), looks.clone(), secret.as_bytes().to_vec());
        let thread = thread::spawn(move || {
            let mut found = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                for process in fs::read_dir("/proc").unwrap().flatten() {
                    for part in ["cmdline", "environ"] {
                        // It may have ended, and others' environment is theirs.
                        let text = fs::read(process.path().join(part)).unwrap_or_default();
                        if holds(&text, &secret) {
                            found.push(format!("{}/{part}", process.path().display()));
                        }
                    }
                }
                counter.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(20));
            }
            found
        });
        Self { stop, looks, thread }
    }

    fn never_showed_it(self) {
        self.stop.store(true, Ordering::SeqCst);
        assert_eq!(self.thread.join().unwrap(), Vec::<String>::new());
        assert!(self.looks.load(Ordering::SeqCst) > 3, "nobody looked");
    }
}

/// What the domains' own checkers say to the live configuration.
fn validate(root: &Path) -> Vec<Failure> {
    let output = Command::new(PROGRAM)
        .args(["reinstated", "--root"])
        .arg(root)
        .args(["validate", "live"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn nft_sshd_and_keepalived_accept_what_was_restored_and_refuse_it_once_it_is_broken() {
    let scene = Scene::new(Appliance::replacement());
    scene.restore_here();
    assert_eq!(validate(scene.root()), Vec::new());
    for (file, broken, domain, program) in [
        ("etc/nftables.d/10-input.nft", "table inet appliance {\n", "firewall", "nft"),
        ("etc/ssh/sshd_config.d/10-access.conf", "NoSuchDirective yes\n", "ssh", "sshd"),
        ("etc/keepalived/keepalived.conf", "vrrp_instance a { virtual_router_id 999 }\n", "ha", "keepalived"),
    ] {
        let path = scene.root().join(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, broken).unwrap();
        let refused = validate(scene.root());
        fs::write(&path, good).unwrap();
        let [failure] = &refused[..] else { panic!("{file}: {refused:?}") };
        assert!(failure.message.contains(&format!("'{domain}'")), "{failure}");
        assert!(failure.message.contains(program), "{failure}");
    }
}

#[test]
fn a_replacement_with_another_serial_uuid_and_mac_addresses_keeps_its_own() {
    let other = Appliance::replacement().seed(77);
    let hardware = other.hardware().clone();
    let scene = Scene::new(other);
    scene.restore_here();
    let donors = Appliance::donor("fw-a");
    let version: reinstate_api::Version = scene.machine.client().get("/v1/version").unwrap();
    assert_eq!(version.serial, hardware.serial);
    assert_ne!(version.serial, donors.hardware().serial);
    assert_ne!(hardware.uuid, donors.hardware().uuid);
    for (ours, theirs) in hardware.interfaces.iter().zip(&donors.hardware().interfaces) {
        assert_ne!(ours.mac, theirs.mac);
    }
    assert_eq!(version.uuid, donors.device().uuid);
    assert_eq!(version.hostname, "fw-a");
}

#[test]
fn a_comparison_with_the_donor_finds_a_byte_a_mode_an_owner_and_a_key_in_the_clear() {
    let scene = Scene::new(Appliance::replacement());
    scene.restore_here();
    let wrong = |path: &str| {
        let found =
            reinstate_tests::compare::restored(scene.root(), &scene.before, &scene.donor.tree).unwrap();
        let [difference] = &found[..] else { panic!("{path}: {found:#?}") };
        assert!(difference.starts_with(path), "{difference}");
    };
    let at = |path: &str| scene.root().join(path);
    let change = |path: &str, change: &dyn Fn(&Path)| {
        let (good, mode) = (fs::read(at(path)).unwrap(), fs::metadata(at(path)).unwrap().permissions());
        change(&at(path));
        wrong(path);
        fs::write(at(path), good).unwrap();
        fs::set_permissions(at(path), mode).unwrap();
    };
    change("etc/nftables.conf", &|path| fs::write(path, "flush ruleset\n").unwrap());
    change("etc/machine-id", &|path| fs::write(path, "0\n").unwrap());
    change("etc/hosts", &|path| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    });
    let key = at("etc/ssh/ssh_host_ed25519_key");
    let clear = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    fs::write(&key, clear).unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    wrong("etc/ssh/ssh_host_ed25519_key");
}
