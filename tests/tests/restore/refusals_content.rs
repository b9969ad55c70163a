//! What an archive holds, each thing wrong alone and every digest right: nothing is changed.

use reinstate_api::Code;
use reinstate_tests::appliance::{Appliance, reference_profile};
use reinstate_tests::forge::{self, Forge};

use crate::scene::{FILE, Refused, Scene};

/// The usual backup with one change to it, on the usual replacement.
fn refused(change: impl FnOnce(&mut Forge)) -> Refused {
    let scene = Scene::new(Appliance::replacement());
    let mut forge = Forge::open(&scene.donor.archive).unwrap();
    change(&mut forge);
    scene.keep(FILE, &forge.write().unwrap());
    scene.refused_here()
}

/// One more line at the end of a file of the backup.
fn with_line(domain: &'static str, path: &'static str, line: &'static str) -> Refused {
    refused(move |forge| {
        let text = forge.text(domain, path).unwrap();
        assert!(!text.is_empty(), "the donor has no {path}");
        forge.put(domain, path, &format!("{text}{line}\n")).unwrap();
    })
}

#[test]
fn an_archive_of_a_later_format_is_refused() {
    let scene = Scene::new(Appliance::replacement());
    scene.keep(FILE, &forge::of_format(&scene.donor.archive, 2).unwrap());
    scene.refused_here().alone(Code::ArchiveFormat, &["format 2", "format 1"]);
}

#[test]
fn an_archive_with_one_byte_changed_is_refused() {
    let scene = Scene::new(Appliance::replacement());
    let mut archive = scene.donor.archive.clone();
    let rules = archive.windows(11).position(|window| window == b"policy drop").unwrap();
    archive[rules] = b'P';
    scene.keep(FILE, &archive);
    scene.refused_here().alone(Code::DigestMismatch, &["SHA-256"]);
}

#[test]
fn an_archive_that_is_cut_is_refused() {
    let scene = Scene::new(Appliance::replacement());
    let archive = &scene.donor.archive;
    scene.keep(FILE, &archive[..archive.len() / 2]);
    scene.refused_here().alone(Code::ArchiveInvalid, &[]);
}

#[test]
fn a_domain_that_this_appliance_does_not_have_is_refused() {
    let scene = Scene::new(Appliance::replacement().without("usr/lib/reinstate/domains.d/pki.toml"));
    scene.refused_here().alone(Code::DomainUnknown, &["'pki'", "version 1", "has none"]);
}

#[test]
fn an_optional_domain_that_this_appliance_does_not_have_is_left_out() {
    let scene = Scene::new(Appliance::replacement().without("usr/lib/reinstate/domains.d/files.toml"));
    let said = scene.say(&format!("restore remote-manager-backup {FILE}"), "Y\n");
    assert_eq!(said.status, Some(0), "{said:?}");
    scene.restored(1);
}

#[test]
fn a_domain_of_another_version_is_refused() {
    let newer = "name = 'pki'\nversion = 2\npaths = ['/etc/appliance/pki/']\nrestore = 'replace'\n\
                 secrets = ['/etc/appliance/pki/private/**']\n";
    let scene = Scene::new(Appliance::replacement().domain_override("pki", newer));
    scene.refused_here().alone(Code::DomainUnknown, &["'pki'", "version is 1", "appliance's is 2"]);
}

#[test]
fn a_path_that_its_domain_does_not_own_is_refused() {
    for path in ["etc/cron.d/backdoor", "etc/systemd/system/x.service", "var/lib/reinstate/state.toml"] {
        refused(|forge| forge.put("pki", path, "x\n").unwrap()).alone(Code::PathNotOwned, &[path, "'pki'"]);
    }
}

#[test]
fn a_path_of_the_image_in_an_owned_folder_is_refused() {
    refused(|forge| forge.put("network", "etc/systemd/network/10-x.link", "[Match]\n").unwrap())
        .alone(Code::PathNotOwned, &["etc/systemd/network/10-x.link", "'network'"]);
}

#[test]
fn a_name_that_activation_uses_itself_is_refused_also_as_a_folder() {
    for path in ["etc/nftables.d/.reinstate-new.1", "etc/nftables.d/.reinstate-new.1/10-hidden.nft"] {
        refused(|forge| forge.put("firewall", path, "x\n").unwrap())
            .alone(Code::PathNotOwned, &[path, "activation uses itself"]);
    }
}

