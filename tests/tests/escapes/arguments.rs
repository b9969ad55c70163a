//! Arguments that would be something else to a program, a file or a server that they reach.

use std::fs;
use std::path::Path;
use std::process::Command;

use reinstate_tests::login::{ADMIN, Client, Login, Said};
use reinstate_tests::rogue::{Rogue, Script};
use tokio::runtime::Runtime;

use super::attempt::{Mark, by};
use super::{PATIENCE, assert_plain, own, session, shared};

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Not of its type, and shown as what it is.
#[track_caller]
fn illegal(said: &Said, argument: &str) {
    assert_eq!(said.status, Some(2), "{argument:?}: {said:?}");
    assert!(said.out.contains("Syntax error: Illegal parameter"), "{argument:?}: {said:?}");
    assert!(
        said.out.contains(&reinstate_api::one_line(argument)) || argument.contains(['"', '\\']),
        "not what was sent: {said:?}"
    );
    assert_plain(&said.out);
}

fn restore(client: &Client, host: &str, user: &str, path: &str) -> Said {
    let line = format!(
        "restore remote-manager-backup location {} {} {} check",
        quoted(host),
        quoted(user),
        quoted(path)
    );
    client.ssh_with(&[], &[&line], b"yes\n")
}

/// A server that lets every key in and has no SFTP, so that a path comes to a command there.
fn rogue(script: Script) -> (Runtime, Rogue) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let rogue = runtime.block_on(Rogue::start(script));
    (runtime, rogue)
}

#[test]
fn a_host_is_no_option_of_ssh() {
    let (login, mark) = (shared(), Mark::new());
    let option = format!("-oProxyCommand={}", mark.touch());
    let mut ssh = by(&login, ADMIN, "/usr/bin/ssh");
    mark.prove(ssh.args(["-F", "/dev/null", &option, "x"]));
    for host in [option.as_str(), "-oProxyCommand=x", "--", "-"] {
        illegal(&restore(&login.client(ADMIN), host, "user", "/b/fw.tar"), host);
    }
    mark.assert_none();
}

#[test]
fn a_user_is_no_option_of_ssh() {
    let (login, mark) = (shared(), Mark::new());
    let option = format!("-oProxyCommand={}", mark.touch());
    for user in [option.as_str(), "-l", "--"] {
        illegal(&restore(&login.client(ADMIN), "127.0.0.1:9", user, "/b/fw.tar"), user);
    }
    mark.assert_none();
}

#[test]
fn a_host_holds_no_command_user_or_path() {
    let (login, mark) = (shared(), Mark::new());
    let touch = mark.touch();
    for host in [
        format!("h;{touch}"),
        format!("$({touch})"),
        format!("`{touch}`"),
        "user@127.0.0.1".into(),
        "127.0.0.1/../x".into(),
        "127.0.0.1 -p 22".into(),
        "h\nProxyCommand=x".into(),
        "h\u{202e}".into(),
        "[::1%lo;x]".into(),
        "127.0.0.1:22:22".into(),
        "ssh://127.0.0.1".into(),
    ] {
        illegal(&restore(&login.client(ADMIN), &host, "user", "/b/fw.tar"), &host);
    }
    mark.assert_none();
}

#[test]
fn a_user_with_control_characters_is_none() {
    let login = shared();
    let client = login.client(ADMIN);
    for user in ["a\nb", "a\rb", "a\tb\u{7}", "a\u{1b}[2Jb", "\u{85}"] {
        illegal(&restore(&client, "127.0.0.1:9", user, "/b/fw.tar"), user);
    }
}

#[test]
fn a_user_with_spaces_quotes_and_an_at_goes_to_the_server_as_it_is_and_nowhere_else() {
    let ((login, client), mark) = (own(), Mark::new());
    let (_runtime, rogue) = rogue(Script { password: Some("x".into()), ..Script::default() });
    for user in ["a b@c", "$(touch /tmp/x) ;`id`", "root@127.0.0.1 -oProxyCommand=x"] {
        let said = restore(&client, &rogue.address().to_string(), user, "/b/fw.tar");
        assert_eq!(said.status, Some(1), "{said:?}");
        assert_plain(&said.out);
        let _ = client.ssh(&[], &["restore abort"]);
        login.machine.wait_until_idle().unwrap();
    }
    assert!(rogue.seen().iter().any(|seen| seen == "key"), "the server was not asked: {:?}", rogue.seen());
    mark.assert_none();
}

