//! The environment of a client, and whatever a login would take from it.

use std::fs;
use std::path::Path;
use std::process::Command;

use reinstate_tests::appliance::Appliance;
use reinstate_tests::login::{ADMIN, Client, Login, Session};

use super::attempt::{Mark, by};
use super::processes::{environment_of, shell_of};
use super::{PATIENCE, PROGRAM, SHELL, assert_plain, assert_usable, own, prompted, shared};

/// A session whose client sends these variables, and what the client logs of it.
fn sending(client: &Client, variables: &str, log: &Path) -> Session {
    let mut ssh = client.command("ssh");
    ssh.args(["-v", "-E"]).arg(log).args(["-tt", "-o", &format!("SetEnv={variables}"), "appliance"]);
    ssh.env("TERM", "xterm");
    let mut session = Session::of(&ssh, 24, 80);
    prompted(&mut session);
    session
}

/// They were sent, none of them is there, and the session works.
fn none_arrives(login: &Login, variables: &[(&str, &str)]) {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    let all: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut session = sending(&login.client(ADMIN), &all.join(" "), &log);
    let sent = fs::read_to_string(log).unwrap();
    for (name, _) in variables {
        assert!(sent.contains(&format!("setting env {name} =")), "{name}: {sent}");
    }
    let environment = environment_of(shell_of(login));
    let mut names: Vec<&str> = environment.iter().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["PATH", "SSH_CONNECTION", "TERM"], "{environment:?}");
    assert!(environment.contains(&"PATH=/usr/sbin:/usr/bin".to_owned()), "{environment:?}");
    assert_usable(&mut session);
}

const OF_A_CLIENT: [(&str, &str); 20] = [
    ("LD_PRELOAD", "/tmp/x.so"),
    ("LD_LIBRARY_PATH", "/tmp"),
    ("LD_AUDIT", "/tmp/x.so"),
    ("BASH_ENV", "/tmp/x"),
    ("ENV", "/tmp/x"),
    ("INPUTRC", "/tmp/x"),
    ("HOME", "/tmp"),
    ("SHELL", "/bin/sh"),
    ("USER", "root"),
    ("PAGER", "/bin/sh"),
    ("LESSOPEN", "|/bin/sh"),
    ("EDITOR", "/bin/sh"),
    ("VISUAL", "/bin/sh"),
    ("PATH", "/tmp"),
    ("IFS", "x"),
    ("TERMINFO", "/tmp"),
    ("LOCPATH", "/tmp"),
    ("RUST_LOG", "trace"),
    ("SSH_ORIGINAL_COMMAND", "/bin/sh"),
    ("REINSTATE_SOCKET", "/tmp/x"),
];

#[test]
fn no_variable_of_a_client_reaches_the_shell() {
    let (login, _) = own();
    none_arrives(&login, &OF_A_CLIENT);
}

#[test]
fn a_language_that_the_server_takes_does_not_reach_the_shell() {
    let (login, _) = own();
    none_arrives(&login, &[("LANG", "../../tmp/x"), ("LC_ALL", "/tmp/x"), ("LC_TIME", "%n")]);
}

#[test]
fn a_server_that_takes_every_variable_brings_none_of_them_to_the_shell() {
    let login = Login::with_lines(PROGRAM, &Appliance::replacement(), &["AcceptEnv *"]);
    // Without those that the loader of programs reads before any program is.
    let others: Vec<_> = OF_A_CLIENT.into_iter().filter(|(name, _)| !name.starts_with("LD_")).collect();
    none_arrives(&login, &others);
}

#[test]
fn a_library_that_a_client_names_is_not_loaded() {
    let (login, mark) = (shared(), Mark::new());
    let source = format!(
        "#include <fcntl.h>\n__attribute__((constructor)) static void mark(void) {{ open(\"{}\", O_CREAT, 0666); }}\n",
        mark.path().display()
    );
    let source = mark.beside("x.c", &source, 0o644);
    let library = source.with_extension("so");
    reinstate_tests::must(Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]));
    mark.prove(by(&login, ADMIN, "/bin/true").env("LD_PRELOAD", &library));
    let variables = format!("SetEnv=LD_PRELOAD={0} LD_AUDIT={0}", library.display());
    let said = login.client(ADMIN).ssh(&["-v", "-o", &variables], &["show version"]);
    assert!(said.ok() && said.err.contains("setting env LD_PRELOAD"), "{said:?}");
    mark.assert_none();
}

#[test]
fn a_shell_that_is_started_with_an_environment_starts_anew_without_it() {
    let login = shared();
    let mut local = by(&login, ADMIN, "/usr/bin/env");
    let others = OF_A_CLIENT.into_iter().filter(|(name, _)| !name.starts_with("LD_"));
    local.args(others.map(|(name, value)| format!("{name}={value}"))).args(["TERM=xterm", SHELL]);
    let mut session = Session::of(&local, 24, 80);
    prompted(&mut session);
    let shell = super::processes::local_shell(&session);
    let mut environment = environment_of(shell);
    environment.sort();
    assert_eq!(environment, ["PATH=/usr/sbin:/usr/bin", "TERM=xterm"]);
    assert_usable(&mut session);
}

/// A login with that TERM; what it shows up to its second prompt.
fn with_term(term: &str) -> String {
    let login = shared();
    let client = login.client(ADMIN);
    let mut ssh = client.command("ssh");
    ssh.args(["-tt", "appliance"]).env("TERM", term);
    let mut session = Session::of(&ssh, 24, 80);
    let mut said = session.read_until("> ", PATIENCE).unwrap();
    session.write("show version\r");
    said += &session.read_until("UUID  ", PATIENCE).unwrap();
    said += &session.read_until("\r\n> ", PATIENCE).unwrap();
    assert!(said.contains("Version 7.4.1 (Build 172)"), "{said:?}");
    // Above the prompt stands the server's own line.
    said.replace("\r\r\n", "\r\n")
}

#[test]
fn a_terminal_s_name_that_is_a_path_is_opened_by_nobody() {
    let mark = Mark::new();
    let fifo = mark.path();
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    // Whoever opened it would wait.
    for term in [format!("../../../..{}", fifo.display()), fifo.display().to_string()] {
        assert_plain(&with_term(&term));
    }
}

#[test]
fn escapes_in_a_terminal_s_name_come_back_from_nowhere() {
    for term in
        ["\u{1b}]0;owned\u{7}", "xterm\u{1b}[2J", "x\r\n> ", "\u{202e}mretx", "%n%n%s%s", "$(touch /tmp/x)"]
    {
        let said = with_term(term);
        assert_plain(&said);
        assert!(!said.contains("owned") && !said.contains("mretx"), "{said:?}");
    }
}

#[test]
fn a_terminal_without_a_name_or_with_a_dumb_one_has_a_session_without_escapes() {
    for term in ["", "dumb", "nonsense-9000"] {
        assert_plain(&with_term(term));
    }
}
