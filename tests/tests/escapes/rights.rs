//! Rights that an account does not have: by the shell, and past it.

use std::io::Write;
use std::process::Stdio;

use reinstate_api::Access;
use reinstate_shell::grammar::{Draft, Part, rows};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::login::{ADMIN, Login, OPERATOR, Session};
use reinstate_tests::picture::Picture;

use super::attempt::{Mark, by};
use super::{PATIENCE, SHELL, own, own_of, prompted, session, shared};

/// A word for each part of a command that may not be left out.
fn example(part: &Part) -> Option<String> {
    const CANDIDATES: [&str; 9] =
        ["fw.tar", "fw", "/b/fw.tar", "192.0.2.1", "2001:db8::1", "24", "7", "AAAAC3NzaC1lZDI1", "alice"];
    match part {
        Part::Word(word, _) => Some((*word).to_owned()),
        Part::Choice(words, _) => Some(words[0].0.to_owned()),
        Part::Argument(argument) => {
            let fits = |text: &&&str| (argument.take)(&mut Draft::default(), text);
            Some((*CANDIDATES.iter().find(fits).unwrap()).to_owned())
        }
        Part::Optional(_) => None,
    }
}

fn for_admins() -> Vec<String> {
    let lines = rows().filter(|row| row.access == Access::Config);
    let lines: Vec<String> =
        lines.map(|row| row.parts.iter().filter_map(example).collect::<Vec<_>>().join(" ")).collect();
    assert!(lines.len() > 30, "{lines:?}");
    lines
}

#[test]
fn an_operator_runs_no_command_that_is_an_admin_s() {
    let (login, admin) = own();
    assert!(admin.ssh(&[], &["show tech-support"]).ok(), "it is nobody's");
    let before = Picture::take(login.machine.root());
    let operator = login.client(OPERATOR);
    let mut session = Session::open(&operator, 1000, 511);
    prompted(&mut session);
    for line in for_admins() {
        let said = operator.ssh_with(&[], &[&line], b"YES\nYES\n");
        assert!(said.status == Some(1) && said.out.contains("[forbidden]"), "{line}: {said:?}");
        session.write(&format!("{line}\r"));
        let said = session.read_until("[forbidden]", PATIENCE).unwrap();
        assert!(!said.contains("new password"), "{line}: {said}");
        session.read_until("\r\n> ", PATIENCE).unwrap();
    }
    assert_eq!(Picture::take(login.machine.root()).difference(&before), "");
    assert_eq!(login.machine.reboots(), 0);
}

