//! The one subsystem, and what else a client would have the server start.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use reinstate_tests::appliance::Appliance;
use reinstate_tests::login::{ADMIN, Client, Login, OPERATOR};

use super::attempt::{Mark, by};
use super::{own, own_of, shared};

#[test]
fn a_subsystem_of_another_name_is_not_started() {
    let (login, mark) = (shared(), Mark::new());
    let touch = mark.touch();
    for name in [
        "shell",
        "SFTP",
        "sftp2",
        "internal-sftp",
        "netconf",
        "/bin/sh",
        "../sftp",
        &touch,
        &format!("sftp;{touch}"),
        "sftp -d /",
    ] {
        let output = login.client(ADMIN).command("ssh").args(["-s", "appliance", name]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("subsystem request failed"), "{name}: {said}");
    }
    assert!(login.log().contains("subsystem request for SFTP"), "{}", login.log());
    mark.assert_none();
}

#[test]
fn the_subsystem_s_program_is_started_with_no_arguments() {
    let (login, mark) = (shared(), Mark::new());
    for arguments in
        ["--socket /tmp/x", "-e", "-d /", &format!("; {}", mark.touch()), "\n", " ", "-R", "-l DEBUG3"]
    {
        let said = login.client(ADMIN).ssh(&[], &["--", &format!("/usr/lib/reinstate/sftp {arguments}")]);
        assert!(said.status == Some(2) && said.out.contains("Syntax error"), "{arguments}: {said:?}");
    }
    mark.assert_none();
}

#[test]
fn the_subsystem_s_path_by_another_way_starts_nothing() {
    let login = shared();
    for path in [
        "/usr/lib/reinstate/../reinstate/sftp",
        "//usr/lib/reinstate/sftp",
        "/usr/lib/reinstate/./sftp",
        "/lib/reinstate/sftp",
        "sftp",
        "\"/usr/lib/reinstate/sftp\"",
        "exec /usr/lib/reinstate/sftp",
        "/usr/lib/openssh/sftp-server",
        "/USR/lib/reinstate/sftp",
    ] {
        let said = login.client(ADMIN).ssh(&[], &["--", path]);
        assert!(said.status == Some(2) && said.out.contains("Syntax error"), "{path}: {said:?}");
    }
}

