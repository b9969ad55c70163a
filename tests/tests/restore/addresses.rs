//! The management address while the old appliance is still connected: whole restores on a link of the test's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use reinstate_api::{Code, Outcome, Override};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::compare::{NO_CONFIGURATION, Node, Tree};
use reinstate_tests::link::Host;

use crate::scene::{Donor, FILE, PROGRAM, Scene};

const OLD: (&str, &str) = ("old0", "00:50:56:0a:0b:0c");
const MAC: &str = OLD.1;

/// A replacement whose management interface is on a link with the old appliance, which has no address yet.
fn scene(replacement: Appliance) -> (Scene, Host, Host) {
    linked(Donor::usual(), replacement)
}

fn linked(donor: Arc<Donor>, replacement: Appliance) -> (Scene, Host, Host) {
    let (here, old) = (Host::new(), Host::new());
    let management = replacement.hardware().interfaces[0].clone();
    here.connect((&management.kernel, &management.mac), &old, OLD);
    let scene = Scene::run_by(donor, replacement, |place, _| here.script(place, PROGRAM));
    (scene, here, old)
}

#[test]
fn an_old_appliance_that_is_still_connected_refuses_the_restore_and_its_mac_is_shown_before_the_question() {
    let (scene, _here, old) = scene(Appliance::replacement());
    old.ip("address add 192.0.2.10/24 dev old0");
    let refused = scene.refused_here();
    let failure = refused.alone(Code::AddressInUse, &["192.0.2.10", MAC, "still connected"]);
    assert!(failure.hint.contains("address-in-use-ok"), "{failure:?}");
    let text = &refused.said.text;
    let question = text.find("Are you sure").expect("the question is asked");
    assert!(text.find(MAC).is_some_and(|told| told < question), "{text}");
}

#[test]
fn an_old_appliance_is_seen_by_its_ipv6_address_too_and_by_a_check() {
    let (scene, _here, old) = scene(Appliance::replacement());
    old.ip("address add 2001:db8::10/64 dev old0 nodad");
    let refused = scene.refused(&format!("restore remote-manager-backup {FILE} check"), "");
    refused.alone(Code::AddressInUse, &["2001:db8::10", MAC]);
}

#[test]
fn with_address_in_use_ok_the_restore_goes_on_and_what_was_found_is_on_record() {
    let (scene, _here, old) = scene(Appliance::replacement());
    old.ip("address add 192.0.2.10/24 dev old0");
    let said = scene.say(&format!("restore remote-manager-backup {FILE} address-in-use-ok"), "Y\n");
    assert_eq!(said.status, Some(0), "{said:?}");
    scene.restored(1);
    let entry = scene.history().remove(0);
    let [overridden] = &entry.overrides[..] else { panic!("{entry:?}") };
    assert_eq!(overridden.what, Override::AddressInUseOk);
    assert!(overridden.why.contains("192.0.2.10") && overridden.why.contains(MAC), "{overridden:?}");
}

#[test]
fn address_in_use_ok_is_not_on_record_where_it_was_not_needed() {
    let (scene, _here, _old) = scene(Appliance::replacement());
    let said = scene.say(&format!("restore remote-manager-backup {FILE} address-in-use-ok"), "Y\n");
    assert_eq!(said.status, Some(0), "{said:?}");
    scene.restored(1);
    assert_eq!(scene.history()[0].overrides, []);
}

/// Whether or not its keys were sealed: a generation that was live seals them.
fn unsealed(tree: &Tree) -> BTreeMap<String, Node> {
    tree.iter().map(|(path, node)| (path.to_owned(), Node { sealed: false, ..node.clone() })).collect()
}

#[test]
fn an_old_appliance_that_comes_back_during_the_restart_takes_the_restore_back() {
    let (scene, _here, old) = scene(Appliance::replacement());
    let said = scene.say(&format!("restore remote-manager-backup {FILE}"), "Y\n");
    assert_eq!(said.status, Some(0), "{said:?}");
    old.ip("address add 192.0.2.10/24 dev old0");
    scene.machine.wait_for_reboot(2).unwrap();
    let status = scene.machine.wait_until_idle().unwrap();
    let last = status.last.expect("the restore is on record");
    let Outcome::RolledBack { failures } = &last.outcome else { panic!("{last:?}") };
    let [failure] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!(failure.code, Code::AddressInUse);
    assert!(failure.message.contains("192.0.2.10") && failure.message.contains(MAC), "{failure}");
    assert_eq!(unsealed(&scene.before), unsealed(&Tree::read(scene.root(), &NO_CONFIGURATION).unwrap()));
    assert_eq!(scene.machine.reboots(), 2, "there and back, and no more");
}

#[test]
fn a_cable_that_is_not_in_is_told_and_keeps_no_restore() {
    let (scene, _here, old) = scene(Appliance::replacement());
    old.ip("link set dev old0 down");
    scene.restore_here();
    let notes = scene.history().remove(0).notes;
    assert!(
        notes.iter().any(|note| note.contains("192.0.2.10 was not probed: eth0 is not connected")),
        "{notes:?}"
    );
}

#[test]
fn management_by_dhcp_is_not_probed_and_the_mac_to_reserve_is_told_for_good() {
    let donor = Arc::new(Donor::of(&Appliance::donor("fw-a").management(&["dhcp"])));
    let replacement = Appliance::replacement();
    let mac = replacement.hardware().interfaces[0].mac.clone();
    let (scene, _here, _old) = linked(donor, replacement);
    scene.restore_here();
    let notes = scene.history().remove(0).notes;
    let told =
        format!("management has no fixed address to probe: where DHCP gives it, reserve it for MAC {mac}");
    assert!(notes.contains(&told), "{notes:?}");
}
