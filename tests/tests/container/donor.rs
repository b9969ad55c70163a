//! An appliance in service that makes a backup and then fails: a container of its own.

use std::fs;
use std::sync::LazyLock;

use reinstate_tests::appliance::Enrolment;
use reinstate_tests::container::{Container, Hardware, apart};
use reinstate_tests::donor::{ACCOUNTS, ADDRESS, configure};
use reinstate_tests::forge::Forge;
use reinstate_tests::manager::Manager;
use reinstate_tests::outside::Picture;
use reinstate_tests::vm::{FACTORY_ADDRESS, SERVER, Ssh};

/// A failed appliance, and what was known of it.
pub struct Donor {
    pub picture: Picture,
    pub file: String,
    pub archive: Vec<u8>,
    /// Of the hardware that it ran on.
    pub serial: String,
}

/// The donor of all tests that run in one go.
pub fn donor() -> &'static Donor {
    static DONOR: LazyLock<Donor> = LazyLock::new(Donor::fail);
    &DONOR
}

impl Donor {
    /// Its archive with something else in it, all digests right.
    pub fn archive_with(&self, change: impl FnOnce(&mut Forge)) -> Vec<u8> {
        let mut archive = Forge::open(&self.archive).unwrap();
        change(&mut archive);
        archive.write().unwrap()
    }

    fn fail() -> Self {
        apart("donor", |site| {
            let hardware = Hardware::new("fw-a", 0x0a);
            let serial = hardware.appliance.hardware().serial.clone();
            let mut appliance = Container::new(site, hardware);
            appliance.start();
            appliance.wait_for_ssh(FACTORY_ADDRESS);
            // Nobody answers there: what a manager hears is the matter of those tests that have one.
            let manager = Manager::at((SERVER, 0).into(), &SERVER.to_string()).unwrap();
            let say = |command: &str, input: &[u8]| {
                let said = appliance.said(command, input);
                assert!(said.ok, "`{command}`: {said:?}");
                said.out
            };
            configure(say, &Enrolment::with(&manager, "fw-a").unwrap());
            appliance.reboot();
            appliance.wait_for_ssh(ADDRESS);
            let made = Ssh::with_password("admin", appliance.door(ADDRESS), ACCOUNTS[0].1)
                .patient("backup create", "");
            assert!(made.ok, "{made:?}");
            let file = appliance.look("cd /var/sf/backup && ls *.tar").trim().to_owned();
            assert!(file.starts_with("fw-a_"), "the backup's name is {file}");
            let archive = fs::read(appliance.root().join("var/sf/backup").join(&file)).unwrap();
            let picture = Picture::of(&appliance, ADDRESS, &ACCOUNTS);
            assert_eq!(picture.hostname(), "fw-a\n".repeat(3), "the donor's name is configured");
            assert!(picture.may_log_in("alice", ACCOUNTS[1].1), "the donor's accounts are: {picture:?}");
            appliance.power_off();
            Self { picture, file, archive, serial }
        })
    }
}
