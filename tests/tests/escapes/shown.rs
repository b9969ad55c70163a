//! What comes from others and is shown: visible, whatever it would do to a terminal.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use reinstate_tests::appliance::Appliance;
use reinstate_tests::forge::Forge;
use reinstate_tests::login::{ADMIN, Client, Login};
use reinstate_tests::rogue::{Rogue, Script, Sftp, Trick};
use tokio::runtime::Runtime;

use super::{PATIENCE, PROMPT, assert_plain, own, own_of, session};

/// Clears a screen, sets a title, fills a clipboard, rings, goes back on the line, turns round, looks like a prompt.
const EVIL: &str = "e\u{1b}[2Jv\u{1b}]0;t\u{7}i\u{1b}]52;c;eA==\u{7}l\r\u{9b}31m\u{202e}x\u{200b}";

/// Shown by `ssh HOST COMMAND` and on a terminal: something of it, and nothing raw.
#[track_caller]
fn visible(client: &Client, command: &str, shows: &str) -> String {
    let said = client.ssh(&[], &[command]);
    assert!(said.out.contains(shows), "{command} does not show it: {said:?}");
    assert_plain(&said.out);
    assert_plain(&said.err);
    let mut session = session(client);
    session.write(&format!("{command}\r"));
    session.read_until(command, PATIENCE).unwrap();
    let typed = session.read_until(PROMPT, PATIENCE).unwrap();
    assert!(typed.contains(shows), "{command} does not show it: {typed:?}");
    assert_plain(&typed);
    said.out
}

/// As it is written in output.
fn shown(text: &str) -> String {
    reinstate_api::one_line(text)
}

#[test]
fn file_names_in_the_backup_folder_reach_no_terminal_as_they_are() {
    let (login, client) = own();
    let names = [
        "a\u{1b}[2Jb.tar",
        "a\u{1b}]52;c;eA==\u{7}b.tar",
        "a\rb.tar",
        "a\nb.tar",
        "a\u{202e}rat.b",
        "a\u{9b}Kb.tar",
        "x\r\n> ",
        "a\u{200b}.tar",
    ];
    for name in names {
        fs::write(login.backups().join(name), "x").unwrap();
    }
    fs::write(login.backups().join(Path::new(std::ffi::OsStr::from_bytes(b"a\xff\x1bb.tar"))), "x").unwrap();
    fs::write(login.backups().join("plain.tar"), "x").unwrap();
    let said = visible(&client, "show backups", "plain.tar");
    for name in names {
        assert!(said.contains(&shown(name)), "{name:?}: {said}");
    }
    visible(&client, "show backups --json", "plain.tar");
    let mut session = session(&client);
    session.write("backup delete \t");
    session.read_until("plain.tar", PATIENCE).unwrap();
    assert_plain(&session.unread().replace("\u{8}", ""));
}

#[test]
fn a_name_of_a_backup_that_escapes_is_told_as_it_is() {
    let (_login, client) = own();
    for name in ["a\u{1b}[2Jb.tar", "a\u{7}b.tar", "a\u{202e}b.tar"] {
        let said = client.ssh(&[], &[&format!("restore remote-manager-backup {name} check")]);
        assert!(matches!(said.status, Some(1 | 2)), "{said:?}");
        assert!(said.out.contains(&shown(name)), "{said:?}");
        assert_plain(&said.out);
    }
}

/// A backup of a donor, with something in its manifest that no appliance writes.
fn forged(change: impl FnOnce(&mut Forge)) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("donor");
    Appliance::donor("fw-a").build(&root).unwrap();
    let mut machine = reinstate_tests::machine::Machine::new(super::PROGRAM, &root);
    machine.start().unwrap();
    let made: serde_json::Value = machine.client().post("/v1/backups", &serde_json::json!({})).unwrap();
    let file = root.join(reinstate_api::BACKUP_FOLDER).join(made["file"].as_str().unwrap());
    let mut forge = Forge::open(&fs::read(file).unwrap()).unwrap();
    change(&mut forge);
    forge.write().unwrap()
}

