//! What a member is asked for by its admin and by the others: its HA engine, and its endpoint.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use reinstate_api::Role;
use reinstate_tests::appliance::{Appliance, reference_profile};
use reinstate_tests::group::Roster;
use reinstate_tests::group::net::Namespace;
use reinstate_tests::machine::Machine;
use reinstate_tests::vm::{script, until};

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

#[test]
fn members_are_answered_on_an_interface_whose_driver_was_not_loaded_when_the_agent_started() {
    let roster = Roster::new("edge", &[Role::Primary, Role::Secondary]);
    // The last card on the bus is not there yet; its name is that of an interface which the kernel has.
    let late = "[hardware]\ninterfaces = [\"management0\", \"failover0\", \"data0\", \"lo\"]\n[ha]\ninterfaces = [\"lo\"]\n";
    let appliance = roster.appliance(0).without_interface("0000:1b:00.0");
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    appliance.build(&root).unwrap();
    let file = root.join("etc/reinstate/profile.d/99-late.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, late).unwrap();
    let (inside, wrapper) = (Namespace::new(), place.path().join("inside"));
    let (network, agent) = (inside.path(), program().display().to_string());
    script(&wrapper, &format!("#!/bin/sh\nexec nsenter --net={network} {agent} \"$@\"\n"));
    let mut machine = Machine::new(wrapper, root);
    machine.start().unwrap();
    until("an answer at the endpoint's port", Duration::from_secs(30), || {
        inside.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, 8306)).ok())
    });
}
