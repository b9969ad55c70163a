//! An HA pair of whole appliances: keepalived over the failover link, and the agents that meet on it.

use std::net::IpAddr;

use reinstate_tests::container::{Container, Hardware, Site, apart, ip};
use reinstate_tests::group::Roster;
use reinstate_tests::group::pair::OBSERVER;
use reinstate_tests::group::succession::{Member, Whole, both_are_replaced};
use reinstate_tests::vm::{FACTORY_ADDRESS, Said};

struct Contained<'a>(Container<'a>);

impl<'a> Contained<'a> {
    fn factory(site: &'a Site, name: &str, number: u8) -> Self {
        let mut container = Container::new(site, Hardware::new(name, number));
        container.start();
        container.wait_for_ssh(FACTORY_ADDRESS);
        let contained = Self(container);
        contained.wait_for_agent();
        contained
    }
}

impl Whole for Contained<'_> {
    fn run(&self, command: &str, input: &[u8]) -> Said {
        self.0.said(command, input)
    }

    fn restarts(&mut self, address: IpAddr, meanwhile: &mut dyn FnMut()) {
        self.0.wait_until_down();
        meanwhile();
        self.0.start();
        self.0.wait_for_ssh(address);
    }
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn both_members_of_a_pair_are_replaced_one_after_the_other_and_one_of_them_serves_all_the_time() {
    apart("ha", |site| {
        ip(&format!("address add {OBSERVER} dev failover"));
        both_are_replaced(|name, number| Contained::factory(site, name, number));
    });
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_suspended_ha_engine_runs_again_after_one_command() {
    const COMMAND: &str = "configure high-availability resume";
    apart("resume", |site| {
        let fresh = Contained::factory(site, "fresh", 0x3a);
        let said = fresh.say(COMMAND, "");
        assert_eq!(said.status, Some(1), "{said:?}");
        assert!(said.out.contains("[not-found]"), "{said:?}");

        let Member { on, .. } = Member::first(fresh, &Roster::pair(), 0);
        on.becomes("active");
        on.look("systemctl mask --now keepalived.service");
        on.becomes("unknown");
        let said = on.say(COMMAND, "");
        assert!(said.ok, "{said:?}");
        on.becomes("active");

        // What the engine does not start with.
        on.look("systemctl stop keepalived.service && rm /etc/keepalived/keepalived.conf");
        let said = on.say(COMMAND, "");
        assert_eq!(said.status, Some(1), "{said:?}");
        assert!(said.out.contains("[unhealthy]") && said.out.contains("(inactive)"), "{said:?}");
    });
}
