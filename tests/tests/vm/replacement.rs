//! A machine as it leaves the factory, with a real SSH server in reach that holds the donor's backup.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use reinstate_api::InterfaceView;
use reinstate_tests::manager::{Mood, Told};
use reinstate_tests::outside::Picture;
use reinstate_tests::sshd::{Account, Sshd, SshdOptions};
use reinstate_tests::vm::{BOOT, Console, FACTORY_ADDRESS, Hardware, PROMPT, SERVER, Vm, kept, until};
use tempfile::TempDir;

use crate::donor::{ACCOUNTS, ADDRESS, donor, end_of_job};

/// A line of a program that runs in the guest.
pub const ANSWER: Duration = Duration::from_secs(120);

pub const SERVER_PASSWORD: &str = "Kept-Elsewhere-22";

pub struct Replacement {
    pub vm: Vm,
    pub server: Sshd,
    served: TempDir,
    /// How many announcements were on the wire before its restart.
    before: usize,
    /// How often the manager had been told of a restore before this one.
    told: usize,
}

impl Replacement {
    /// Boots, after the donor has failed.
    pub fn boot(name: &str) -> Self {
        let mut new = Self::racked(name);
        new.vm.start();
        new
    }

    /// The same, not switched on yet.
    pub fn racked(name: &str) -> Self {
        let donor = donor();
        donor.manager.set(Mood::Answer(204));
        let served = served(&donor.file, &fs::read(&donor.archive).unwrap());
        let server = Sshd::start(&SshdOptions {
            account: Some(Account { name: "vault".into(), password: SERVER_PASSWORD.into() }),
            ..SshdOptions::default()
        });
        let hardware = Hardware::new("new", 0x0b)
            .also(ADDRESS)
            .reaching(22, server.port())
            .reaching(donor.manager.port(), donor.manager.port());
        assert_ne!(hardware.serial, donor.serial);
        let vm = Vm::new(&kept(name), hardware);
        Self { vm, server, served, before: 0, told: donor.manager.told().len() }
    }

    /// Logs in as admin on the serial console, where the first login asks its questions.
    pub fn first_login(&mut self) {
        first_login(self.vm.console());
    }

    /// Where the donor's backup is on the server: folder and file.
    pub fn place(&self) -> (&Path, &str) {
        (self.served.path(), &donor().file)
    }

    /// The line that restores the donor's backup from the server.
    pub fn line(&self, more: &str) -> String {
        let (folder, file) = self.place();
        let folder = folder.display();
        format!("restore remote-manager-backup location {SERVER} vault {folder} {file} {more}")
    }

    /// The server's password, the details, and Y; gives when it was typed.
    pub fn answer(console: &mut Console) -> Instant {
        console.expect("password:", ANSWER);
        console.type_line(SERVER_PASSWORD);
        Self::confirm(console)
    }

    /// The details, and Y; gives when it was typed.
    pub fn confirm(console: &mut Console) -> Instant {
        console.expect("Hostname = fw-a", ANSWER);
        console.expect("Are you sure you want to continue (Y/N): ", ANSWER);
        let asked = Instant::now();
        console.type_line("Y");
        asked
    }

    /// The restart; waits until the new address answers.
    pub fn restarts(&mut self) {
        self.vm.qmp().expect("RESET", BOOT);
        self.answers();
    }

    /// After the restart: waits until the new address answers.
    pub fn answers(&mut self) {
        self.before = self.vm.announced().len();
        self.vm.wait_for_ssh(ADDRESS);
    }

    /// Everything that is promised of a restore, held against the donor.
    pub fn is_the_donor(&self) {
        let (vm, donor) = (&self.vm, donor());
        let shown = end_of_job(vm, ADDRESS);
        println!("{shown}");
        let value = |key: &str| {
            let line = shown.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
        };
        assert_eq!(value("Result").as_deref(), Some("succeeded"), "{shown}");
        assert_eq!(value("Restore lock").as_deref(), Some("not taken"), "{shown}");
        assert!(!vm.answers(FACTORY_ADDRESS), "the old address still answers");
        assert_eq!(Picture::of(vm, ADDRESS, &ACCOUNTS), donor.picture);
        assert_eq!(vm.own_addresses(self.before), donor.announced, "on the wire");
        self.vpn_is_gone(&shown);
        self.keys_are_in_memory();
    }

    /// Login on the serial console, with the donor's password; what happened is shown there.
    pub fn console_tells_of_it(&mut self) {
        let console = self.vm.console();
        console.expect("fw-a login: ", BOOT);
        console.log_in(ACCOUNTS[0].1, ANSWER);
        console.expect(PROMPT, ANSWER);
        console.type_line("show restore");
        console.expect(": succeeded", ANSWER);
    }

    /// By the device that the donor was, with the donor's certificate.
    pub fn manager_hears_of_it(&self) -> Told {
        let donor = donor();
        let told = until("the check-in", BOOT, || donor.manager.told().into_iter().nth(self.told));
        assert_eq!(told.certificate, donor.certificate);
        assert_eq!(told.path, format!("/api/v1/devices/{}", told.body["device"]["uuid"].as_str().unwrap()));
        assert_eq!(told.body["device"]["hostname"], "fw-a");
        told
    }

    /// By the profile's names in bus order, each with what the hardware is.
    pub fn knows_its_interfaces(&self) {
        let shown = self.vm.look(ADDRESS, "reinstate-shell -c 'show interface --json'");
        let interfaces: Vec<InterfaceView> = serde_json::from_str(&shown).unwrap();
        let names: Vec<&str> = interfaces.iter().map(|one| one.kernel.as_str()).collect();
        assert_eq!(names, ["management0", "failover0", "data0", "data1"], "{shown}");
        let addresses: BTreeSet<&str> = interfaces.iter().map(|one| one.mac.as_str()).collect();
        assert!(addresses.len() == 4 && addresses.iter().all(|mac| mac.len() == 17), "{shown}");
        assert_eq!((interfaces[0].link, interfaces[0].mtu), (Some(true), Some(1500)), "{shown}");
    }

    fn vpn_is_gone(&self, shown: &str) {
        let left = self.vm.look(ADDRESS, "find /etc/swanctl -type f ! -name swanctl.conf");
        assert_eq!(left, "", "VPN configuration of the donor");
        for name in ["site-b", "site-c"] {
            assert!(shown.contains(name), "{name} is not listed: {shown}");
        }
    }

    fn keys_are_in_memory(&self) {
        for key in ["/etc/ssh/ssh_host_ed25519_key", "/etc/appliance/manager.key"] {
            let place = self.vm.look(
                ADDRESS,
                &format!("readlink -f {key}; test -s {key} && findmnt -nro FSTYPE -T $(readlink -f {key})"),
            );
            assert_eq!(place, format!("/run/reinstate/secrets{key}\ntmpfs\n"));
        }
    }
}

/// An archive where the server's account may read it.
pub fn served(name: &str, archive: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = folder.path().join(name);
    fs::write(&file, archive).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    folder
}

/// Logs in as admin for the first time, up to the shell's prompt.
pub fn first_login(console: &mut Console) {
    console.expect("login: ", BOOT);
    console.first_login(ACCOUNTS[2].1, ANSWER);
}