#[test]
fn a_notify_script_of_keepalived_is_refused() {
    let refused = with_line("ha", "etc/keepalived/keepalived.conf", "notify \"/tmp/run-me\"");
    refused.alone(Code::LineRefused, &["/etc/keepalived/keepalived.conf", "notify", "/tmp/run-me"]);
}

#[test]
fn a_firewall_file_that_includes_others_is_refused() {
    let refused = with_line("firewall", "etc/nftables.conf", "include \"/etc/shadow\"");
    refused.alone(Code::LineRefused, &["/etc/nftables.conf", "/etc/shadow"]);
}

#[test]
fn an_sshd_directive_that_runs_a_program_is_refused() {
    let refused = with_line("ssh", "etc/ssh/sshd_config", "ForceCommand /tmp/run-me");
    refused.alone(Code::LineRefused, &["/etc/ssh/sshd_config", "ForceCommand"]);
}

#[test]
fn a_drop_in_of_sshd_that_runs_a_program_is_refused() {
    let path = "etc/ssh/sshd_config.d/90-more.conf";
    for line in [
        "AuthorizedKeysCommand /tmp/run-me",
        "Subsystem sftp /tmp/run-me",
        "Force\"Command\" /tmp/run-me",
        "Allow\"TcpForwarding\" yes",
        "PidFile /etc/passwd",
    ] {
        refused(|forge| forge.put("ssh", path, &format!("{line}\n")).unwrap())
            .alone(Code::LineRefused, &["/etc/ssh/sshd_config.d/90-more.conf", line]);
    }
}

const UPDOWN: (&str, &str) =
    ("etc/swanctl/conf.d/evil.conf", "connections { a { children { a { updown = /tmp/run-me } } } }\n");

#[test]
fn an_updown_script_of_the_vpn_is_taken_off_with_the_vpn() {
    let scene = Scene::new(Appliance::replacement());
    let mut forge = Forge::open(&scene.donor.archive).unwrap();
    forge.put("vpn", UPDOWN.0, UPDOWN.1).unwrap();
    scene.keep(FILE, &forge.write().unwrap());
    scene.restore_here();
    assert!(!scene.root().join(UPDOWN.0).exists());
    let notes = &scene.history()[0].notes;
    assert!(notes.iter().any(|note| note.contains(UPDOWN.0) && note.contains("was taken off")), "{notes:?}");
}

#[test]
fn an_updown_script_is_refused_where_the_vendor_has_the_vpn_restored() {
    let text = std::fs::read_to_string(reference_profile().join("domains.d/vpn.toml")).unwrap();
    let replaced = text.replace("restore = \"remove\"", "restore = \"replace\"");
    assert_ne!(replaced, text);
    let scene = Scene::new(Appliance::replacement().domain_override("vpn", &replaced));
    let mut forge = Forge::open(&scene.donor.archive).unwrap();
    forge.put("vpn", UPDOWN.0, UPDOWN.1).unwrap();
    scene.keep(FILE, &forge.write().unwrap());
    scene
        .refused_here()
        .alone(Code::LineRefused, &["/etc/swanctl/conf.d/evil.conf", "updown", "/tmp/run-me"]);
}

#[test]
fn system_accounts_of_the_backup_do_not_change_those_that_are_here() {
    let scene = Scene::new(Appliance::replacement());
    let mut forge = Forge::open(&scene.donor.archive).unwrap();
    for (path, from, to) in [
        ("etc/passwd", "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin", "daemon:x:1005:0:::/usr/bin/bash"),
        ("etc/passwd", "sshd:x:101:65534::/run/sshd:/usr/sbin/nologin", "sshd:x:101:42::/:/usr/bin/bash"),
        ("etc/shadow", "root:*:", "root:$6$known$password:"),
        ("etc/shadow", "daemon:*:", "daemon:$6$known$password:"),
    ] {
        let text = forge.text("users", path).unwrap();
        assert!(text.contains(from), "{text}");
        forge.put("users", path, &text.replacen(from, to, 1)).unwrap();
    }
    let passwd = forge.text("users", "etc/passwd").unwrap();
    forge.put("users", "etc/passwd", &(passwd + "games:x:5:60::/:/usr/bin/bash\n")).unwrap();
    scene.keep(FILE, &forge.write().unwrap());
    // With the donor's people, and this appliance's own system.
    scene.restore_here();
}

