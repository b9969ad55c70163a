//! Backups copied onto the appliance and off it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use reinstate_api::{BackupFile, Created, Started};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::login::{ADMIN, Login};
use reinstate_tests::machine::Machine;
use serde_json::json;

use super::{PROGRAM, file, login, login_to, names, wait_until};

#[test]
fn scp_copies_onto_the_appliance_and_off_it_whichever_way_the_folder_is_named() {
    let (login, client) = login();
    let here = tempfile::tempdir().unwrap();
    // No multiple of any block.
    let (path, content) = file(here.path(), "fw-a_1.tar", 3_000_007);
    let path = path.to_str().unwrap();
    for to in [
        "appliance:",
        "appliance:fw-a_2.tar",
        "appliance:/var/sf/backup/fw-a_3.tar",
        "appliance:./fw-a_4.tar",
    ] {
        let said = client.scp(&[path, to]);
        assert!(said.ok(), "{to}: {said:?}");
    }
    let renamed = here.path().join("fw-a_5.tar");
    fs::rename(path, &renamed).unwrap();
    let said = client.scp(&["-p", renamed.to_str().unwrap(), "appliance:/var/sf/backup/"]);
    assert!(said.ok(), "{said:?}");
    assert_eq!(names(&login), ["1", "2", "3", "4", "5"].map(|n| format!("fw-a_{n}.tar")));
    for name in names(&login) {
        let there = login.backups().join(&name);
        assert!(fs::read(&there).unwrap() == content, "{name}");
        assert_eq!(fs::metadata(&there).unwrap().permissions().mode() & 0o7777, 0o640);
    }
    for from in ["appliance:fw-a_1.tar", "appliance:/var/sf/backup/fw-a_1.tar"] {
        let to = here.path().join("back");
        let said = client.scp(&[from, to.to_str().unwrap()]);
        assert!(said.ok() && fs::read(&to).unwrap() == content, "{from}: {said:?}");
        fs::remove_file(to).unwrap();
    }
    let all = here.path().join("all");
    let said = client.scp(&["-r", "appliance:/var/sf/backup", all.to_str().unwrap()]);
    assert!(said.ok(), "{said:?}");
    assert_eq!(fs::read_dir(all).unwrap().count(), 5);
    // An empty file is a file.
    let (empty, _) = file(here.path(), "empty.tar", 0);
    assert!(client.scp(&[empty.to_str().unwrap(), "appliance:"]).ok());
    assert_eq!(fs::metadata(login.backups().join("empty.tar")).unwrap().len(), 0);
}

#[test]
fn sftp_lists_copies_goes_on_and_removes() {
    let (login, client) = login();
    let here = tempfile::tempdir().unwrap();
    let (path, content) = file(here.path(), "fw-a_1.tar", 1_234_567);
    let beginning = here.path().join("back.tar");
    fs::write(&beginning, &content[..500_001]).unwrap();
    let (path, back) = (path.display(), beginning.display());
    let said = client.sftp(&format!("pwd\nput {path}\nls -l\nreget fw-a_1.tar {back}\nls /\nls /var/sf\n"));
    assert!(said.ok(), "{said:?}");
    assert!(said.out.contains("Remote working directory: /var/sf/backup"), "{said:?}");
    let line = said.out.lines().find(|line| line.contains("1234567") && line.ends_with("fw-a_1.tar"));
    assert!(line.is_some_and(|line| line.starts_with("-rw-r-----")), "{said:?}");
    assert!(fs::read(&beginning).unwrap() == content, "the download did not go on where it was");
    let said = client.sftp("cd /var/sf/backup\nrm fw-a_1.tar\nls\n");
    assert!(said.ok() && !said.out.contains("\nfw-a_1.tar"), "{said:?}");
    assert!(names(&login).is_empty());
    let said = client.scp(&["appliance:fw-a_1.tar", "/dev/null"]);
    assert!(!said.ok() && said.err.contains("No such file"), "{said:?}");
}

