//! The agent at its edges: what vendors lint, what it refuses to start with, what its API refuses.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};

use reinstate_tests::appliance::{Appliance, reference_profile};
use reinstate_tests::machine::Machine;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_sandbox");

fn reinstated(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(BINARY).arg("reinstated").args(arguments).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

/// A vendor's folder, as it is with one more domain file.
fn vendor(domain: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["profile.d", "domains.d"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
        for file in std::fs::read_dir(reference_profile().join(part)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.path().join(part).join(file.file_name())).unwrap();
        }
    }
    std::fs::write(folder.path().join("domains.d/zz-extra.toml"), domain).unwrap();
    folder
}

#[test]
fn lint_accepts_the_reference_profile_and_lists_its_domains() {
    let (output, text) = reinstated(&["lint", reference_profile().to_str().unwrap()]);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("/etc/nftables.conf"), "{text}");
}

#[test]
fn lint_names_what_would_be_configured_and_belongs_to_no_domain() {
    for (profile, says) in [
        (
            "[management]\nfile = '/etc/elsewhere.network'",
            "management.file is '/etc/elsewhere.network', which no domain owns",
        ),
        ("[ssh]\naccess-list = '/etc/elsewhere'", "ssh.access-list"),
        ("[ssh]\nknown-hosts = '/etc/elsewhere'", "ssh.known-hosts"),
        ("[setup]\ndone = { file = '/etc/elsewhere' }", "setup.done"),
        ("[manager]\nregistration-key = '/etc/elsewhere'", "manager.registration-key"),
        ("[manager]\nregistration-key = '/etc/appliance/manager.conf'", "among its secrets"),
        ("[manager]\nnat-id = { file = '/etc/elsewhere', key = 'A' }", "manager.nat-id"),
        ("[expert]\ncommand = ['su']", "expert.command runs 'su'"),
        ("[passwords]\nclasses = 5", "passwords.classes is 5, of 1 to 4"),
        ("[accounts]\nshell = 'sh:x'", "accounts.shell is 'sh:x'"),
        ("[accounts]\nshell = '/bin/bash'", "accounts.shell is '/bin/bash', which a domain does not have"),
    ] {
        let vendor = vendor("name = 'extra'\nversion = 1\nrestore = 'replace'\npaths = ['/srv/a']");
        std::fs::write(vendor.path().join("profile.d/50-extra.toml"), profile).unwrap();
        let (output, text) = reinstated(&["lint", vendor.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{profile}: {text}");
        assert!(text.contains(says) && text.contains("[profile-invalid]"), "{profile}: {text}");
    }
}

#[test]
fn lint_names_the_file_the_line_and_the_problem() {
    for (domain, says) in [
        ("name = 'extra'\nversion = 1\nrestore = 'replace'\npaths = ['/srv/a']\ncolour = 1", "line 5"),
        ("name = 'extra'\nversion = 1\nrestore = 'replace'\npaths = ['srv/a']", "relative"),
        ("name = 'extra'\nversion = 1\nrestore = 'replace'\npaths = ['/etc/nftables.d/x']", "'firewall'"),
        ("name = 'extra'\nversion = 1\nrestore = 'sometimes'\npaths = ['/srv/a']", "sometimes"),
        ("name = 'vpn'\nversion = 1\nrestore = 'replace'\npaths = ['/srv/a']", "declared twice"),
    ] {
        let folder = vendor(domain);
        let (output, text) = reinstated(&["lint", folder.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("zz-extra.toml") && text.contains(says), "{domain}: {text}");
        assert!(text.contains("[profile-invalid]"), "{text}");
    }
}

#[test]
fn an_agent_with_a_bad_profile_says_so_at_its_start_and_does_not_serve() {
    let root = tempfile::tempdir().unwrap();
    Appliance::replacement()
        .domain_override("extra", "name = 'extra'\nversion = 1\nrestore = 'replace'\npaths = ['/etc/fstab']")
        .build(root.path())
        .unwrap();
    let (output, text) = reinstated(&["--root", root.path().to_str().unwrap(), "serve"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("/etc/fstab") && text.contains("no domain may own"), "{text}");
    assert!(!root.path().join(reinstate_api::SOCKET).exists());
}

fn machine(root: &Path) -> Machine {
    Appliance::replacement().build(root).unwrap();
    let mut machine = Machine::new(BINARY, root);
    machine.start().unwrap();
    machine
}

fn code(answer: &Value) -> &str {
    answer["failures"][0]["code"].as_str().unwrap_or_default()
}

#[test]
fn what_the_api_does_not_know_is_refused_with_a_code() {
    let root = tempfile::tempdir().unwrap();
    let machine = machine(root.path());
    let client = machine.client();
    for (method, path, body, status, expected) in [
        ("GET", "/v1/nothing", None, 404, "not-found"),
        ("PUT", "/v1/status", None, 404, "not-found"),
        ("POST", "/v1/restore", Some(json!({})), 400, "bad-request"),
        (
            "POST",
            "/v1/restore",
            Some(json!({"source": {"backup": "a.tar"}, "force": true})),
            400,
            "bad-request",
        ),
        ("POST", "/v1/restore", Some(json!({"source": {"backup": "../a.tar"}})), 400, "bad-request"),
        ("POST", "/v1/restore", Some(json!({"source": {"backup": ""}})), 400, "bad-request"),
        ("POST", "/v1/answer", Some(json!({"question": 1, "answer": "yes"})), 404, "not-found"),
        ("POST", "/v1/abort", Some(json!({})), 404, "not-found"),
        ("POST", "/v1/rollback", Some(json!({})), 404, "not-found"),
        ("POST", "/v1/restore", Some(json!({"source": {"backup": "x".repeat(100_000)}})), 400, "bad-request"),
    ] {
        let (got, answer) = client.call(method, path, body.as_ref()).unwrap();
        assert_eq!((got, code(&answer)), (status, expected), "{method} {path}: {answer}");
    }
    assert!(machine.status().unwrap().job.is_none());
}

#[test]
fn a_peer_that_says_nothing_keeps_nobody_else_from_being_served() {
    let root = tempfile::tempdir().unwrap();
    let machine = machine(root.path());
    let socket = root.path().join(reinstate_api::SOCKET);
    let silent: Vec<_> = (0..50).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut garbage = UnixStream::connect(&socket).unwrap();
    garbage.write_all(b"\x00\xffnot http at all\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    garbage.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    assert!(machine.status().is_ok());
    drop(silent);
}

#[test]
fn the_events_begin_with_the_status_and_go_on() {
    let root = tempfile::tempdir().unwrap();
    let machine = machine(root.path());
    let mut events = UnixStream::connect(root.path().join(reinstate_api::SOCKET)).unwrap();
    events.write_all(b"GET /v1/events HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    // The first line comes at once, the next with the heartbeat.
    while text.matches("\"active\":0").count() < 2 {
        let read = events.read(&mut buffer).unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    drop(machine);
}

/// One request as systemd hands it over: a socket for standard input and output.
fn request(root: &Path, peer: &str, request: &str) -> Value {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let output = theirs.try_clone().unwrap();
    let mut agent = Command::new(BINARY)
        .args(["reinstated", "--root", root.to_str().unwrap(), "answer", peer])
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .stdout(std::os::fd::OwnedFd::from(output))
        .spawn()
        .unwrap();
    ours.write_all(request.as_bytes()).unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    ours.read_to_string(&mut answer).unwrap();
    agent.wait().unwrap();
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("no JSON: {answer:?}"))
}

#[test]
fn one_request_on_a_socket_is_answered_with_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    Appliance::replacement().build(folder.path()).unwrap();
    let facts = request(folder.path(), "root", r#"{"verb":"facts","values":[]}"#);
    assert_eq!(facts["done"]["hardware"]["model"], "VFW-100", "{facts}");
    let snapshot = request(folder.path(), "root", r#"{"verb":"snapshot","values":["0","factory"]}"#);
    assert_eq!(snapshot, json!({ "done": null }));
    let valid = request(folder.path(), "check", r#"{"verb":"validate","values":["0"]}"#);
    assert_eq!(valid, json!({ "done": [] }));
}

#[test]
fn a_request_names_only_verbs_that_its_socket_is_for_and_values_that_are_right() {
    let folder = tempfile::tempdir().unwrap();
    Appliance::replacement().build(folder.path()).unwrap();
    for (peer, refused) in [
        ("root", r#"{"verb":"validate","values":["0"]}"#),
        ("root", r#"{"verb":"serve","values":[]}"#),
        ("root", r#"{"verb":"confine","values":["0","firewall"]}"#),
        ("root", r#"{"verb":"snapshot","values":["x","factory"]}"#),
        ("root", r#"{"verb":"facts","values":["more"]}"#),
        ("root", r#"{"verb":"facts"}"#),
        ("root", "no JSON"),
        ("root", ""),
        ("check", r#"{"verb":"snapshot","values":["0","factory"]}"#),
        ("check", r#"{"verb":"reboot","values":[]}"#),
    ] {
        let answer = request(folder.path(), peer, refused);
        assert_eq!(answer["failed"]["code"], "bad-request", "{refused}: {answer}");
    }
    assert!(!folder.path().join("var/lib/reinstate/generations/0").exists());
}

#[test]
fn interfaces_are_named_in_bus_order_whatever_the_kernel_calls_them() {
    let folder = tempfile::tempdir().unwrap();
    Appliance::replacement().build(folder.path()).unwrap();
    let (output, text) = reinstated(&["--root", folder.path().to_str().unwrap(), "name-interfaces"]);
    assert!(output.status.success(), "{text}");
    for (name, address) in
        [("management0", "0000:03:00.0"), ("failover0", "0000:0b:00.0"), ("data1", "0000:1b:00.0")]
    {
        let link = folder.path().join(format!("run/systemd/network/10-reinstate-{name}.link"));
        let link = std::fs::read_to_string(link).unwrap();
        assert_eq!(link, format!("[Match]\nPath=pci-{address}\n\n[Link]\nName={name}\n"));
    }
}

#[test]
fn nothing_is_pending_on_an_appliance_that_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    Appliance::replacement().build(folder.path()).unwrap();
    let root = folder.path().to_str().unwrap();
    let (output, text) = reinstated(&["--root", root, "pending"]);
    assert!(output.status.success() && text.is_empty(), "{text}");
}
