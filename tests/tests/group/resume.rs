//! The HA engine that was suspended runs again.

use reinstate_api::Role;
use reinstate_tests::appliance::{Appliance, reference_profile};
use reinstate_tests::group::Roster;
use reinstate_tests::machine::Machine;

use crate::program;

const COMMAND: &str = "configure high-availability resume";

/// With the checker of the HA domain, by which a sandbox tells whether the engine runs.
fn checked(appliance: Appliance) -> Appliance {
    let ha = std::fs::read_to_string(reference_profile().join("domains.d/ha.toml")).unwrap();
    appliance.domain_override("ha", &ha)
}

fn started(appliance: &Appliance) -> (tempfile::TempDir, Machine) {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    appliance.build(&root).unwrap();
    let mut machine = Machine::new(program(), root);
    machine.start().unwrap();
    (place, machine)
}

fn said(machine: &Machine) -> (Option<i32>, String) {
    let output = machine.shell(COMMAND, "").unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_member_resumes_its_ha_engine_unless_the_engine_cannot_run() {
    let roster = Roster::new("edge", &[Role::Primary, Role::Secondary]);
    let (_place, machine) = started(&checked(roster.appliance(0)));
    let (status, text) = said(&machine);
    assert_eq!(status, Some(0), "{text}");
    let conf = machine.root().join("etc/keepalived/keepalived.conf");
    std::fs::write(conf, "vrrp_instance edge {\n    state NEITHER\n    interface\n").unwrap();
    let (status, text) = said(&machine);
    assert_eq!(status, Some(1), "{text}");
    for word in ["[unhealthy]", "the HA engine keepalived.service: active is expected"] {
        assert!(text.contains(word), "'{word}' is not in {text}");
    }
}

#[test]
fn an_appliance_in_no_group_has_nothing_to_resume() {
    let (_place, machine) = started(&Appliance::donor("fw-a").unregistered());
    let (status, text) = said(&machine);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("there is no /etc/appliance/ha/group.toml"), "{text}");
    assert!(text.contains("[not-found]"), "{text}");
}
