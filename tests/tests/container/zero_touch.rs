//! A restore that nobody types, at the first boot.

use reinstate_tests::container::{Container, apart};
use reinstate_tests::donor::ADDRESS;
use reinstate_tests::promises::Replacement as _;

use crate::donor::donor;
use crate::replacement::Replacement;
use crate::server::{PASSWORD, Server, USER};

/// Nobody is there.
const OFFER: &str = "host = '192.168.45.99', user = 'a', path = '/a.tar', fingerprint = 'SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'\n";

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn an_appliance_that_somebody_has_configured_takes_nothing_though_it_has_never_run_a_job() {
    apart("configured", |site| {
        let mut new = Replacement::boot(site);
        new.container.look("echo fw-b > /etc/hostname; sync; systemctl reboot --no-block");
        new.container.wait_until_down();
        new.container.hardware_mut().credentials.push(("reinstate.restore".into(), OFFER.into()));
        new.container.start();
        new.container.wait_for_boot();
        let log = new.container.look("journalctl -b -o cat --no-pager -u reinstate-zero-touch.service");
        assert!(log.contains("/etc/hostname is not as it was at the first start"), "{log}");
        let history = new.shell("show restore", "").out;
        assert!(history.contains("There was no restore"), "{history}");
    });
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn what_a_credential_offers_is_restored_once_at_the_first_boot() {
    apart("zero-touch", |site| {
        let server = Server::start(site);
        let mut hardware = Replacement::hardware();
        let offer = format!(
            "host = \"{}\"\nuser = \"{USER}\"\npath = \"{}/{}\"\nfingerprint = \"{}\"\npassword = \"{PASSWORD}\"\n",
            server.sshd.address(),
            server.folder(),
            donor().file,
            server.sshd.fingerprint()
        );
        hardware.credentials.push(("reinstate.restore".into(), offer));
        let mut container = Container::new(site, hardware);
        container.start();
        container.restarts();
        container.wait_for_ssh(ADDRESS);
        let mut new = Replacement { container, address: ADDRESS };
        new.wait_for_agent();
        let shown = new.end_of_job();
        assert!(shown.contains(": succeeded"), "{shown}");
        assert_eq!(new.picture(), donor().picture);
        let history = new.shell("show restore history", "").out;

        // The offer is still there, and this appliance is configured.
        new.container.wait_for_boot();
        new.container.reboot();
        new.container.wait_for_ssh(ADDRESS);
        new.wait_for_agent();
        new.container.wait_for_boot();
        let log = new.container.look("journalctl -b -o cat --no-pager -u reinstate-zero-touch.service");
        assert!(log.contains("nothing is taken"), "{log}");
        assert_eq!(new.shell("show restore history", "").out, history);
    });
}
