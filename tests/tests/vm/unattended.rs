//! Restores without a network, and without anybody.

use std::fs;

use reinstate_tests::vm::{
    BOOT, Console, FACTORY_ADDRESS, Format, Hardware, Medium, PROMPT, Ssh, Vm, image, kept, raw_copy, script,
    until, with_root,
};

use crate::donor::{ACCOUNTS, ADDRESS, Donor, donor};
use crate::replacement::{ANSWER, Replacement, SERVER_PASSWORD};

impl Donor {
    /// A medium with its backup, and perhaps more.
    fn medium(&self, vm: &Vm, format: Format, more: &[(&str, &[u8])]) -> Medium {
        let archive = fs::read(&self.archive).unwrap();
        let mut files = vec![(self.file.as_str(), archive.as_slice())];
        files.extend(more);
        Medium::new(vm.folder(), format, &files)
    }

    /// The UUID of the device, as its backup has it.
    fn uuid(&self) -> String {
        let mut uuid = String::new();
        self.archive_with(|archive| uuid.clone_from(&archive.manifest.device.uuid));
        uuid
    }
}

/// Copies the donor's backup from a medium that has just been plugged in.
fn import(console: &mut Console) {
    loop {
        console.type_line("backup import medium");
        let (which, _) = console.expect_any(&["is here now", "there is no medium"], ANSWER);
        console.expect(PROMPT, ANSWER);
        if which == 0 {
            return;
        }
    }
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn a_replacement_without_a_carrier_becomes_its_donor_by_the_serial_console_and_a_second_disk() {
    let mut new = Replacement::boot("no-carrier");
    new.vm.plug(false);
    new.first_login();
    let medium = donor().medium(&new.vm, Format::Ext4, &[]);
    new.vm.insert(&medium);
    let console = new.vm.console();
    import(console);
    console.type_line(&format!("restore remote-manager-backup {}", donor().file));
    Replacement::confirm(console);
    console.expect("System will now reboot.", ANSWER);
    new.vm.qmp().expect("RESET", BOOT);
    new.console_tells_of_it();
    new.vm.plug(true);
    new.answers();
    new.is_the_donor();
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn a_replacement_with_the_backup_on_a_disc_becomes_its_donor_by_itself() {
    let mut new = Replacement::racked("disc");
    let answers = format!("device = \"{}\"\n", donor().uuid());
    let disc = donor().medium(&new.vm, Format::Disc, &[("answers.toml", answers.as_bytes())]);
    new.vm.hardware_mut().medium = Some(disc);
    new.vm.start();
    new.vm.console().expect("Unattended: restore remote-manager-backup backup ", BOOT);
    new.restarts();
    new.is_the_donor();
    // The disc is still there.
    let said = new.vm.look(ADDRESS, "journalctl -b -o cat -u reinstate-zero-touch.service");
    assert!(said.contains("this appliance is configured"), "{said}");
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn a_replacement_with_a_credential_becomes_its_donor_by_itself() {
    let mut new = Replacement::racked("credential");
    let (folder, file) = new.place();
    let offer = format!(
        "host = '192.168.45.100', user = 'vault', path = '{}/{file}', fingerprint = '{}', password = '{SERVER_PASSWORD}'",
        folder.display(),
        new.server.fingerprint()
    );
    new.vm.hardware_mut().credentials.push(("reinstate.restore".into(), offer));
    new.vm.start();
    new.vm.console().expect("Unattended: restore remote-manager-backup location ", BOOT);
    new.restarts();
    new.is_the_donor();
    assert!(!new.vm.console().text().contains(SERVER_PASSWORD), "the password was shown");
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn a_backup_on_a_fat_file_system_is_copied_as_it_is() {
    let mut new = Replacement::boot("fat");
    new.first_login();
    let medium = donor().medium(&new.vm, Format::Fat, &[]);
    new.vm.insert(&medium);
    import(new.vm.console());
    let folder = tempfile::tempdir().unwrap();
    let copied = folder.path().join("copied");
    // As the administrator that it was copied for.
    let admin = Ssh::with_password("admin", new.vm.door(FACTORY_ADDRESS), ACCOUNTS[2].1);
    new.vm.wait_for_ssh(FACTORY_ADDRESS);
    admin.fetch(&format!("/var/sf/backup/{}", donor().file), &copied);
    assert!(fs::read(copied).unwrap() == fs::read(&donor().archive).unwrap());
    let shown = new.vm.look(FACTORY_ADDRESS, "findmnt -rn /run/reinstate/medium || echo none");
    assert_eq!(shown, "none\n", "the medium can be taken out");
}

/// What a hypervisor says of the properties that a machine was deployed with.
fn environment(properties: &[(&str, &str)]) -> String {
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Environment\n  xmlns=\"http://schemas.dmtf.org/ovf/environment/1\"\n  \
                xmlns:oe=\"http://schemas.dmtf.org/ovf/environment/1\">\n<PropertySection>\n";
    let property = |(key, value): &(&str, &str)| {
        let value =
            value.replace('&', "&amp;").replace('\'', "&apos;").replace('<', "&lt;").replace('"', "&quot;");
        format!("  <Property oe:key=\"{key}\" oe:value=\"{value}\"/>\n")
    };
    format!(
        "{head}{}</PropertySection>\n</Environment>\n",
        properties.iter().map(property).collect::<String>()
    )
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn an_appliance_comes_up_with_what_it_was_deployed_with() {
    let folder = kept("deployed");
    let password = "Deployed & \"quoted\" <45>";
    // Nobody is there, so it has to be said that it was tried.
    let key = "A".repeat(43);
    let offer =
        format!("host = '192.168.45.100', user = 'vault', path = '/a.tar', fingerprint = 'SHA256:{key}'");
    let said = environment(&[
        ("hostname", "fw-deployed"),
        ("address", &format!("{ADDRESS}/24")),
        ("gateway", "192.168.45.2"),
        ("dns", "192.168.45.3,192.168.45.4"),
        ("admin-password", password),
        ("restore", &offer),
    ]);
    let mut hardware = Hardware::new("deployed", 0x52).vmware().also(ADDRESS);
    hardware.image = raw_copy(&image("reinstate.qcow2"), &folder.join("disk.raw"));
    // The hypervisor's own channel is VMware's alone.
    with_root(&hardware.image, |root| {
        let program = root.join("usr/local/bin/vmware-rpctool");
        let text = format!(
            "#!/bin/sh\n[ \"$*\" = 'info-get guestinfo.ovfEnv' ] || exit 1\ncat <<'END'\n{said}END\n"
        );
        script(&program, &text);
    });
    let mut vm = Vm::new(&folder, hardware);
    vm.start();
    vm.wait_for_ssh(ADDRESS);
    assert_eq!(vm.look(ADDRESS, "systemd-detect-virt"), "vmware\n");
    assert_eq!(
        vm.look(ADDRESS, "hostnamectl hostname; uname -n; hostname -i 2>/dev/null | head -0"),
        "fw-deployed\n".repeat(2)
    );
    assert_eq!(
        vm.look(ADDRESS, "ip -4 route show default"),
        "default via 192.168.45.2 dev management0 proto static \n"
    );
    let servers = vm.look(ADDRESS, "resolvectl dns management0");
    assert!(servers.contains("192.168.45.3 192.168.45.4"), "{servers}");
    let admin = Ssh::with_password("admin", vm.door(ADDRESS), password);
    let shown = until("the end of the restore that was offered", BOOT, || {
        let said = admin.said("show restore", "");
        (said.ok && said.out.contains("Result ")).then_some(said.out)
    });
    assert!(shown.contains("failed") && shown.contains("192.168.45.100"), "{shown}");
    assert!(!vm.answers(FACTORY_ADDRESS), "the factory's address answers");
}