#[test]
fn a_password_lets_in_as_a_key_does() {
    let (login, _) = login();
    let here = tempfile::tempdir().unwrap();
    let (path, _) = file(here.path(), "a.tar", 10_000);
    let client = login.client_with_password(ADMIN, &login.password(ADMIN));
    let said = client.scp(&[path.to_str().unwrap(), "appliance:"]);
    assert!(said.ok(), "{said:?}\n{}", login.log());
    let wrong = login.client_with_password(ADMIN, "another");
    let said = wrong.scp(&[path.to_str().unwrap(), "appliance:b.tar"]);
    assert!(!said.ok() && said.err.contains("Permission denied"), "{said:?}");
    assert_eq!(names(&login), ["a.tar"]);
}

/// Whole files, as the API lists them.
fn whole(login: &Login) -> Vec<String> {
    let files: Vec<BackupFile> = login.machine.client().get("/v1/files").unwrap();
    files.into_iter().filter(|file| !file.partial).map(|file| file.file).collect()
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing_and_is_no_backup_before_it_is_whole() {
    let (login, client) = login();
    let here = tempfile::tempdir().unwrap();
    let (path, content) = file(here.path(), "fw-a_1.tar", 16 << 20);
    // 2 MiB a second.
    let mut command = client.command("scp");
    command.args(["-l", "16384"]).arg(&path).arg("appliance:");
    let mut slow = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let part = login.backups().join("fw-a_1.tar.part");
    wait_until("the upload's beginning", || fs::metadata(&part).is_ok_and(|part| part.len() > 1 << 20));
    assert!(whole(&login).is_empty());
    assert!(!client.sftp("ls\n").out.contains("fw-a_1"));
    let request = json!({"source": {"backup": "fw-a_1.tar"}, "check": true});
    let (_, refused) = login.machine.client().call("POST", "/v1/restore", Some(&request)).unwrap();
    let last = login.machine.wait_until_idle().unwrap().last;
    let codes = format!("{refused} {last:?}");
    assert!(codes.contains("busy") || codes.contains("Busy") || codes.contains("NotFound"), "{codes}");
    // Somebody else with the same name.
    let said = client.scp(&[path.to_str().unwrap(), "appliance:"]);
    assert!(!said.ok(), "{said:?}");
    assert!(login.machine.client().call("DELETE", "/v1/files/fw-a_1.tar.part", None).unwrap().0 == 409);

    slow.kill().unwrap();
    slow.wait().unwrap();
    wait_until("the end of what broke off", || names(&login).is_empty());
    let said = client.scp(&[path.to_str().unwrap(), "appliance:"]);
    assert!(said.ok(), "{said:?}");
    assert!(fs::read(login.backups().join("fw-a_1.tar")).unwrap() == content);
}

#[test]
fn an_upload_that_the_agent_s_end_has_cut_is_gone_when_it_starts_again() {
    let (login, client) = login();
    let here = tempfile::tempdir().unwrap();
    let (path, _) = file(here.path(), "fw-a_1.tar", 16 << 20);
    // A download that broke off, which a restore goes on with.
    fs::write(login.backups().join("fetched.tar.part"), "beginning").unwrap();
    fs::write(login.backups().join(".fetched.tar.part.toml"), "").unwrap();
    let mut command = client.command("scp");
    let slow =
        command.args(["-l", "16384"]).arg(&path).arg("appliance:").stderr(Stdio::piped()).spawn().unwrap();
    let part = login.backups().join("fw-a_1.tar.part");
    wait_until("the upload's beginning", || fs::metadata(&part).is_ok_and(|part| part.len() > 1 << 20));
    login.machine.kill9();
    let said = slow.wait_with_output().unwrap();
    assert!(!said.status.success(), "{said:?}");
    assert!(part.exists(), "the agent was killed after it had removed it: nothing is shown");
    login.machine.restart_daemon().unwrap();
    wait_until("the sweep", || names(&login) == [".fetched.tar.part.toml", "fetched.tar.part"]);
    login.admit();
    assert!(client.scp(&[path.to_str().unwrap(), "appliance:"]).ok());
}

#[test]
fn what_was_copied_onto_the_appliance_is_restored_from() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path().join("donor");
    Appliance::donor("fw-a").build(&root).unwrap();
    let mut donor = Machine::new(PROGRAM, &root);
    donor.start().unwrap();
    let made: Created = donor.client().post("/v1/backups", &json!({})).unwrap();
    donor.stop();
    let archive = root.join(reinstate_api::BACKUP_FOLDER).join(&made.file);

    let (login, client) = login();
    let said = client.scp(&[archive.to_str().unwrap(), "appliance:"]);
    assert!(said.ok(), "{said:?}");
    let request = json!({"source": {"backup": made.file}, "check": true});
    let _: Started = login.machine.client().post("/v1/restore", &request).unwrap();
    let last = login.machine.wait_until_idle().unwrap().last.unwrap();
    assert!(last.outcome.is_success(), "{last:?}");
}