#[test]
fn a_path_starts_no_command_on_a_server() {
    let ((login, client), mark) = (own(), Mark::new());
    let touch = mark.touch();
    let (_runtime, rogue) = rogue(Script { any_key: true, ..Script::default() });
    for path in [
        format!("/b/x;{touch};x.tar"),
        format!("/b/$({touch}).tar"),
        format!("/b/`{touch}`.tar"),
        format!("/b/'; {touch}; '.tar"),
        format!("/b/\"; {touch}; \".tar"),
        format!("/b/x && {touch}"),
        format!("/b/x | {touch}"),
        format!("-oProxyCommand={touch}"),
    ] {
        let before = rogue.seen().len();
        let said = restore(&client, &rogue.address().to_string(), "user", &path);
        assert_eq!(said.status, Some(1), "{said:?}");
        login.machine.wait_until_idle().unwrap();
        let seen = rogue.seen();
        let commands = seen[before..].iter().filter_map(|seen| seen.strip_prefix("exec "));
        let commands: Vec<&str> = commands.collect();
        assert!(!commands.is_empty(), "{path}: no command came: {seen:?}\n{said:?}");
        // What a server's shell makes of it.
        for command in commands {
            let place = mark.beside("scp", "#!/bin/sh\nfor last; do :; done\nprintf '%s' \"$last\"\n", 0o755);
            let folder = place.parent().unwrap().to_str().unwrap().to_owned();
            let shell = Command::new("/bin/sh")
                .args(["-c", command])
                .env("PATH", format!("{folder}:/usr/bin:/bin"))
                .output()
                .unwrap();
            mark.assert_none();
            assert!(String::from_utf8_lossy(&shell.stdout).contains(&path), "{command}: {shell:?}");
        }
    }
    mark.prove_by_shell(&login, &format!("scp -f /b/x;{touch};x.tar"));
}

#[test]
fn a_path_with_control_characters_is_none() {
    let login = shared();
    let client = login.client(ADMIN);
    for path in ["/b/a\nb.tar", "/b/a\rb.tar", "/b/\u{1b}]0;x\u{7}.tar", "/b/\u{9b}2J.tar"] {
        illegal(&restore(&client, "127.0.0.1:9", "user", path), path);
    }
}

#[test]
fn the_name_of_a_backup_leads_to_no_other_folder() {
    let (login, client) = own();
    let other = login.machine.root().join("var/sf/other.tar");
    fs::write(&other, "other").unwrap();
    for name in ["../other.tar", "..", ".", "/var/sf/other.tar", "a/../../other.tar"] {
        for command in
            ["backup delete", "backup extract", "restore remote-manager-backup", "backup import medium"]
        {
            illegal(&client.ssh(&[], &[&format!("{command} {}", quoted(name))]), name);
        }
    }
    for name in
        ["%2e%2e%2fother.tar", "..%2fother.tar", "..%00", "..\\other.tar", "~", "other.tar/", "…/other.tar"]
    {
        let said = client.ssh(&[], &[&format!("backup delete {}", quoted(name))]);
        assert!(matches!(said.status, Some(1 | 2)), "{name}: {said:?}");
        assert_plain(&said.out);
    }
    assert_eq!(fs::read_to_string(other).unwrap(), "other");
}

#[test]
fn the_name_of_a_backup_holds_no_control_characters() {
    let login = shared();
    let client = login.client(ADMIN);
    for name in ["a\nb.tar", "a\rb.tar", "\u{1b}[2J.tar", "a\u{7}.tar", "\u{7f}.tar"] {
        illegal(&client.ssh(&[], &[&format!("backup delete {}", quoted(name))]), name);
    }
}

#[test]
fn a_name_that_is_turned_round_is_shown_as_it_is_typed() {
    let login = shared();
    let client = login.client(ADMIN);
    for name in ["\u{202e}rat.wf", "a\u{2066}b\u{2069}.tar", "a\u{200b}b.tar", "\u{feff}a.tar"] {
        let said = client.ssh(&[], &[&format!("backup delete {}", quoted(name))]);
        assert!(matches!(said.status, Some(1 | 2)), "{said:?}");
        assert!(said.out.contains(&reinstate_api::one_line(name)), "{said:?}");
        assert_plain(&said.out);
    }
}

/// The account database, byte for byte.
fn accounts(login: &Login) -> Vec<Vec<u8>> {
    ["passwd", "shadow", "group", "gshadow"]
        .map(|name| fs::read(login.machine.root().join("etc").join(name)).unwrap())
        .into()
}

