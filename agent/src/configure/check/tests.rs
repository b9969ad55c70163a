use reinstate_api::{Ipv4, Ipv6, Secret};

use super::*;
use crate::dropin::DropIn;

fn profile() -> Profile {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../image/profile/profile.d/10-reference.toml");
    let text = std::fs::read_to_string(file).unwrap();
    Profile::from_fragments(&[DropIn { path: file.into(), text }]).unwrap()
}

fn request(change: Change) -> ConfigureRequest {
    ConfigureRequest { changes: vec![change], confirm_within: None, setup: false }
}

fn code(change: Change) -> Option<Code> {
    check(&request(change), &profile(), "admin", Access::Config).err().map(|failure| failure.code)
}

fn v4(address: &str, prefix: u8, gateway: Option<&str>) -> Change {
    let gateway = gateway.map(|gateway| gateway.parse().unwrap());
    Change::Ipv4(Ipv4::Manual { address: address.parse().unwrap(), prefix, gateway })
}

fn v6(address: &str, prefix: u8, gateway: Option<&str>) -> Change {
    let gateway = gateway.map(|gateway| gateway.parse().unwrap());
    Change::Ipv6(Ipv6::Manual { address: address.parse().unwrap(), prefix, gateway })
}

#[test]
fn an_address_that_no_interface_can_have_is_refused_and_so_is_a_gateway_elsewhere() {
    for good in [
        v4("192.0.2.10", 24, None),
        v4("192.0.2.10", 24, Some("192.0.2.1")),
        v4("192.0.2.0", 31, Some("192.0.2.1")),
        v4("192.0.2.1", 32, None),
        v6("2001:db8::10", 64, Some("2001:db8::1")),
        v6("2001:db8::10", 128, Some("fe80::1")),
    ] {
        assert_eq!(code(good.clone()), None, "{good:?}");
    }
    for wrong in [
        v4("192.0.2.0", 24, None),
        v4("192.0.2.255", 24, None),
        v4("127.0.0.1", 8, None),
        v4("224.0.0.5", 24, None),
        v4("192.0.2.10", 0, None),
        v4("192.0.2.10", 33, None),
        v4("192.0.2.10", 24, Some("198.51.100.1")),
        v4("192.0.2.10", 24, Some("192.0.2.10")),
        v6("::1", 64, None),
        v6("ff02::1", 64, None),
        v6("2001:db8::10", 129, None),
        v6("2001:db8::10", 64, Some("2001:db8:1::1")),
    ] {
        assert_eq!(code(wrong.clone()), Some(Code::BadRequest), "{wrong:?}");
    }
}

#[test]
fn a_name_that_would_be_another_line_of_a_file_is_refused() {
    for good in ["fw", "fw-1.example.net", "0a"] {
        assert_eq!(code(Change::Hostname(good.into())), None, "{good}");
    }
    for wrong in
        ["", "fw_1", "-fw", "fw-", "a..b", ".", "fw\nx", "192.0.2.1", &"a".repeat(64), &"a.".repeat(40)]
    {
        assert_eq!(code(Change::Hostname(wrong.into())), Some(Code::BadRequest), "{wrong:?}");
    }
    assert_eq!(code(Change::SearchDomains(vec!["a\nDNS=192.0.2.1".into()])), Some(Code::BadRequest));
    assert_eq!(code(Change::DnsServers(vec![[192, 0, 2, 1].into(); 9])), Some(Code::BadRequest));
    assert_eq!(code(Change::DnsServers(vec![])), None);
}

#[test]
fn an_access_list_has_networks_only() {
    let list = |networks: &[&str]| Change::SshAccessList(networks.iter().map(|n| (*n).to_owned()).collect());
    for good in ["192.0.2.0/24", "0.0.0.0/0", "192.0.2.7/32", "2001:db8::/32", "::/0", "2001:db8::1/128"] {
        assert_eq!(code(list(&[good])), None, "{good}");
    }
    for wrong in ["192.0.2.7/24", "192.0.2.0", "192.0.2.0/33", "2001:db8::1/64", "*", "a b", "::/129"] {
        assert_eq!(code(list(&[wrong])), Some(Code::BadRequest), "{wrong}");
    }
    assert_eq!(code(list(&["192.0.2.0/24"; 65])), Some(Code::BadRequest));
}

