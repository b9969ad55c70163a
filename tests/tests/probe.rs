//! The probe and the failover address on real links: network namespaces with the kernel's own ARP and neighbour
//! discovery at the other end.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};

use reinstate_agent::probe::{Finding, Found};
use reinstate_api::{Code, Failure};
use reinstate_tests::link::Host;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");
const OURS: (&str, &str) = ("eth0", "02:00:5e:00:53:01");
const THEIRS: (&str, &str) = ("eth9", "02:00:5e:00:53:02");
const IPV4: &str = "192.0.2.10/24";
const IPV6: &str = "2001:db8::10/64";

/// This appliance, with another machine at the other end of its cable.
fn pair() -> (Host, Host) {
    let (here, there) = (Host::new(), Host::new());
    here.connect(OURS, &there, THEIRS);
    (here, there)
}

fn run(host: &Host, words: &[&str]) -> Output {
    host.command(PROGRAM).arg("reinstated").args(words).output().unwrap()
}

fn probe(host: &Host, addresses: &[&str]) -> Vec<Finding> {
    let output = run(host, &[&["probe", OURS.0, OURS.1], addresses].concat());
    assert!(output.status.success(), "{output:?}");
    let found: Vec<Found> = serde_json::from_slice(&output.stdout).unwrap();
    let asked: Vec<&str> = found.iter().map(|found| found.address.as_str()).collect();
    assert_eq!(asked, addresses);
    found.into_iter().map(|found| found.finding).collect()
}

fn used() -> Finding {
    Finding::Used { mac: THEIRS.1.parse().unwrap() }
}

fn proxied() -> Finding {
    Finding::Proxied { mac: THEIRS.1.parse().unwrap() }
}

fn why(finding: &Finding) -> &str {
    let Finding::NotProbed { why } = finding else { panic!("{finding:?}") };
    why
}

#[test]
fn a_device_that_has_the_ipv4_address_is_found_by_its_mac_from_whatever_subnet() {
    let (here, there) = pair();
    here.ip("address add 192.168.45.45/24 dev eth0");
    there.ip("address add 192.0.2.10/24 dev eth9");
    assert_eq!(probe(&here, &[IPV4, "192.0.2.11/24"]), [used(), Finding::Free]);
}

#[test]
fn a_device_that_has_the_ipv6_address_is_found_by_its_mac() {
    let (here, there) = pair();
    there.ip("address add 2001:db8::10/64 dev eth9 nodad");
    assert_eq!(probe(&here, &[IPV6, "2001:db8::11/64"]), [used(), Finding::Free]);
}

#[test]
fn where_nobody_answers_the_addresses_are_free() {
    let (here, there) = pair();
    there.ip("address add 192.0.2.1/24 dev eth9");
    there.ip("address add 2001:db8::1/64 dev eth9 nodad");
    assert_eq!(probe(&here, &[IPV4, IPV6]), [Finding::Free, Finding::Free]);
}

#[test]
fn an_address_that_this_appliance_has_already_is_free_and_another_device_with_it_is_found() {
    let (here, there) = pair();
    here.ip("address add 192.0.2.10/24 dev eth0");
    here.ip("address add 2001:db8::10/64 dev eth0 nodad");
    assert_eq!(probe(&here, &[IPV4, IPV6]), [Finding::Free, Finding::Free]);
    there.ip("address add 192.0.2.10/24 dev eth9");
    there.ip("address add 2001:db8::10/64 dev eth9 nodad");
    assert_eq!(probe(&here, &[IPV4, IPV6]), [used(), used()]);
}

#[test]
fn an_answer_of_another_interface_of_this_appliance_does_not_count() {
    let here = Host::new();
    here.connect(OURS, &here, THEIRS);
    here.ip("address add 192.0.2.10/24 dev eth9");
    here.ip("address add 2001:db8::10/64 dev eth9 nodad");
    assert_eq!(probe(&here, &[IPV4, IPV6]), [Finding::Free, Finding::Free]);
}

#[test]
fn a_device_that_answers_for_the_whole_ipv4_subnet_is_a_proxy() {
    let (here, there) = pair();
    there.ip("link set dev lo up");
    there.ip("route add local 192.0.2.0/24 dev lo");
    assert_eq!(probe(&here, &[IPV4]), [proxied()]);
}

#[test]
fn a_router_with_proxy_arp_does_not_keep_an_address_from_being_free() {
    let (here, there) = pair();
    there.set("ipv4/conf/all/forwarding", 1);
    there.set("ipv4/conf/eth9/proxy_arp", 1);
    there.connect(("behind", "02:00:5e:00:53:03"), &there, ("beyond", "02:00:5e:00:53:04"));
    there.ip("route add 192.0.2.0/24 dev behind");
    assert_eq!(probe(&here, &[IPV4]), [Finding::Free]);
}

#[test]
fn a_router_with_proxy_ndp_for_the_whole_subnet_is_a_proxy() {
    let (here, there) = pair();
    there.set("ipv6/conf/all/forwarding", 1);
    there.set("ipv6/conf/eth9/proxy_ndp", 1);
    there.connect(("behind", "02:00:5e:00:53:03"), &there, ("beyond", "02:00:5e:00:53:04"));
    there.ip("route add 2001:db8::/125 dev behind");
    for host in 1..=7 {
        there.ip(&format!("neighbour add proxy 2001:db8::{host} dev eth9"));
    }
    // For others it speaks from its own address only.
    there.settle("eth9");
    assert_eq!(probe(&here, &["2001:db8::5/125"]), [proxied()]);
}