#[test]
fn an_account_outside_the_numbers_of_people_does_not_come_to_life() {
    let scene = Scene::new(Appliance::replacement());
    let mut forge = Forge::open(&scene.donor.archive).unwrap();
    let mut passwd = forge.text("users", "etc/passwd").unwrap();
    for number in ["7", "101", "999", "65534", " 1005", "-1", ""] {
        passwd += &format!("eve{}:x:{number}:1001::/home/eve:/usr/bin/reinstate-shell\n", passwd.len());
    }
    forge.put("users", "etc/passwd", &passwd).unwrap();
    scene.keep(FILE, &forge.write().unwrap());
    scene.restore_here();
}

#[test]
fn an_account_that_stands_twice_with_two_numbers_is_refused() {
    let line = "alice:x:7:42::/home/alice:/usr/bin/reinstate-shell";
    let refused = with_line("users", "etc/passwd", line);
    refused.alone(Code::ArchiveInvalid, &["/etc/passwd", "'alice' stands in it twice"]);
}

#[test]
fn an_account_equal_to_root_in_the_backup_does_not_come_to_life_however_its_number_is_written() {
    let scene = Scene::new(Appliance::replacement());
    let mut forge = Forge::open(&scene.donor.archive).unwrap();
    let mut passwd = forge.text("users", "etc/passwd").unwrap();
    for (name, number) in [("toor", "0"), ("tooor", "00"), ("toooor", "+0"), ("tooooor", "4294967296")] {
        passwd += &format!("{name}:x:{number}:1000::/:/usr/bin/bash\n");
    }
    forge.put("users", "etc/passwd", &passwd).unwrap();
    scene.keep(FILE, &forge.write().unwrap());
    // With the donor's people, and nobody else.
    scene.restore_here();
}

#[test]
fn an_account_whose_login_shell_is_not_the_admins_shell_is_refused_and_the_same_backup_without_it_is_restored()
 {
    let scene = Scene::new(Appliance::replacement());
    for (account, shell, says) in [
        ("admin", "/bin/bash", "the shell /bin/bash"),
        ("alice", "/tmp/run-me", "the shell /tmp/run-me"),
        ("admin", "", "no shell, which is /bin/sh"),
    ] {
        let mut forge = Forge::open(&scene.donor.archive).unwrap();
        let passwd = forge.text("users", "etc/passwd").unwrap();
        let line = passwd.lines().find(|line| line.starts_with(account)).unwrap();
        let open = line.replace("/usr/bin/reinstate-shell", shell);
        assert_ne!(open, line);
        forge.put("users", "etc/passwd", &passwd.replace(line, &open)).unwrap();
        scene.keep(FILE, &forge.write().unwrap());
        let says = format!("'{account}' has {says}, and is the account of a person");
        scene.refused_here().alone(Code::AccountRefused, &[&says]);
    }
    scene.keep(FILE, &scene.donor.archive);
    scene.restore_here();
}

#[test]
fn an_account_that_only_the_appliance_itself_gave_another_shell_keeps_every_change_away() {
    let scene = Scene::new(Appliance::replacement());
    let path = scene.root().join("etc/passwd");
    let passwd = std::fs::read_to_string(&path).unwrap();
    let line = "installer:x:1001:1001:First installation:/home/installer:";
    let open = passwd.replace(&format!("{line}/usr/bin/reinstate-shell"), &format!("{line}/bin/bash"));
    assert_ne!(open, passwd);
    std::fs::write(&path, open).unwrap();
    scene.refused_here().alone(Code::AccountRefused, &["'installer' has the shell /bin/bash"]);
}