fn check_of_forged(change: impl FnOnce(&mut Forge)) {
    let (login, client) = own();
    fs::write(login.backups().join("forged.tar"), forged(change)).unwrap();
    visible(&client, "show backups", "forged.tar");
    visible(&client, "show backups --json", "forged.tar");
    let said = client.ssh_with(&[], &["restore remote-manager-backup forged.tar"], b"N\n");
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(
        said.out.contains("u{1b}") || said.out.contains("\\u001b") || said.out.contains("Error"),
        "{said:?}"
    );
    assert_plain(&said.out);
    login.machine.wait_until_idle().unwrap();
    for command in [
        "show restore",
        "show restore detail",
        "show restore history",
        "show log restore",
        "show restore --json",
    ] {
        visible(&client, command, "forged.tar");
    }
}

#[test]
fn a_host_name_in_a_backup_reaches_no_terminal_as_it_is() {
    check_of_forged(|forge| forge.manifest.device.hostname = EVIL.into());
}

#[test]
fn a_version_in_a_backup_reaches_no_terminal_as_it_is() {
    check_of_forged(|forge| forge.manifest.software.version = EVIL.into());
}

#[test]
fn a_serial_number_in_a_backup_reaches_no_terminal_as_it_is() {
    check_of_forged(|forge| forge.manifest.hardware.serial = EVIL.into());
}

#[test]
fn bytes_that_are_no_backup_reach_no_terminal_as_they_are() {
    let (login, client) = own();
    fs::write(login.backups().join("noise.tar"), EVIL.repeat(1000)).unwrap();
    let mut archive = forged(|_| {});
    let at = archive.windows(4).position(|window| window == b"fw-a").unwrap();
    archive[at..at + 4].copy_from_slice(b"\x1b[2J");
    fs::write(login.backups().join("broken.tar"), archive).unwrap();
    visible(&client, "show backups", "noise.tar");
    for name in ["noise.tar", "broken.tar"] {
        let said = client.ssh(&[], &[&format!("restore remote-manager-backup {name} check")]);
        assert!(said.status == Some(1) && said.out.contains("Error: "), "{said:?}");
        assert_plain(&said.out);
        login.machine.wait_until_idle().unwrap();
    }
}

fn rogue(script: Script) -> (Runtime, Rogue) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let rogue = runtime.block_on(Rogue::start(script));
    (runtime, rogue)
}

/// A restore from a server that says such things: all of it is shown, visibly.
fn restore_from(rogue: &Rogue, answers: &[u8]) -> (Login, String) {
    let (login, client) = own();
    let command = format!("restore remote-manager-backup location {} user /b/fw.tar", rogue.address());
    let said = client.ssh_with(&[], &[&command], answers);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert_plain(&said.out);
    let _ = client.ssh(&[], &["restore abort"]);
    login.machine.wait_until_idle().unwrap();
    for command in ["show restore", "show log restore", "show restore history"] {
        visible(&client, command, "127.0.0.1");
    }
    (login, said.out)
}

#[test]
fn a_server_s_banner_reaches_no_terminal_as_it_is() {
    let (_runtime, rogue) =
        rogue(Script { any_key: true, banner: Some(format!("{EVIL}\r\n> ")), ..Script::default() });
    let (login, said) = restore_from(&rogue, b"yes\n");
    assert!(rogue.seen().contains(&"key".to_owned()), "{:?}", rogue.seen());
    assert!(!said.contains(EVIL) && !super::agent_log(&login).contains("\u{1b}[2J"), "{said}");
}

#[test]
fn a_server_s_question_reaches_no_terminal_as_it_is() {
    let question = format!("{EVIL}\r\n> ");
    let (_runtime, rogue) =
        rogue(Script { questions: vec![(question, "right".into())], ..Script::default() });
    let (_login, said) = restore_from(&rogue, b"yes\nwrong\nwrong\nwrong\nwrong\n");
    assert!(rogue.seen().iter().any(|seen| seen.starts_with("answer ")), "{:?}", rogue.seen());
    assert!(said.contains("\\u{1b}[2J"), "the question is not shown: {said}");
    assert!(!said.contains("\n> "), "it looks like a prompt: {said:?}");
}

#[test]
fn a_server_s_errors_reach_no_terminal_as_they_are() {
    use reinstate_tests::rogue::Step;
    let exec = vec![
        Step::Errors(format!("{EVIL}\n").into_bytes()),
        Step::Send(format!("\u{1}{EVIL}\n").into_bytes()),
        Step::Exit(1),
    ];
    let (_runtime, rogue) = rogue(Script { any_key: true, exec: Some(exec), ..Script::default() });
    let (_login, said) = restore_from(&rogue, b"yes\n");
    assert!(rogue.seen().iter().any(|seen| seen.starts_with("exec ")), "{:?}", rogue.seen());
    assert!(said.contains("\\u{1b}[2J"), "its words are not shown: {said}");
}