#[test]
fn the_subsystem_has_nothing_of_a_client_s_environment() {
    let (login, client) = own();
    let mut sftp = client
        .command("ssh")
        .args(["-o", "SetEnv=LANG=C.UTF-8 LC_ALL=C.UTF-8", "-s", "appliance", "sftp"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // A greeting is answered: so it is there.
    sftp.stdin.as_mut().unwrap().write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).unwrap();
    let mut head = [0; 5];
    sftp.stdout.as_mut().unwrap().read_exact(&mut head).unwrap();
    assert_eq!(head[4], 2);
    let output = login
        .inside("/bin/sh")
        .args([
            "-c",
            "for p in /proc/[0-9]*; do read -r c < $p/cmdline 2>/dev/null; \
        [ \"$(tr '\\0' ' ' < $p/cmdline 2>/dev/null)\" = '/usr/lib/reinstate/sftp ' ] && \
        [ \"$(readlink $p/ns/mnt)\" = \"$(readlink /proc/self/ns/mnt)\" ] && \
        { tr '\\0' '\\n' < $p/environ; grep NoNewPrivs $p/status; }; done; true",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "PATH=/usr/sbin:/usr/bin\nNoNewPrivs:\t1\n", "{output:?}");
    sftp.kill().unwrap();
    sftp.wait().unwrap();
}

#[test]
fn text_for_the_subsystem_is_no_command() {
    let (login, mark) = (shared(), Mark::new());
    mark.prove_by_shell(&login, &mark.touch());
    let said = login.client(ADMIN).ssh_with(
        &["-s"],
        &["sftp"],
        format!("{}\nshow version\n", mark.touch()).as_bytes(),
    );
    assert!(!said.out.contains("UUID"), "{said:?}");
    mark.assert_none();
}

#[test]
fn paths_of_the_subsystem_lead_to_no_other_folder() {
    let (login, client) = own();
    let here = tempfile::tempdir().unwrap();
    let secret = login.machine.root().join("var/sf/secret.tar");
    fs::write(&secret, "secret").unwrap();
    fs::write(here.path().join("x.tar"), "mine").unwrap();
    for path in [
        "../secret.tar",
        "/var/sf/secret.tar",
        "/var/sf/backup/../secret.tar",
        "./../secret.tar",
        "..//secret.tar",
        "%2e%2e/secret.tar",
        "..\\secret.tar",
        "/var/sf/backup/../../../etc/shadow",
        "/proc/self/root/etc/shadow",
        "~/x",
        "/dev/stdin",
    ] {
        let to = here.path().join("got");
        let said = client.sftp(&format!("get \"{}\" {}\n", path.replace('\\', "\\\\"), to.display()));
        assert!(!to.exists() && !said.err.trim().is_empty(), "{path}: {said:?}");
        let said = client.sftp(&format!(
            "put {} \"{}\"\nrm \"{0}\"\n",
            here.path().join("x.tar").display(),
            path.replace('\\', "\\\\")
        ));
        assert!(!said.err.trim().is_empty(), "{path}: {said:?}");
        let _ = client.sftp(&format!("rm \"{path}\"\n"));
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret", "{path}");
    }
    assert_eq!(fs::read_dir(login.backups()).unwrap().count(), 0);
}

#[test]
fn a_link_in_the_backup_folder_is_followed_by_nobody() {
    let (login, client) = own();
    let secret = login.machine.root().join("var/sf/secret.tar");
    fs::write(&secret, "secret").unwrap();
    std::os::unix::fs::symlink(&secret, login.backups().join("link.tar")).unwrap();
    std::os::unix::fs::symlink("/etc", login.backups().join("folder")).unwrap();
    nix::unistd::mkfifo(&login.backups().join("pipe.tar"), nix::sys::stat::Mode::from_bits_truncate(0o666))
        .unwrap();
    let here = tempfile::tempdir().unwrap();
    for name in ["link.tar", "folder/passwd", "pipe.tar"] {
        let to = here.path().join("got");
        let said = client.sftp(&format!("get {name} {}\n", to.display()));
        assert!(
            !to.exists() && !said.err.replace("Connected to appliance.", "").trim().is_empty(),
            "{name}: {said:?}"
        );
    }
    assert!(client.ssh(&[], &["show backups"]).status.is_some());
}

#[test]
fn legacy_scp_takes_no_path_to_a_shell() {
    let (login, mark) = (shared(), Mark::new());
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("x.tar");
    fs::write(&file, "x").unwrap();
    let touch = mark.touch();
    mark.prove_by_shell(&login, &format!("scp -t x;{touch}"));
    for path in [format!("x;{touch}"), format!("$({touch})"), format!("`{touch}`"), "x".into()] {
        let said = login.client(ADMIN).scp(&["-O", file.to_str().unwrap(), &format!("appliance:{path}")]);
        assert!(!said.ok() && said.text().contains("Syntax error"), "{path}: {said:?}");
    }
    mark.assert_none();
}

/// What other programs would have a server run for them.
fn not_run(commands: &[&str]) {
    let login = shared();
    for command in commands {
        let said = login.client(ADMIN).ssh(&[], &["--", command]);
        assert!(
            said.status == Some(2) && said.out.contains("Syntax error: Illegal command line"),
            "{command}: {said:?}"
        );
    }
}

#[test]
fn rsync_finds_no_server() {
    not_run(&[
        "rsync --server -logDtpre.iLsfxCIvu . /etc/",
        "rsync --server --sender -e.LsfxCIvu . /etc/shadow",
        "rsync --daemon --config=/dev/stdin",
    ]);
}

#[test]
fn git_and_other_version_control_find_no_server() {
    not_run(&[
        "git-upload-pack '/etc'",
        "git-receive-pack '--help'",
        "git upload-archive /",
        "svnserve -t",
        "hg -R / serve --stdio",
        "cvs server",
    ]);
}

#[test]
fn tools_that_bring_their_own_program_find_nothing_to_run_it() {
    let (login, mark) = (shared(), Mark::new());
    let program = mark.beside("program", &format!("#!/bin/sh\n{}\n", mark.touch()), 0o755);
    let program = program.to_str().unwrap();
    mark.prove(&mut by(&login, ADMIN, program));
    not_run(&[
        program,
        &format!("python3 {program}"),
        &format!("/bin/sh {program}"),
        &format!(". {program}"),
        "tee /tmp/x",
        "mosh-server new",
        "tmux",
        "screen",
        "nc -l 99",
    ]);
    mark.assert_none();
}

#[test]
fn an_uploaded_file_is_never_a_program() {
    let (login, client) = own();
    let mark = Mark::new();
    let program = mark.beside("program.tar", &format!("#!/bin/sh\n{}\n", mark.touch()), 0o755);
    mark.prove(&mut by(&login, ADMIN, program.to_str().unwrap()));
    assert!(client.scp(&[program.to_str().unwrap(), "appliance:"]).ok());
    let there = login.backups().join("program.tar");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&there).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o640);
    for line in
        ["/var/sf/backup/program.tar", "show backups", "restore remote-manager-backup program.tar check"]
    {
        let said = client.ssh(&[], &[line]);
        assert_ne!(said.status, None, "{line}: {said:?}");
    }
    mark.assert_none();
}

