//! Files in a user's home that other programs would read: put there by whoever may, and read by nobody.

use std::fs;

use reinstate_tests::login::{ADMIN, Login};

use super::attempt::{Mark, by};
use super::{PATIENCE, assert_plain, assert_usable, own, say, session};

/// Runs lines as root on the appliance, in the admin's home.
fn plant(login: &Login, lines: &str) {
    let output = login.inside("/bin/sh").args(["-ec", &format!("cd /home/admin\n{lines}")]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn read(login: &Login, path: &str) -> String {
    let output = login.inside("/bin/cat").arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn files_that_a_shell_reads_at_a_login_run_nothing() {
    let ((login, client), mark) = (own(), Mark::new());
    let touch = mark.touch();
    plant(
        &login,
        &format!(
            "for f in .profile .bash_profile .bash_login .bashrc .bash_logout .login .cshrc .zshrc .shrc .kshrc; do \
             echo '{touch}' > $f; chown 1000 $f; done"
        ),
    );
    // They are whole: a login shell of the system that has this home reads one.
    mark.prove(by(&login, ADMIN, "/bin/sh").args(["-lc", "true"]).env("HOME", "/home/admin"));
    let mut session = session(&client);
    assert_usable(&mut session);
    session.write("exit\r");
    assert!(session.ended(PATIENCE).is_some());
    mark.assert_none();
}

#[test]
fn an_rc_file_of_ssh_runs_nothing() {
    let ((login, client), mark) = (own(), Mark::new());
    plant(&login, &format!("echo '{}' > .ssh/rc; chown 1000 .ssh/rc", mark.touch()));
    mark.prove(by(&login, ADMIN, "/bin/sh").arg("/home/admin/.ssh/rc"));
    let mut session = session(&client);
    assert_usable(&mut session);
    assert!(client.ssh(&[], &["show version"]).ok());
    mark.assert_none();
}

#[test]
fn an_environment_file_of_ssh_sets_nothing() {
    let (login, client) = own();
    plant(
        &login,
        "printf 'SSH_CONNECTION=1 2 3 4\\nTERM=owned\\nLD_DEBUG=all\\nLD_DEBUG_OUTPUT=/tmp/mark\\n' > .ssh/environment",
    );
    let proved = by(&login, ADMIN, "/bin/true").env("LD_DEBUG", "all").output().unwrap();
    assert!(!proved.stderr.is_empty(), "no payload");
    let said = client.ssh(&[], &["show version"]);
    assert!(said.ok() && said.err.is_empty(), "{said:?}");
    let _session = session(&client);
    let environment = super::processes::environment_of(super::processes::shell_of(&login));
    assert!(
        !environment.iter().any(|line| line.contains("owned") || line.contains("1 2 3 4")),
        "{environment:?}"
    );
}

#[test]
fn a_key_s_own_command_is_a_line_for_this_shell_and_no_other() {
    let ((login, client), mark) = (own(), Mark::new());
    plant(&login, &format!("sed -i 's|^|command=\"{}\" |' .ssh/authorized_keys", mark.touch()));
    mark.prove_by_shell(&login, &mark.touch());
    let said = client.ssh(&[], &["show version"]);
    assert!(said.status == Some(2) && said.out.contains("Syntax error"), "{said:?}");
    assert!(said.out.contains(&mark.touch()), "not the key's command: {said:?}");
    mark.assert_none();
}

#[test]
fn a_key_s_own_environment_is_not_set() {
    let (login, client) = own();
    plant(&login, "sed -i 's|^|environment=\"LD_DEBUG=all\" |' .ssh/authorized_keys");
    assert!(read(&login, "/home/admin/.ssh/authorized_keys").starts_with("environment="));
    let said = client.ssh(&[], &["show version"]);
    assert!(said.ok() && said.err.is_empty(), "{said:?}");
}

#[test]
fn an_inputrc_gives_no_key_a_meaning() {
    let (login, client) = own();
    plant(
        &login,
        "printf '\"v\": \"exit\\\\n\"\\n\"\\\\C-x\": \"reboot\\\\n\"\\nset editing-mode vi\\n' > .inputrc; cp .inputrc .editrc; chown 1000 .inputrc .editrc",
    );
    assert!(read(&login, "/home/admin/.inputrc").contains("exit\\n"));
    let mut session = session(&client);
    session.write("v\u{18}");
    session.write("\u{1}\u{b}");
    assert_usable(&mut session);
    assert_eq!(login.machine.reboots(), 0);
}

/// A history that is made so; what `history` shows then.
fn history_of(lines: &str) -> (Login, String) {
    let (login, client) = own();
    plant(&login, lines);
    let mut session = session(&client);
    assert_usable(&mut session);
    let said = say(&mut session, "history");
    assert!(said.contains("1  show version"), "{said:?}");
    session.write("exit\r");
    assert!(session.ended(PATIENCE).is_some());
    (login, said)
}

#[test]
fn a_history_that_is_a_link_shows_nothing_and_overwrites_nothing() {
    let (login, said) = history_of(
        "echo 'configure secret line' > other; chown 1000 other; ln -s other .reinstate_history; \
         chown -h 1000 .reinstate_history",
    );
    assert!(!said.contains("secret line"), "{said:?}");
    assert_eq!(read(&login, "/home/admin/other"), "configure secret line\n");
}

#[test]
fn a_history_that_links_to_the_passwords_shows_none_of_them() {
    let (login, said) = history_of("ln -s /etc/shadow .reinstate_history");
    assert!(!said.contains("admin:"), "{said:?}");
    assert!(read(&login, "/etc/shadow").contains("admin:"));
}

#[test]
fn a_history_that_is_a_pipe_holds_no_login_up() {
    history_of("mkfifo .reinstate_history; chown 1000 .reinstate_history");
}

#[test]
fn a_history_without_an_end_holds_no_login_up() {
    history_of("ln -s /dev/zero .reinstate_history");
    let (_, said) = history_of("truncate -s 3G .reinstate_history; chown 1000 .reinstate_history");
    assert!(said.len() < 1000, "{} bytes", said.len());
}

#[test]
fn escapes_in_a_history_are_not_shown_to_a_terminal() {
    let (_, said) = history_of(
        "printf 'show \\033]52;c;eA==\\007x\\nshow \\r\\342\\200\\256y\\nshow \\377\\000z\\n' > .reinstate_history; \
         chown 1000 .reinstate_history",
    );
    assert_plain(&said);
}

#[test]
fn a_history_holds_no_password_that_was_typed() {
    let (login, client) = own();
    let mut session = session(&client);
    session.write("configure password\r");
    session.read_until("Enter new password: ", PATIENCE).unwrap();
    session.write("geheim-Geheim-1\r");
    session.read_until("Confirm new password: ", PATIENCE).unwrap();
    session.write("other-Geheim-2\r");
    let said = session.read_until("\r\n> ", PATIENCE).unwrap();
    assert!(said.contains("differ") && !said.contains("eheim"), "{said:?}");
    say(&mut session, "configure manager add 192.0.2.1 geheim3 nat-1");
    session.write("exit\r");
    assert!(session.ended(PATIENCE).is_some());
    let kept = read(&login, "/home/admin/.reinstate_history");
    assert!(kept.contains("configure manager add 192.0.2.1 ***") && !kept.contains("eheim"), "{kept}");
    let logs = fs::read_to_string(login.machine.log()).unwrap() + &login.log();
    assert!(!logs.contains("eheim"), "{logs}");
}

#[test]
fn a_home_that_is_somebody_else_s_gets_no_history() {
    let (login, client) = own();
    plant(&login, "chown 0 /home/admin; chmod 777 /home/admin");
    // sshd takes no key out of such a home; a password it takes.
    assert!(!client.ssh(&[], &["show version"]).ok());
    let client = login.client_with_password(ADMIN, &login.password(ADMIN));
    let mut session = session(&client);
    assert_usable(&mut session);
    session.write("exit\r");
    assert!(session.ended(PATIENCE).is_some());
    let output = login.inside("/bin/ls").args(["-A", "/home/admin"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("history"), "{output:?}");
}
