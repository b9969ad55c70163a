//! An appliance in service that makes a backup and then fails: a machine of its own, so that nothing is compared with
//! what somebody wrote down.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::LazyLock;

use reinstate_tests::appliance::Enrolment;
pub use reinstate_tests::donor::{ACCOUNTS, ADDRESS};
use reinstate_tests::forge::Forge;
use reinstate_tests::manager::{Manager, Mood};
use reinstate_tests::outside::Picture;
use reinstate_tests::vm::{BOOT, FACTORY_ADDRESS, Hardware, SERVER, Ssh, Vm, kept, until};

/// A failed appliance, and what was known of it.
pub struct Donor {
    pub picture: Picture,
    /// The addresses that it said were its own.
    pub announced: BTreeSet<IpAddr>,
    pub file: String,
    /// Below a folder that any account may read.
    pub archive: PathBuf,
    pub serial: String,
    /// Which the donor was registered with.
    pub manager: Manager,
    /// What the donor showed its manager, DER.
    pub certificate: Vec<u8>,
}

/// The donor of all tests that run in one go.
pub fn donor() -> &'static Donor {
    static DONOR: LazyLock<Donor> = LazyLock::new(Donor::fail);
    &DONOR
}

impl Donor {
    /// Its archive with something else in it, all digests right.
    pub fn archive_with(&self, change: impl FnOnce(&mut Forge)) -> Vec<u8> {
        let mut archive = Forge::open(&fs::read(&self.archive).unwrap()).unwrap();
        change(&mut archive);
        archive.write().unwrap()
    }

    fn fail() -> Self {
        let folder = kept("donor");
        let hardware = Hardware::new("fw-a", 0x0a).also(ADDRESS);
        let serial = hardware.serial.clone();
        let mut vm = Vm::new(&folder, hardware);
        vm.start();
        vm.wait_for_ssh(FACTORY_ADDRESS);
        let manager = manager();
        let certificate = configure(&vm, &manager);
        // What is recorded is what it is after a boot with this configuration. The answer may not arrive any more.
        let _ = vm.ssh(FACTORY_ADDRESS).said("systemctl reboot", "");
        vm.qmp().expect("RESET", BOOT);
        let before = vm.announced().len();
        vm.wait_for_ssh(ADDRESS);
        let admin = Ssh::with_password("admin", vm.door(ADDRESS), ACCOUNTS[0].1);
        let made = admin.patient("backup create", "");
        assert!(made.ok, "{made:?}");
        let file = vm.look(ADDRESS, "cd /var/sf/backup && ls *.tar").trim().to_owned();
        assert!(file.starts_with("fw-a_"), "the backup's name is {file}");
        let archive = folder.join(&file);
        vm.ssh(ADDRESS).fetch(&format!("/var/sf/backup/{file}"), &archive);
        let picture = Picture::of(&vm, ADDRESS, &ACCOUNTS);
        assert_eq!(picture.hostname(), "fw-a\n".repeat(3), "the donor's name is configured");
        assert!(picture.may_log_in("alice", ACCOUNTS[1].1), "the donor's accounts are: {picture:?}");
        let announced = vm.own_addresses(before);
        vm.power_off(ADDRESS);
        Self { picture, announced, file, archive, serial, manager, certificate }
    }
}

/// Guests find it at [`SERVER`], where no name is needed.
fn manager() -> Manager {
    let mut manager = Manager::at((Ipv4Addr::LOCALHOST, 0).into(), &SERVER.to_string()).unwrap();
    manager.open(Mood::Answer(204)).unwrap();
    manager
}

/// Puts the donor's configuration on a machine as it leaves the factory; gives its certificate for the manager.
fn configure(vm: &Vm, manager: &Manager) -> Vec<u8> {
    let root = vm.ssh(FACTORY_ADDRESS);
    let enrolment = Enrolment::with(manager, "fw-a").unwrap();
    let say = |command: &str, input: &[u8]| {
        let said = root.patient(command, input);
        assert!(said.ok, "`{command}`: {said:?}");
        said.out
    };
    reinstate_tests::donor::configure(say, &enrolment);
    enrolment.der().unwrap()
}

/// Waits for the end of the job that runs, and gives what `show restore` says then.
pub fn end_of_job(vm: &Vm, address: impl Into<IpAddr>) -> String {
    let address = address.into();
    until("the end of the restore", BOOT, || {
        let said = vm.ssh(address).said("reinstate-shell -c 'show restore' </dev/null", "");
        (said.ok && said.out.lines().any(|line| line.starts_with("Result "))).then_some(said.out)
    })
}
