//! What a shell of the operating system would understand in a line, this one does not.

use std::os::unix::net::UnixListener;

use reinstate_tests::login::ADMIN;

use super::attempt::{Mark, by, leads_nowhere};
use super::{SHELL, say, session, shared};

#[test]
fn a_semicolon_starts_no_second_command() {
    leads_nowhere(|touch| format!("show version; {touch}"));
}

#[test]
fn two_ampersands_start_no_second_command() {
    leads_nowhere(|touch| format!("true && {touch}"));
}

#[test]
fn two_bars_start_no_second_command() {
    leads_nowhere(|touch| format!("show version || {touch}"));
}

#[test]
fn an_ampersand_leaves_no_command_in_the_background() {
    leads_nowhere(|touch| format!("show version & {touch}; wait"));
}

#[test]
fn a_pipe_leads_to_no_program() {
    leads_nowhere(|touch| format!("show version | {touch}"));
}

#[test]
fn a_dollar_and_parentheses_are_not_run() {
    leads_nowhere(|touch| format!("show $({touch})"));
}

#[test]
fn backticks_are_not_run() {
    leads_nowhere(|touch| format!("show `{touch}`"));
}

#[test]
fn a_newline_in_a_command_starts_no_second_one() {
    leads_nowhere(|touch| format!("show version\n{touch}"));
}

#[test]
fn a_carriage_return_and_a_newline_start_no_shell() {
    leads_nowhere(|touch| format!("\r\n{touch}"));
}

#[test]
fn a_redirection_makes_no_file() {
    leads_nowhere(|touch| format!("echo x > {}", touch.trim_start_matches("touch ")));
}

#[test]
fn a_variable_before_a_word_sets_nothing() {
    leads_nowhere(|touch| format!("PATH=/usr/bin:/bin {touch}"));
}

#[test]
fn a_function_is_not_defined() {
    leads_nowhere(|touch| format!("show() {{ {touch}; }}; show version"));
}

#[test]
fn a_here_document_feeds_no_program() {
    leads_nowhere(|touch| format!("sh <<X\n{touch}\nX"));
}

#[test]
fn the_name_of_a_shell_starts_none() {
    leads_nowhere(|touch| format!("sh -c '{touch}'"));
}

#[test]
fn the_path_of_a_shell_starts_none() {
    leads_nowhere(|touch| format!("/bin/sh -c '{touch}'"));
}

#[test]
fn exec_becomes_no_other_program() {
    leads_nowhere(|touch| format!("exec {touch}"));
}

#[test]
fn an_interpreter_is_not_started() {
    leads_nowhere(|touch| format!("perl -e 'exec \"{touch}\"'"));
}

#[test]
fn env_and_nohup_start_nothing() {
    leads_nowhere(|touch| format!("env -i nohup {touch}"));
}

#[test]
fn a_command_that_begins_with_a_dash_is_no_option_of_the_shell() {
    let (login, mark) = (shared(), Mark::new());
    let client = login.client(ADMIN);
    for command in [
        format!("-c '{}'", mark.touch()),
        "-i".into(),
        "--login".into(),
        "--help".into(),
        "--version".into(),
        "-".into(),
        "--".into(),
    ] {
        let said = client.ssh(&[], &["--", &command]);
        assert_eq!(said.status, Some(2), "{command}: {said:?}");
        assert!(said.out.contains("Syntax error: Illegal command line"), "{command}: {said:?}");
        assert!(said.out.contains(&format!("  {command}\n")), "{command}: {said:?}");
    }
    mark.assert_none();
}

#[test]
fn a_second_c_on_the_command_line_runs_no_program() {
    let (login, mark) = (shared(), Mark::new());
    let touch = mark.touch();
    mark.prove_by_shell(&login, &touch);
    let output = by(&login, ADMIN, SHELL).args(["-c", "show version", "-c", &touch]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("Syntax error"), "{output:?}");
    let said = login.client(ADMIN).ssh(&[], &["--", &format!("-c 'show version' -c '{touch}'")]);
    assert_eq!(said.status, Some(2), "{said:?}");
    mark.assert_none();
}

#[test]
fn a_login_names_no_other_agent() {
    let (login, mark) = (shared(), Mark::new());
    let socket = mark.path();
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let path = socket.to_str().unwrap();
    // The option is one where whoever starts the shell may give it.
    let mut local = by(&login, ADMIN, SHELL);
    std::os::unix::fs::chown(&socket, Some(1000), None).unwrap();
    let mut child = local.args(["--socket", path, "-c", "show version"]).spawn().unwrap();
    super::wait_until("a request", || listener.accept().is_ok());
    child.kill().unwrap();
    child.wait().unwrap();
    for command in [format!("--socket {path} -c 'show version'"), format!("show version --socket {path}")] {
        let said = login.client(ADMIN).ssh(&[], &["--", &command]);
        assert_eq!(said.status, Some(2), "{said:?}");
        assert!(said.out.contains("Syntax error: "), "{said:?}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_filter_s_pattern_is_a_pattern_and_nothing_else() {
    let (login, mark) = (shared(), Mark::new());
    let touch = mark.touch();
    mark.prove_by_shell(&login, &format!("echo show version | include $({touch})"));
    let client = login.client(ADMIN);
    for pattern in [format!("\"$({touch})\""), format!("\"`{touch}`\""), format!("\"; {touch}\"")] {
        let said = client.ssh(&[], &[&format!("show version | include {pattern}")]);
        assert_eq!((said.status, said.text().as_str()), (Some(0), ""), "{said:?}");
    }
    mark.assert_none();
    // Nor does one that is hard to match take the session's time.
    let begun = std::time::Instant::now();
    let said = client.ssh(&[], &["show version | include \"(.*.*.*.*.*)*[^ -~]$\""]);
    assert!(begun.elapsed() < super::PATIENCE && said.status.is_some(), "{said:?}");
}

#[test]
fn a_question_mark_and_a_tab_look_up_no_file_names() {
    let login = shared();
    let client = login.client(ADMIN);
    let mut session = session(&client);
    for keys in
        ["/etc/pass\t", "~/\t", "show /e*\t", "cat /etc/passwd\t", "restore remote-manager-backup ../\t"]
    {
        session.write(keys);
        session.write("\u{1}\u{b}");
        let said = say(&mut session, "history");
        for name in ["passwd:", "/etc/passwd\r", "authorized_keys", ".ssh"] {
            assert!(!said.contains(name), "{keys}: {said:?}");
        }
    }
    session.write("restore remote-manager-backup /etc/?");
    let said = session.read_until(super::PROMPT, super::PATIENCE).unwrap();
    assert!(said.contains("Syntax error") && !said.contains("shadow"), "{said:?}");
}

#[test]
fn programs_of_the_system_are_no_commands() {
    let login = shared();
    let client = login.client(ADMIN);
    for program in [
        "su",
        "sudo -i",
        "vi",
        "less /etc/passwd",
        "cat /etc/passwd",
        "id",
        "login root",
        "passwd",
        "ssh localhost",
        "busybox sh",
        "systemctl",
        "!sh",
        ":!sh",
        "~C",
    ] {
        // It is one here, or is not: neither is looked for.
        let said = client.ssh(&[], &["--", program]);
        assert_eq!(said.status, Some(2), "{program}: {said:?}");
        assert!(said.out.contains("Syntax error: Illegal command line"), "{program}: {said:?}");
    }
}