#[test]
fn without_a_carrier_and_without_ipv6_an_address_is_not_probed_and_it_says_why() {
    let (here, there) = pair();
    here.set("ipv6/conf/eth0/disable_ipv6", 1);
    assert_eq!(why(&probe(&here, &[IPV6])[0]), "IPv6 is not enabled on eth0");
    there.ip("link set dev eth9 down");
    assert_eq!(why(&probe(&here, &[IPV4])[0]), "eth0 is not connected");
    here.ip("link set dev eth0 down");
    assert_eq!(why(&probe(&here, &[IPV4])[0]), "eth0 is not connected");
}

#[test]
fn what_is_no_fixed_address_is_not_probed() {
    let (here, _there) = pair();
    assert_eq!(why(&probe(&here, &["dhcp"])[0]), "it is no fixed address");
}

#[test]
fn an_interface_of_the_same_name_with_another_mac_is_left_alone() {
    let (here, there) = pair();
    there.ip("address add 192.0.2.10/24 dev eth9");
    here.ip("link set dev eth0 address 02:00:5e:00:53:07");
    assert_eq!(probe(&here, &[IPV4]), [Finding::NoInterface]);
    let output = run(&here, &["failover-address", "add", "192.0.2.1/30", OURS.0, OURS.1]);
    assert_eq!(failure(&output).code, Code::NotFound);
    assert!(!here.look("-o address show dev eth0").contains("192.0.2.1"));
}

fn failure(output: &Output) -> Failure {
    assert!(!output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn a_failover_address_comes_and_goes_and_doing_either_twice_is_no_error() {
    let (here, there) = pair();
    for address in ["192.0.2.1/30", "2001:db8:1::1/126"] {
        let words = |change| ["failover-address", change, address, OURS.0, OURS.1];
        for _ in 0..2 {
            let output = run(&here, &words("add"));
            assert!(output.status.success(), "{output:?}");
            assert!(here.look("-o address show dev eth0").contains(address));
        }
        assert!(!here.look("-6 -o address show dev eth0 tentative").contains(address), "it can be used");
        let ip = if address.contains(':') { "2001:db8:1::2/126" } else { "192.0.2.2/30" };
        there.ip(&format!("address add {ip} dev eth9"));
        for _ in 0..2 {
            let output = run(&here, &words("remove"));
            assert!(output.status.success(), "{output:?}");
            assert!(!here.look("-o address show dev eth0").contains(address));
        }
    }
}

#[test]
fn a_failover_address_brings_the_link_up_that_a_new_appliance_has_down() {
    let (here, _there) = pair();
    here.ip("link set dev eth0 down");
    let output = run(&here, &["failover-address", "add", "192.0.2.1/30", OURS.0, OURS.1]);
    assert!(output.status.success(), "{output:?}");
    assert!(here.look("-br link show dev eth0").contains("LOWER_UP"));
}

#[test]
fn an_ipv6_failover_address_that_another_device_has_is_refused_and_not_kept() {
    let (here, there) = pair();
    there.ip("address add 2001:db8:1::1/126 dev eth9 nodad");
    let output = run(&here, &["failover-address", "add", "2001:db8:1::1/126", OURS.0, OURS.1]);
    assert_eq!(failure(&output).code, Code::AddressInUse);
    assert!(!here.look("-o address show dev eth0").contains("2001:db8:1::1"));
}

/// What a request on a socket is answered with.
fn ask(peer: &str, request: &str) -> String {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let child = Command::new(PROGRAM)
        .args(["reinstated", "answer", peer])
        .stdin(OwnedFd::from(theirs.try_clone().unwrap()))
        .stdout(OwnedFd::from(theirs))
        .spawn();
    ours.write_all(request.as_bytes()).unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    assert!(child.unwrap().wait().unwrap().success());
    let mut said = String::new();
    ours.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn only_requests_for_links_are_answered_on_the_network_socket_and_only_there() {
    let probe = r#"{"verb":"probe","values":["eth0","02:00:5e:00:53:77","192.0.2.10/24"]}"#;
    let said = ask("network", probe);
    assert!(said.starts_with(r#"{"done":[{"address":"192.0.2.10/24""#), "{said}");
    for (peer, request) in [
        ("root", probe),
        ("check", probe),
        ("network", r#"{"verb":"facts","values":[]}"#),
        ("network", r#"{"verb":"reboot","values":[]}"#),
        ("network", r#"{"verb":"validate","values":["1"]}"#),
    ] {
        let said = ask(peer, request);
        assert!(said.contains("is not for this socket") && said.contains("bad-request"), "{peer}: {said}");
    }
    for values in [
        r#"["add","192.0.2.1","eth0","02:00:5e:00:53:77"]"#,
        r#"["add","192.0.2.1/30","../eth0","02:00:5e:00:53:77"]"#,
        r#"["add","192.0.2.1/30","-4","02:00:5e:00:53:77"]"#,
        r#"["set","192.0.2.1/30","eth0","02:00:5e:00:53:77"]"#,
        r#"["add","192.0.2.1/30","eth0"]"#,
    ] {
        let said = ask("network", &format!(r#"{{"verb":"failover-address","values":{values}}}"#));
        assert!(said.contains("bad-request"), "{values}: {said}");
    }
}