#[test]
fn a_gibibyte_goes_through_without_the_agent_growing() {
    let (login, client) = login();
    let here = tempfile::tempdir().unwrap();
    let (path, _) = file(here.path(), "large.tar", 64 << 20);
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", login.machine.daemon().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert!(client.scp(&[path.to_str().unwrap(), "appliance:small.tar"]).ok());
    let small = memory();
    fs::File::options().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
    let said = client.scp(&[path.to_str().unwrap(), "appliance:"]);
    assert!(said.ok(), "{said:?}");
    assert!(client.scp(&["appliance:large.tar", "/dev/null"]).ok());
    let large = memory();
    assert!(large < small + (8 << 10), "{small} KiB after 64 MiB, {large} KiB after 1 GiB");
}

#[test]
fn an_upload_beyond_the_quota_is_refused_and_leaves_nothing() {
    let quota = "[backups]\nbytes = 40000000\nfiles = 2\n";
    let (login, client) = login_to(&Appliance::replacement().profile_override(quota));
    let here = tempfile::tempdir().unwrap();
    let (large, _) = file(here.path(), "large.tar", 41_000_000);
    let (small, _) = file(here.path(), "small.tar", 1000);
    let said = client.scp(&[large.to_str().unwrap(), "appliance:"]);
    // OpenSSH's clients have words of their own for a status; the agent's are in its log.
    assert!(!said.ok() && said.err.contains("Failure"), "{said:?}");
    assert!(names(&login).is_empty());
    let log = fs::read_to_string(login.machine.log()).unwrap();
    assert!(log.contains("at most 40000000 are kept"), "{log}");
    for name in ["a.tar", "b.tar"] {
        assert!(client.scp(&[small.to_str().unwrap(), &format!("appliance:{name}")]).ok());
    }
    assert!(!client.scp(&[small.to_str().unwrap(), "appliance:c.tar"]).ok());
    let log = fs::read_to_string(login.machine.log()).unwrap();
    assert!(log.contains("2 files are in /var/sf/backup; at most 2 are kept"), "{log}");
    assert_eq!(names(&login), ["a.tar", "b.tar"]);
}

#[test]
fn a_full_disk_is_kept_some_room_and_the_upload_is_refused() {
    let (login, client) = login();
    // In the agent's own namespace.
    let mount = ["-t", "tmpfs", "-o", "size=40m,mode=750", "backups"];
    reinstate_tests::must(login.inside("mount").args(mount).arg(login.backups()));
    let here = tempfile::tempdir().unwrap();
    let (large, _) = file(here.path(), "large.tar", 48 << 20);
    let (small, _) = file(here.path(), "small.tar", 1 << 20);
    let said = client.scp(&[large.to_str().unwrap(), "appliance:"]);
    assert!(!said.ok() && said.err.contains("Failure"), "{said:?}");
    let log = fs::read_to_string(login.machine.log()).unwrap();
    assert!(log.contains("free space in /var/sf/backup"), "{log}");
    let there: Vec<BackupFile> = login.machine.client().get("/v1/files").unwrap();
    assert!(there.is_empty(), "{there:?}");
    assert!(client.scp(&[small.to_str().unwrap(), "appliance:"]).ok());
}