#[test]
fn the_name_of_a_user_writes_no_line_of_its_own_into_the_account_database() {
    let (login, client) = own();
    let before = accounts(&login);
    for name in [
        "a:0:0",
        "a\nroot2::0:0::/:/bin/sh",
        "a\rb",
        "Root",
        "-f",
        "a b",
        "a/b",
        "../a",
        "a,b",
        "0",
        "é",
        "",
        "a\u{0}",
    ] {
        if name.contains('\u{0}') {
            continue;
        }
        let said = client.ssh_with(
            &[],
            &[&format!("configure user add {} config", quoted(name))],
            b"Corr3ct-horse\nCorr3ct-horse\n",
        );
        illegal(&said, name);
    }
    assert_eq!(accounts(&login), before);
}

#[test]
fn no_system_account_is_made_again_or_given_a_password() {
    let (login, client) = own();
    let before = accounts(&login);
    let passwords = b"Corr3ct-horse\nCorr3ct-horse\n";
    for name in ["root", "sshd", "nobody", "daemon", "reinstate"] {
        for command in [
            format!("configure user add {name} config"),
            format!("configure user password {name}"),
            format!("configure user access {name} config"),
            format!("configure user delete {name}"),
        ] {
            let said = client.ssh_with(&[], &[&command], passwords);
            assert!(said.status == Some(1) && said.out.contains("Error: "), "{command}: {said:?}");
        }
    }
    assert_eq!(accounts(&login), before);
}

/// The lines of the shadow file that are not the admin's.
fn others(login: &Login) -> Vec<String> {
    let shadow = fs::read_to_string(login.machine.root().join("etc/shadow")).unwrap();
    shadow.lines().filter(|line| !line.starts_with("admin:")).map(str::to_owned).collect()
}

#[test]
fn a_password_with_colons_and_a_line_of_its_own_changes_one_account() {
    let (login, client) = own();
    let before = others(&login);
    let mut session = session(&client);
    for password in ["Aa1:0:0:root:/root:/bin/sh", "Aa1$6$x$y:19950:0", "Aa1 $(touch /tmp/x)`id`"] {
        session.write("configure password\r");
        session.read_until("Enter new password: ", PATIENCE).unwrap();
        session.write(&format!("{password}\r"));
        session.read_until("Confirm new password: ", PATIENCE).unwrap();
        session.write(&format!("{password}\r"));
        let said = session.read_until("\r\n> ", PATIENCE).unwrap();
        assert!(said.contains("Password changed."), "{password}: {said:?}");
        assert_eq!(others(&login), before);
        let again = login.client_with_password(ADMIN, password).ssh(&[], &["show version"]);
        assert!(again.ok(), "{password}: {again:?}");
    }
}

#[test]
fn a_password_that_is_no_text_or_too_long_is_not_cut_into_one() {
    let (login, client) = own();
    let before = accounts(&login);
    let mut session = session(&client);
    for (password, second) in [
        (vec![b'a'; 10_000], None),
        (b"Aa1-\xff\xfe-xyz".to_vec(), None),
        // A key that means nothing is not typed; then the second is another one.
        (b"Aa1-\0-xyz-\0".to_vec(), Some("Aa1-\0-other\r")),
    ] {
        session.write("configure password\r");
        session.read_until("Enter new password: ", PATIENCE).unwrap();
        session.type_bytes(&password);
        session.write("\r");
        if let Some(second) = second {
            session.read_until("Confirm new password: ", PATIENCE).unwrap();
            session.write(second);
        }
        session.read_until("Nothing was changed", PATIENCE).unwrap();
        session.read_until("> ", PATIENCE).unwrap();
    }
    assert_eq!(accounts(&login), before);
}

#[test]
fn a_password_of_the_api_with_a_newline_writes_no_line() {
    let (login, _) = own();
    let before = accounts(&login);
    for password in
        ["Aa1-xyz\nroot2::0:0:::", "Aa1-xyz\r\nx", "Aa1-xyz\u{0}x", &format!("Aa1{}", "x".repeat(10_000))]
    {
        let change =
            serde_json::json!({ "changes": [{ "password": { "user": "admin", "password": password } }] });
        let (status, body) = login.machine.client().call("POST", "/v1/configure", Some(&change)).unwrap();
        assert_eq!(status, 400, "{password:?}: {body}");
        let change = serde_json::json!({ "changes": [{ "user-add": { "name": "bob", "access": "config", "password": password } }] });
        let (status, body) = login.machine.client().call("POST", "/v1/configure", Some(&change)).unwrap();
        assert_eq!(status, 400, "{password:?}: {body}");
    }
    assert_eq!(accounts(&login), before);
}

