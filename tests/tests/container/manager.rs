//! The manager hears of a restore, or does not.

use reinstate_tests::appliance::Enrolment;
use reinstate_tests::container::{BOOT, Site, apart};
use reinstate_tests::manager::{Manager, Mood};
use reinstate_tests::vm::until;

use crate::donor::donor;
use crate::replacement::Replacement;

/// A manager on this machine's address, and the donor's archive had it been that one's.
fn managed(site: &Site, mood: Mood) -> (Manager, Enrolment, Vec<u8>) {
    let mut manager = Manager::at((site.address(), 0).into(), &site.address().to_string()).unwrap();
    manager.open(mood).unwrap();
    let enrolment = Enrolment::with(&manager, "fw-a").unwrap();
    let archive = donor().archive_with(|archive| {
        let config = archive.text("manager", "etc/appliance/manager.conf").unwrap();
        let lines = config.lines().map(|line| match line.starts_with("PORT=") {
            true => format!("PORT={}\n", enrolment.port),
            false => format!("{line}\n"),
        });
        let config: String = lines.collect();
        assert!(config.contains(&format!("HOST={}\n", enrolment.host)), "{config}");
        for (file, content) in [
            ("manager.conf", &config),
            ("manager-ca.pem", &enrolment.ca),
            ("manager.pem", &enrolment.certificate),
            ("manager.key", &enrolment.key),
        ] {
            archive.put("manager", &format!("etc/appliance/{file}"), content).unwrap();
        }
    });
    (manager, enrolment, archive)
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn the_manager_hears_of_the_restore_from_the_device_with_its_restored_certificate() {
    apart("manager", |site| {
        let (manager, enrolment, archive) = managed(site, Mood::Answer(204));
        let mut new = Replacement::boot(site);
        new.restore(&archive);
        new.container.restarts();
        let told = manager.wait_for(1).remove(0);
        assert_eq!(told.certificate, enrolment.der().unwrap());
        let uuid = new.container.look("sed -n s/^UUID=//p /etc/appliance/device.conf");
        assert_eq!((told.method.as_str(), told.path), ("PUT", format!("/api/v1/devices/{}", uuid.trim())));
        assert_eq!(told.body["device"]["hostname"], "fw-a");
        assert_eq!(told.body["state"], "out-of-date");
        assert!(new.end_of_job().contains(": succeeded"));
        let accepted = "Check-in                  : accepted, ";
        until("the answer on record", BOOT, || {
            new.shell("show managers", "").out.contains(accepted).then_some(())
        });
    });
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_manager_that_never_answers_holds_no_restore_up_and_no_lock() {
    apart("silent", |site| {
        let (manager, _, archive) = managed(site, Mood::Silent);
        let mut new = Replacement::boot(site);
        new.restore(&archive);
        new.container.restarts();
        manager.wait_for_connections(1);
        let shown = new.end_of_job();
        assert!(shown.contains(": succeeded"), "{shown}");
        let lock = shown.lines().find(|line| line.starts_with("Restore lock"));
        assert!(lock.is_some_and(|line| line.ends_with(": not taken")), "{shown}");
        new.container.look("test ! -e /var/lib/reinstate/restore.lock");
        assert!(new.shell("backup create", "").ok, "jobs go on");
        assert!(!new.shell("show managers", "").out.contains(": accepted"));
    });
}