#[test]
fn an_account_that_may_not_log_in_is_restored() {
    let scene = Scene::new(Appliance::replacement());
    let mut forge = Forge::open(&scene.donor.archive).unwrap();
    let passwd = forge.text("users", "etc/passwd").unwrap();
    let alice = passwd.lines().find(|line| line.starts_with("alice")).unwrap();
    let closed = alice.replace("/usr/bin/reinstate-shell", "/usr/sbin/nologin");
    assert_ne!(closed, alice);
    forge.put("users", "etc/passwd", &passwd.replace(alice, &closed)).unwrap();
    scene.keep(FILE, &forge.write().unwrap());
    let said = scene.say(&format!("restore remote-manager-backup {FILE}"), "Y\n");
    assert_eq!(said.status, Some(0), "{said:?}");
    scene.machine.wait_for_reboot(1).unwrap();
    scene.machine.wait_until_idle().unwrap();
    let live = std::fs::read_to_string(scene.root().join("etc/passwd")).unwrap();
    assert!(live.contains(&closed), "{live}");
}

#[test]
fn nobody_else_says_whose_keys_let_root_in() {
    for line in
        ["AuthorizedKeysFile /etc/ssh/sshd_config.d/k", "PermitRootLogin yes", "TrustedUserCAKeys /etc/hosts"]
    {
        let refused = with_line("ssh", "etc/ssh/sshd_config", line);
        refused.alone(Code::LineRefused, &["/etc/ssh/sshd_config", line]);
    }
}

#[test]
fn an_account_with_a_system_group_of_its_own_is_refused() {
    let line = "eve:x:1007:42::/home/eve:/usr/bin/reinstate-shell";
    with_line("users", "etc/passwd", line).alone(Code::AccountRefused, &["'eve'", "system group 42"]);
}

#[test]
fn a_backup_puts_nobody_into_a_system_group_that_the_vendor_has_not_opened() {
    let scene = Scene::new(Appliance::replacement());
    let mut forge = Forge::open(&scene.donor.archive).unwrap();
    let group = forge.text("users", "etc/group").unwrap();
    let line = "shadow:x:42:";
    assert!(group.contains(&format!("{line}\n")), "{group}");
    forge.put("users", "etc/group", &group.replace(line, &format!("{line}alice"))).unwrap();
    scene.keep(FILE, &forge.write().unwrap());
    scene.restore_here();
    let notes = &scene.history()[0].notes;
    let told = notes.iter().any(|note| note.contains("account 'alice' is in no system group shadow here"));
    assert!(told, "{notes:?}");
}

#[test]
fn an_account_without_a_password_is_refused() {
    let refused = with_line("users", "etc/passwd", "eve::1007:1007::/home/eve:/usr/bin/reinstate-shell");
    refused.alone(Code::LineRefused, &["/etc/passwd", "eve"]);
}

#[test]
fn an_owner_that_this_appliance_does_not_know_is_refused() {
    let scene = Scene::new(Appliance::replacement());
    let mut forge = Forge::open(&scene.donor.archive).unwrap();
    forge.put("system", "etc/hosts", "127.0.0.1 localhost\n").unwrap();
    forge.give("system", "etc/hosts", "stranger").unwrap();
    scene.keep(FILE, &forge.write().unwrap());
    scene.refused_here().alone(Code::OwnerUnknown, &["/etc/hosts", "stranger"]);
}

#[test]
fn an_archive_with_right_digests_and_an_nftables_syntax_error_is_refused_before_the_reboot() {
    let refused = refused(|forge| {
        forge
            .put("firewall", "etc/nftables.d/10-input.nft", "table inet a { chain b { nonsense } }\n")
            .unwrap();
    });
    let failure = refused.alone(Code::ValidationFailed, &["'firewall'", "/usr/sbin/nft", "syntax error"]);
    assert!(failure.message.contains("10-input.nft"), "{failure}");
}

#[test]
fn what_sshd_and_keepalived_do_not_accept_is_refused_together() {
    let refused = refused(|forge| {
        forge.put("ssh", "etc/ssh/sshd_config", "NoSuchDirective yes\n").unwrap();
        let broken = "vrrp_instance a {\n    interface data0\n    virtual_router_id 999\n}\n";
        forge.put("ha", "etc/keepalived/keepalived.conf", broken).unwrap();
    });
    let codes: Vec<_> = refused.failures.iter().map(|failure| failure.code).collect();
    assert_eq!(codes, [Code::ValidationFailed, Code::ValidationFailed], "{:#?}", refused.failures);
    assert!(refused.said.text.contains("NoSuchDirective"), "{:?}", refused.said);
    assert!(refused.said.text.contains("999"), "{:?}", refused.said);
}