#[test]
fn a_host_to_ping_is_a_host_and_no_option() {
    let (login, mark) = (shared(), Mark::new());
    let touch = mark.touch();
    for host in [
        format!("127.0.0.1;{touch}"),
        format!("$({touch})"),
        "-f".into(),
        "-I lo 127.0.0.1".into(),
        "127.0.0.1|sh".into(),
        "a\nb".into(),
    ] {
        illegal(&login.client(ADMIN).ssh(&[], &[&format!("ping {}", quoted(&host))]), &host);
    }
    for count in ["0", "-1", "1001", "99999999999", "1;2", "0x1"] {
        illegal(&login.client(ADMIN).ssh(&[], &[&format!("ping 127.0.0.1 {count}")]), count);
    }
    mark.assert_none();
}

/// All of the appliance's configuration.
fn configuration(root: &Path) -> Vec<u8> {
    let output = Command::new("tar").args(["-c", "--sort=name", "-C"]).arg(root).arg("etc").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn values_of_the_configuration_bring_no_lines_of_their_own() {
    let (login, client) = own();
    let before = configuration(login.machine.root());
    for (command, value) in [
        ("configure network hostname {}", "fw\nx"),
        ("configure network hostname {}", "fw;reboot"),
        ("configure network hostname {}", "-fw"),
        ("configure network dns servers {}", "192.0.2.1\nDomains=x"),
        ("configure network dns servers {}", "192.0.2.1;x"),
        ("configure network dns searchdomains {}", "example.net\n[Match]"),
        ("configure network dns searchdomains {}", "$(id).example"),
        ("configure network ipv4 manual {} 255.255.255.0", "192.0.2.1\n[Link]"),
        ("configure network ipv4 manual 192.0.2.1 {}", "255.0.255.0"),
        ("configure network ipv6 manual {} 64", "2001:db8::1%lo"),
        ("configure manager add {} key", "h\nKEY=x"),
        ("configure manager add {} key", "h\"; id; \""),
        ("configure manager add 192.0.2.1 key {}", "nat id\nx"),
        ("configure manager add 192.0.2.1 {}", "a key\nHOST=x"),
        ("configure ssh access-list {}", "192.0.2.0/24\nPermitRootLogin yes"),
        ("configure ssh access-list {}", "*"),
        ("configure ssh trusted-host add h ssh-ed25519 {}", "AAAAC3NzaC1lZDI1NTE5AAAA\n* ssh-rsa x"),
        ("configure ssh trusted-host add {} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA", "*,!h"),
        ("configure ssh trusted-host add {} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA", "@cert-authority"),
        ("configuration rename 1 {}", "../../etc"),
        ("configuration rename 1 {}", "a\nb"),
        ("configuration activate {}", "../1"),
        ("show interface {}", "a/../../b\n"),
    ] {
        let said = client.ssh(&[], &[&command.replace("{}", &quoted(value))]);
        assert!(
            matches!(said.status, Some(1 | 2)) && said.out.contains("rror: "),
            "{command} {value:?}: {said:?}"
        );
        assert_plain(&said.out);
    }
    assert_eq!(configuration(login.machine.root()), before);
}

#[test]
fn a_registration_key_that_a_shell_would_run_is_run_by_none_that_reads_the_files() {
    let ((login, client), mark) = (own(), Mark::new());
    let key = format!("$(touch${{IFS}}{})", mark.path().display());
    mark.prove_by_shell(&login, &format!("X={key}"));
    let said = client.ssh(&[], &[&format!("configure manager add 192.0.2.1 {} nat-1", quoted(&key))]);
    assert!(said.ok() && said.out.contains("successfully configured"), "{said:?}");
    let folder = login.machine.root().join("etc/appliance");
    let found = Command::new("grep").args(["-Rl", "touch"]).arg(&folder).output().unwrap();
    assert!(!found.stdout.is_empty(), "the key is nowhere");
    for file in ["manager.conf", "device.conf", "release"] {
        let path = folder.join(file);
        let _ = Command::new("/bin/sh").args(["-c", ". \"$1\"", "sh"]).arg(path).output().unwrap();
    }
    mark.assert_none();
    let (logs, view) = (super::agent_log(&login), client.ssh(&[], &["show managers"]));
    assert!(!logs.contains("touch$") && !view.text().contains("touch$"), "{view:?}");
}