#[test]
fn a_managers_words_are_words() {
    let add = |host: &str, key: &str, nat_id: Option<&str>| {
        let (host, nat_id) = (host.to_owned(), nat_id.map(String::from));
        code(Change::ManagerAdd(ManagerAdd { host, key: Secret::new(key.into()), nat_id }))
    };
    assert_eq!(add("manager.example", "s3cret!", Some("nat-1")), None);
    assert_eq!(add("2001:db8::1", "s3cret", None), None);
    for (host, key, nat_id) in [
        ("a b", "k", None),
        ("m\nSTATE=Completed", "k", None),
        ("m", "", None),
        ("m", "two words", None),
        ("m", "k", Some("")),
        ("m", "k", Some("a\nb")),
    ] {
        assert_eq!(add(host, key, nat_id), Some(Code::BadRequest), "{host:?} {nat_id:?}");
    }
}

#[test]
fn whoever_may_only_look_changes_the_own_password_and_nothing_else() {
    let allowed = |change: Change, setup: bool| {
        let request = ConfigureRequest { setup, ..request(change) };
        check(&request, &profile(), "alice", Access::Basic).map_err(|failure| failure.code)
    };
    let password = |user: Option<&str>| Change::Password {
        user: user.map(String::from),
        password: Secret::new("Corr3ct-horse".into()),
    };
    assert_eq!(allowed(password(None), false), Ok(()));
    assert_eq!(allowed(password(Some("alice")), false), Ok(()));
    assert_eq!(allowed(password(Some("admin")), false), Err(Code::Forbidden));
    assert_eq!(allowed(password(None), true), Err(Code::Forbidden));
    assert_eq!(allowed(Change::Hostname("fw".into()), false), Err(Code::Forbidden));
    let waiting = ConfigureRequest { confirm_within: Some(1440), ..request(password(None)) };
    let failure = check(&waiting, &profile(), "alice", Access::Basic).unwrap_err();
    assert_eq!(failure.code, Code::Forbidden, "nothing else could be done for a day");
}

#[test]
fn a_name_that_no_account_can_have_is_refused_before_there_is_a_job() {
    for name in ["", "a:b", "a\nb", "a; network ipv4 dhcp", &"a".repeat(256)] {
        let name = || name.to_owned();
        let password = Secret::new("Corr3ct-horse".into());
        for change in [
            Change::UserDelete { name: name() },
            Change::UserAccess { name: name(), access: Access::Basic },
            Change::Password { user: Some(name()), password },
        ] {
            let failure = check(&request(change), &profile(), "admin", Access::Config).unwrap_err();
            assert_eq!(failure.code, Code::BadRequest);
            assert!(failure.message.len() < 200, "{failure}");
        }
    }
    assert_eq!(code(Change::UserDelete { name: "Jane.Doe".into() }), None);
}

#[test]
fn the_first_login_sets_a_password() {
    let setup = |changes| ConfigureRequest { changes, confirm_within: None, setup: true };
    let none = setup(vec![Change::Hostname("fw".into())]);
    let failure = check(&none, &profile(), "admin", Access::Config).unwrap_err();
    assert_eq!(failure.code, Code::BadRequest);
    let own = Change::Password { user: None, password: Secret::new("Corr3ct-horse".into()) };
    check(&setup(vec![own.clone()]), &profile(), "admin", Access::Config).unwrap();
    let for_alice =
        Change::Password { user: Some("alice".into()), password: Secret::new("Corr3ct-horse".into()) };
    let failure = check(&setup(vec![for_alice.clone()]), &profile(), "admin", Access::Config).unwrap_err();
    assert_eq!(failure.code, Code::BadRequest, "the own one is the default one still");
    check(&setup(vec![for_alice]), &profile(), "root", Access::Config).unwrap();
    let without = Profile { setup: None, ..profile() };
    let failure = check(&setup(vec![own]), &without, "admin", Access::Config).unwrap_err();
    assert_eq!(failure.code, Code::NotFound);
}

#[test]
fn what_the_profile_has_no_place_for_is_not_found() {
    let mut bare = profile();
    (bare.management.file, bare.ssh) = (None, crate::profile::Ssh::default());
    let host = || "backup.example".to_owned();
    for change in [
        v4("192.0.2.10", 24, None),
        Change::DnsServers(vec![]),
        Change::SshAccessList(vec![]),
        Change::TrustedHostDelete { host: host(), port: 22 },
    ] {
        let failure = check(&request(change), &bare, "admin", Access::Config).unwrap_err();
        assert_eq!(failure.code, Code::NotFound, "{failure}");
        assert!(!failure.hint.is_empty());
    }
}