#[test]
fn a_server_that_writes_text_for_packets_reaches_no_terminal() {
    let sftp = Sftp { file: EVIL.repeat(100).into_bytes().into(), trick: Trick::Text };
    let (_runtime, rogue) = rogue(Script { any_key: true, sftp: Some(sftp), ..Script::default() });
    let (_login, said) = restore_from(&rogue, b"yes\n");
    assert!(said.contains("Error: "), "{said}");
}

#[test]
fn a_server_s_file_that_is_no_backup_reaches_no_terminal_as_it_is() {
    let sftp = Sftp { file: EVIL.repeat(100).into_bytes().into(), trick: Trick::None };
    let (_runtime, rogue) = rogue(Script { any_key: true, sftp: Some(sftp), ..Script::default() });
    let (_login, said) = restore_from(&rogue, b"yes\n");
    assert!(said.contains("Error: "), "{said}");
}

#[test]
fn lines_of_the_log_reach_no_terminal_as_they_are() {
    let (login, client) = own();
    let said = client
        .ssh(&[], &["restore remote-manager-backup location 127.0.0.1:1 \"u\u{202e}\u{200b}x\" /b/fw.tar"]);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert_plain(&said.out);
    login.machine.wait_until_idle().unwrap();
    // Whatever writes into it, and however long a line is.
    let mut log = fs::OpenOptions::new().append(true).open(login.machine.log()).unwrap();
    use std::io::Write;
    write!(log, "planted {EVIL} {}\r\n> \nplanted \u{1b}]8;;http://x\u{7}", "y".repeat(100_000)).unwrap();
    log.write_all(b"\xff\xfe\0\n").unwrap();
    let said = visible(&client, "show log restore", "127.0.0.1");
    assert!(!said.contains("\n> "), "{said}");
    visible(&client, "show log restore --json", "127.0.0.1");
}

#[test]
fn facts_of_the_appliance_reach_no_terminal_as_they_are() {
    let manager = format!(
        "HOST=192.0.2.1\nPORT=1\nNAME=\"{}\"\nDEVICE_UUID=x\nSTATE={}\n",
        EVIL.replace('\r', ""),
        EVIL.replace('\r', "")
    );
    let appliance = Appliance::replacement()
        .file("etc/appliance/manager.conf", manager, 0o644)
        .file("etc/hostname", format!("fw{EVIL}\n"), 0o644)
        .file(
            "etc/ssh/ssh_known_hosts",
            format!("{EVIL} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== {EVIL}\n"),
            0o644,
        );
    let (login, client) = own_of(&appliance);
    let passwd = login.machine.root().join("etc/passwd");
    let text = fs::read_to_string(&passwd)
        .unwrap()
        .replace(":Administrator:", &format!(":{}:", EVIL.replace(['\r', ';'], "")));
    assert!(text.contains("\u{1b}"), "no attempt");
    fs::write(&passwd, text).unwrap();
    for command in [
        "show version",
        "show network",
        "show managers",
        "show users",
        "show ssh",
        "show interface",
        "show disk",
        "show time",
        "show configurations",
        "show high-availability config",
    ] {
        let said = client.ssh(&[], &[command]);
        assert!(matches!(said.status, Some(0 | 1)) && !said.out.is_empty(), "{command}: {said:?}");
        assert_plain(&said.out);
        let said = client.ssh(&[], &[&format!("{command} --json")]);
        assert_plain(&said.out);
    }
}

#[test]
fn a_line_that_is_not_understood_comes_back_visible() {
    let login = super::shared();
    let client = login.client(ADMIN);
    for line in [
        EVIL.to_owned(),
        format!("show {EVIL}"),
        "show \u{1b}[2J".into(),
        "\u{7}\u{7}\u{7}".into(),
        "\u{202e}wohs".into(),
    ] {
        let said = client.ssh(&[], &["--", &line]);
        assert!(said.status == Some(2) && said.out.contains("Syntax error"), "{said:?}");
        assert!(said.out.contains(&shown(&line)), "{said:?}");
        assert_plain(&said.out);
    }
}