#[test]
fn an_operator_copies_nothing_in_and_nothing_out() {
    let (login, client) = own();
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("x.tar");
    fs::write(&file, "content").unwrap();
    assert!(client.scp(&[file.to_str().unwrap(), "appliance:"]).ok());
    let operator = login.client(OPERATOR);
    let got = here.path().join("got");
    for said in [
        operator.scp(&[file.to_str().unwrap(), "appliance:y.tar"]),
        operator.scp(&["appliance:x.tar", got.to_str().unwrap()]),
    ] {
        assert!(!said.ok() && !said.err.is_empty(), "{said:?}");
    }
    let _ = operator.sftp("rm x.tar\n");
    assert!(!got.exists());
    assert_eq!(fs::read_to_string(login.backups().join("x.tar")).unwrap(), "content");
    assert_eq!(fs::read_dir(login.backups()).unwrap().count(), 1);
}

/// Nobody has answered the questions of its first login.
fn not_set_up() -> (Login, Client) {
    let fresh =
        Appliance::replacement().file("etc/appliance/device.conf", "UUID=4711\nROLE=standalone\n", 0o644);
    own_of(&fresh)
}

#[test]
fn an_appliance_that_is_not_set_up_takes_and_shows_no_files() {
    let (login, client) = not_set_up();
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("x.tar");
    fs::write(&file, "content").unwrap();
    fs::write(login.backups().join("there.tar"), "content").unwrap();
    let said = client.scp(&[file.to_str().unwrap(), "appliance:"]);
    assert!(!said.ok() && said.err.contains("Permission denied"), "{said:?}");
    let got = here.path().join("got");
    let said = client.scp(&["appliance:there.tar", got.to_str().unwrap()]);
    assert!(!said.ok() && !got.exists(), "{said:?}");
    assert_eq!(fs::read_dir(login.backups()).unwrap().count(), 1);
}

#[test]
fn an_appliance_that_is_not_set_up_runs_no_command() {
    let (login, client) = not_set_up();
    for command in ["show version", "restore factory", "configure user add bob config", "reboot"] {
        let said = client.ssh_with(&[], &[command], b"YES\nYES\n");
        assert!(said.status == Some(1) && said.out.contains("not set up yet"), "{command}: {said:?}");
    }
    assert_eq!(login.machine.reboots(), 0);
    assert!(login.machine.status().unwrap().job.is_none());
}