/// A request by an account, past the shell: its status.
fn request(login: &Login, user: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    const CLIENT: &str = "my $s = IO::Socket::UNIX->new(Peer => '/run/reinstate/agent.sock') or do { print qq(HTTP/1.0 0 $!\\n); exit }; \
        local $/; print $s <STDIN>; print <$s>;";
    let mut perl = by(login, user, "/usr/bin/perl")
        .args(["-MIO::Socket::UNIX", "-e", CLIENT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    perl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = String::from_utf8_lossy(&perl.wait_with_output().unwrap().stdout).into_owned();
    let status = said.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer: {said:?}")), said)
}

#[test]
fn an_operator_gets_past_the_shell_to_no_more_than_the_shell_gives() {
    let (login, admin) = own();
    std::fs::write(login.backups().join("x.tar"), "content").unwrap();
    assert!(admin.ssh(&[], &["show version"]).ok());
    let before = Picture::take(login.machine.root());
    // An account that may is answered: so the way is one.
    assert_eq!(request(&login, ADMIN, "POST", "/v1/abort", "{}").0 / 100, 4);
    assert_ne!(request(&login, ADMIN, "POST", "/v1/abort", "{}").0, 403);
    assert_eq!(request(&login, OPERATOR, "GET", "/v1/version", "").0, 200);
    let forbidden = [
        ("POST", "/v1/restore"),
        ("POST", "/v1/rollback"),
        ("POST", "/v1/factory"),
        ("POST", "/v1/answer"),
        ("POST", "/v1/abort"),
        ("POST", "/v1/confirm"),
        ("POST", "/v1/backups"),
        ("POST", "/v1/backups/import"),
        ("POST", "/v1/backups/extract"),
        ("POST", "/v1/lock/clear"),
        ("POST", "/v1/ha/resume"),
        ("POST", "/v1/tasks/acknowledge"),
        ("POST", "/v1/tech-support"),
        ("POST", "/v1/reboot"),
        ("POST", "/v1/shutdown"),
        ("POST", "/v1/expert"),
        ("POST", "/v1/expert/allow"),
        ("POST", "/v1/configurations/1/activate"),
        ("POST", "/v1/configurations/1/rename"),
        ("DELETE", "/v1/configurations/1"),
        ("DELETE", "/v1/manager"),
        ("DELETE", "/v1/files/x.tar"),
        ("GET", "/v1/files/x.tar"),
        ("GET", "/v1/files/%78.tar"),
        ("HEAD", "/v1/files/x.tar"),
        ("PUT", "/v1/files/y.tar"),
        ("POST", "//v1/restore"),
        ("POST", "/v1/ping/../restore"),
        ("POST", "/v1/restore?x=/v1/ping"),
        ("post", "/v1/restore"),
    ];
    for (method, path) in forbidden {
        let (status, said) = request(&login, OPERATOR, method, path, "{}");
        assert_eq!(status, 403, "{method} {path}: {said}");
    }
    for change in [
        r#"{"changes":[{"user-access":{"name":"operator","access":"config"}}]}"#,
        r#"{"changes":[{"password":{"user":"admin","password":"Corr3ct-horse"}}]}"#,
        r#"{"changes":[{"hostname":"owned"}]}"#,
        r#"{"changes":[{"password":{"password":"Corr3ct-horse"}},{"hostname":"owned"}]}"#,
        r#"{"changes":[{"password":{"password":"Corr3ct-horse"}}],"setup":true}"#,
    ] {
        let (status, said) = request(&login, OPERATOR, "POST", "/v1/configure", change);
        assert!((400..500).contains(&status), "{change}: {said}");
    }
    assert_eq!(Picture::take(login.machine.root()).difference(&before), "");
}

#[test]
fn an_account_of_neither_group_gets_no_session() {
    let (login, _) = own();
    let group = login.machine.root().join("etc/group");
    let text = std::fs::read_to_string(&group).unwrap();
    let without = text.lines().map(|line| match line.starts_with("reinstate-operator:") {
        true => line.trim_end_matches(OPERATOR).to_owned() + "\n",
        false => line.to_owned() + "\n",
    });
    std::fs::write(&group, without.collect::<String>()).unwrap();
    let client = login.client(OPERATOR);
    for options in [["-T"], ["-tt"]] {
        let said = client.ssh_with(&options, &[], b"show version\n");
        assert!(!said.ok() && !said.out.contains("UUID"), "{said:?}");
        assert!(said.out.contains("Error: ") && !said.out.contains('$'), "{said:?}");
    }
    assert!(!client.ssh(&[], &["show users"]).ok());
}

const EXPERT: &str =
    "[expert]\ncommand = [\"/bin/sh\", \"-c\", \"touch MARK; env; echo here $0\"]\ntext = [\"Careful.\"]\n";

#[test]
fn expert_opens_nothing_where_the_product_has_none() {
    let login = shared();
    let client = login.client(ADMIN);
    for command in ["expert", "configure expert allow", "exp"] {
        let said = client.ssh(&[], &[command]);
        assert!(matches!(said.status, Some(1 | 2)) && said.out.contains("rror: "), "{command}: {said:?}");
    }
    let mut session = session(&client);
    session.write("expert\r");
    session.read_until("[forbidden]", PATIENCE).unwrap();
    super::assert_usable(&mut session);
}

#[test]
fn expert_opens_nothing_that_nobody_has_allowed_and_then_only_what_the_product_names() {
    let mark = Mark::new();
    let profile = EXPERT.replace("MARK", mark.path().to_str().unwrap());
    let (login, client) = own_of(&Appliance::replacement().profile_override(&profile));
    let said = client.ssh(&[], &["expert"]);
    assert!(said.status == Some(1) && said.out.contains("[forbidden]"), "{said:?}");
    mark.assert_none();
    let operator = login.client(OPERATOR);
    for command in ["configure expert allow", "expert"] {
        let said = operator.ssh(&[], &[command]);
        assert!(said.status == Some(1) && said.out.contains("[forbidden]"), "{said:?}");
    }
    assert!(client.ssh(&[], &["configure expert allow"]).ok());
    let said = operator.ssh(&[], &["expert"]);
    assert!(said.status == Some(1) && said.out.contains("[forbidden]"), "{said:?}");
    mark.assert_none();
    for line in ["expert -c x", "expert /bin/sh", "expert; x"] {
        assert_eq!(client.ssh(&[], &[line]).status, Some(2));
    }
    mark.assert_none();
    let said = client.ssh(&["-o", "SetEnv=LANG=owned LC_ALL=owned"], &["expert"]);
    assert!(mark.path().exists() && said.ok() && said.out.contains("here"), "{said:?}");
    assert!(
        !said.out.contains("owned") && !said.out.contains("SSH_") && !said.out.contains("HOME="),
        "{said:?}"
    );
    assert!(client.ssh(&[], &["configure expert forbid"]).ok());
    assert_eq!(client.ssh(&[], &["expert"]).status, Some(1));
}

#[test]
fn a_shell_that_is_started_by_hand_has_no_more_rights_than_its_user() {
    let login = shared();
    let output = by(&login, OPERATOR, SHELL)
        .args(["--socket", "/run/reinstate/agent.sock", "-c", "restore factory"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("[forbidden]"), "{output:?}");
}

#[test]
fn system_accounts_do_not_log_in() {
    let login = shared();
    for user in ["root", "sshd", "nobody", "reinstate", "daemon"] {
        for client in [
            login.client(user),
            login.client_with_password(user, ""),
            login.client_with_password(user, "root"),
        ] {
            let said = client.ssh(&[], &["show version"]);
            assert_eq!(said.status, Some(255), "{user}: {said:?}");
        }
    }
    assert!(login.log().contains("root") && login.log().contains("nobody"), "{}", login.log());
}
