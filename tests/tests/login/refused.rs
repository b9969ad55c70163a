//! What a login does not give, by stock clients.

use std::fs;

use super::{file, login, names};

#[test]
fn a_backup_is_not_written_over() {
    let (login, client) = login();
    let here = tempfile::tempdir().unwrap();
    let (path, content) = file(here.path(), "a.tar", 5000);
    let path = path.to_str().unwrap();
    assert!(client.scp(&[path, "appliance:"]).ok());
    fs::write(path, "another").unwrap();
    let said = client.scp(&[path, "appliance:"]);
    assert!(!said.ok() && said.err.contains("a.tar"), "{said:?}");
    assert!(fs::read(login.backups().join("a.tar")).unwrap() == content);
    let log = fs::read_to_string(login.machine.log()).unwrap();
    assert!(log.contains("a.tar is in /var/sf/backup already, with 5000 bytes"), "{log}");
    assert!(client.sftp("rm a.tar\n").ok());
    assert!(client.scp(&[path, "appliance:"]).ok());
    assert_eq!(fs::read(login.backups().join("a.tar")).unwrap(), b"another");
}

#[test]
fn only_files_in_the_backup_folder_are_copied() {
    let (login, client) = login();
    let here = tempfile::tempdir().unwrap();
    let (path, _) = file(here.path(), "a.tar", 5000);
    let path = path.to_str().unwrap();
    let folder = here.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("b.tar"), "b").unwrap();
    assert!(client.scp(&[path, "appliance:"]).ok());
    for to in [
        "appliance:/tmp/a.tar",
        "appliance:/etc/",
        "appliance:/var/sf/b.tar",
        "appliance:../b.tar",
        "appliance:folder/b.tar",
        "appliance:.hidden",
        "appliance:b.tar.part",
        "appliance:/home/admin/.ssh/authorized_keys",
    ] {
        let said = client.scp(&[path, to]);
        assert!(!said.ok() && said.err.contains("scp: "), "{to}: {said:?}");
    }
    let said = client.scp(&["-r", folder.to_str().unwrap(), "appliance:"]);
    assert!(!said.ok() && said.err.contains("failed to upload directory"), "{said:?}");
    for from in
        ["/etc/passwd", "/etc/shadow", "../../etc/passwd", ".ssh/authorized_keys", "/proc/self/environ"]
    {
        let to = here.path().join("got");
        let said = client.scp(&[format!("appliance:{from}"), to.to_str().unwrap().to_owned()]);
        assert!(!said.ok() && !to.exists(), "{from}: {said:?}");
    }
    for line in [
        "symlink /etc/passwd link",
        "ln -s /etc/passwd link",
        "ln a.tar link",
        "mkdir folder",
        "rmdir /var/sf/backup",
        "rename a.tar b.tar",
        "chmod 777 a.tar",
        "chown 0 a.tar",
        "rm /etc/passwd",
        "cd /etc",
        "cd ..",
        "ls /etc",
        "ls /home",
        "put -a /etc/hostname a.tar",
        "df",
    ] {
        // With a dash at its front sftp goes on after a failure, and says of which.
        let said = client.sftp(&format!("{line}\n"));
        assert!(!said.err.replace("Connected to appliance.", "").trim().is_empty(), "{line}: {said:?}");
    }
    assert_eq!(names(&login), ["a.tar"]);
    assert_eq!(fs::metadata(login.backups().join("a.tar")).unwrap().len(), 5000);
}

#[test]
fn legacy_scp_is_refused_with_a_sentence() {
    let (login, client) = login();
    let here = tempfile::tempdir().unwrap();
    let (path, _) = file(here.path(), "a.tar", 5000);
    for arguments in [["-O", path.to_str().unwrap(), "appliance:"], ["-O", "appliance:a.tar", "/dev/null"]] {
        let said = client.scp(&arguments);
        assert!(!said.ok() && said.text().contains("Syntax error"), "{said:?}");
    }
    assert!(names(&login).is_empty());
}

#[test]
fn the_subsystem_s_program_takes_no_words_from_a_login() {
    let (_login, client) = login();
    for command in [
        "/usr/lib/reinstate/sftp --socket /tmp/x",
        "/usr/lib/reinstate/sftp ",
        " /usr/lib/reinstate/sftp",
        "/usr/lib/reinstate/../reinstate/sftp",
        "exec /usr/lib/reinstate/sftp",
        "/usr/lib/openssh/sftp-server",
        "internal-sftp",
    ] {
        let said = client.ssh(&[], &[command]);
        assert_eq!(said.status, Some(2), "'{command}': {said:?}");
    }
}
