use super::*;

const FILE: &str = "# of the vendor\n[Match]\nName=management0\n\n[Network]\n; both\nAddress=192.0.2.10/24\n\
    Address=2001:db8::10/64\nGateway=192.0.2.1\nGateway=2001:db8::1\nIPv6AcceptRA=no\nUnknown=kept\n\n\
    [DHCPv4]\nRouteMetric=7\n";

fn manual4() -> Ipv4 {
    Ipv4::Manual { address: [198, 51, 100, 7].into(), prefix: 25, gateway: Some([198, 51, 100, 1].into()) }
}

fn manual6(gateway: Option<&str>) -> Ipv6 {
    let gateway = gateway.map(|gateway| gateway.parse().unwrap());
    Ipv6::Manual { address: "2001:db8:1::7".parse().unwrap(), prefix: 56, gateway }
}

fn edited(text: &str, from_to: &[(&str, &str)]) -> String {
    from_to.iter().fold(text.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    })
}

#[test]
fn an_ipv4_address_changes_its_lines_and_no_other() {
    let expected = edited(
        FILE,
        &[
            ("Address=192.0.2.10/24", "Address=198.51.100.7/25"),
            ("Gateway=192.0.2.1\n", "Gateway=198.51.100.1\n"),
        ],
    );
    let once = ipv4(FILE, "management0", &manual4());
    assert_eq!(once, expected);
    assert_eq!(ipv4(&once, "management0", &manual4()), once, "twice is once");
}

#[test]
fn an_ipv6_address_changes_its_lines_and_no_other() {
    let expected = edited(
        FILE,
        &[("Address=2001:db8::10/64", "Address=2001:db8:1::7/56"), ("Gateway=2001:db8::1\n", "")],
    );
    let once = ipv6(FILE, "management0", &manual6(None));
    assert_eq!(once, expected);
    assert_eq!(ipv6(&once, "management0", &manual6(None)), once);
    let with = ipv6(FILE, "management0", &manual6(Some("fe80::1")));
    assert!(with.contains("Gateway=fe80::1\n") && with.contains("Gateway=192.0.2.1\n"), "{with}");
}

#[test]
fn one_family_by_dhcp_or_by_routers_leaves_the_other_one_its_way() {
    let dhcp = ipv4(FILE, "management0", &Ipv4::Dhcp);
    assert!(dhcp.contains("DHCP=ipv4\n") && !dhcp.contains("192.0.2."), "{dhcp}");
    assert!(dhcp.contains("Address=2001:db8::10/64\n") && dhcp.contains("IPv6AcceptRA=no\n"), "{dhcp}");
    let routers = ipv6(&dhcp, "management0", &Ipv6::Router);
    assert!(routers.contains("IPv6AcceptRA=yes\n") && routers.contains("DHCP=ipv4\n"), "{routers}");
    assert!(!routers.contains("2001:db8"), "{routers}");
    let manual = ipv4(&routers, "management0", &manual4());
    assert!(manual.contains("DHCP=no\n") && manual.contains("Address=198.51.100.7/25\n"), "{manual}");
    for (before, after4, after6) in [("yes", "ipv6", "ipv4"), ("v4", "no", "v4"), ("ipv6", "ipv6", "no")] {
        let file = format!("[Network]\nDHCP={before}\n");
        assert!(ipv4(&file, "m", &Ipv4::Disable).contains(&format!("DHCP={after4}\n")), "{before}");
        assert!(ipv6(&file, "m", &Ipv6::Disable).contains(&format!("DHCP={after6}\n")), "{before}");
    }
}

#[test]
fn without_ipv6_not_even_a_link_local_address_is_left_and_with_it_there_is_one_again() {
    let off = ipv6(FILE, "management0", &Ipv6::Disable);
    assert!(off.contains("LinkLocalAddressing=no\n") && !off.contains("2001:db8"), "{off}");
    assert!(off.contains("Address=192.0.2.10/24\nGateway=192.0.2.1\n"), "{off}");
    assert_eq!(ipv6(&off, "management0", &Ipv6::Disable), off);
    let on = ipv6(&off, "management0", &manual6(Some("2001:db8:1::1")));
    assert!(on.contains("LinkLocalAddressing=ipv6\n") && on.contains("Address=2001:db8:1::7/56\n"), "{on}");
    let four = ipv6("[Network]\nLinkLocalAddressing=yes\n", "m", &Ipv6::Disable);
    assert!(four.contains("LinkLocalAddressing=ipv4\n"), "{four}");
}

#[test]
fn addresses_and_default_routes_in_sections_of_their_own_go_with_their_family() {
    let file = "[Network]\nDHCP=no\n\n[Address]\nAddress=192.0.2.9/24\nLabel=x\n\n[Address]\n\
        Address=2001:db8::9/64\n\n[Route]\nGateway=192.0.2.1\n\n[Route]\nGateway=192.0.2.2\n\
        Destination=203.0.113.0/24\n";
    let edited = ipv4(file, "m", &manual4());
    let expected = "[Network]\nDHCP=no\nAddress=198.51.100.7/25\nGateway=198.51.100.1\n\n[Address]\n\
        Address=2001:db8::9/64\n\n[Route]\nGateway=192.0.2.2\nDestination=203.0.113.0/24\n";
    assert_eq!(edited, expected);
}

#[test]
fn what_an_empty_value_has_taken_away_does_not_come_back() {
    let file = "[Network]\nAddress=192.0.2.1/24\nAddress=2001:db8::1/64\nAddress=\nAddress=2001:db8::2/64\n";
    let edited = ipv4(file, "m", &manual4());
    assert!(edited.starts_with("[Network]\nAddress=198.51.100.7/25\nAddress=2001:db8::2/64\n"), "{edited}");
    assert!(!edited.contains("::1/64") && !edited.contains("Address=\n"), "{edited}");
}

#[test]
fn line_ends_lines_that_go_on_and_a_missing_last_end_survive() {
    let crlf = FILE.replace('\n', "\r\n");
    let edited = ipv4(&crlf, "management0", &Ipv4::Dhcp);
    assert_eq!(edited.matches('\n').count(), edited.matches("\r\n").count());
    assert_eq!(edited.replace("\r\n", "\n"), ipv4(FILE, "management0", &Ipv4::Dhcp));
    let joined = "[Network]\nDNS=192.0.2.53 \\\n    192.0.2.54\nAddress=192.0.2.1/24";
    assert_eq!(dns(joined, "m", &["192.0.2.53".parse().unwrap(), "192.0.2.54".parse().unwrap()]), joined);
    let one = dns(joined, "m", &["192.0.2.55".parse().unwrap()]);
    assert_eq!(one, "[Network]\nDNS=192.0.2.55\nAddress=192.0.2.1/24");
    let gateway = ipv4("[Network]\nDHCP=no", "m", &manual4());
    assert_eq!(gateway, "[Network]\nDHCP=no\nAddress=198.51.100.7/25\nGateway=198.51.100.1\n");
}

#[test]
fn a_file_that_is_missing_or_has_no_section_for_it_gets_one() {
    let new = ipv4("", "management0", &manual4());
    let expected = "[Match]\nName=management0\n\n[Network]\nAddress=198.51.100.7/25\nGateway=198.51.100.1\n";
    assert_eq!(new, expected);
    let added = dns("[Match]\nName=m", "m", &["192.0.2.53".parse().unwrap()]);
    assert_eq!(added, "[Match]\nName=m\n\n[Network]\nDNS=192.0.2.53\n");
}

#[test]
fn dns_servers_and_search_domains_replace_those_before_and_none_take_them_away() {
    let servers: Vec<IpAddr> = ["192.0.2.53", "2001:db8::53"].map(|text| text.parse().unwrap()).to_vec();
    let set = dns(FILE, "management0", &servers);
    assert_eq!(set, edited(FILE, &[("Unknown=kept\n", "Unknown=kept\nDNS=192.0.2.53\nDNS=2001:db8::53\n")]));
    assert_eq!(dns(&set, "management0", &servers), set);
    assert_eq!(dns(&set, "management0", &[]), FILE);
    let names = ["example.net".to_owned(), "example.org".to_owned()];
    let set = domains("[Network]\nDomains=old.example ~corp.example\n", "m", &names);
    assert_eq!(set, "[Network]\nDomains=example.net example.org ~corp.example\n");
    assert_eq!(domains(&set, "m", &names), set);
    assert_eq!(domains(&set, "m", &[]), "[Network]\nDomains=~corp.example\n");
    assert_eq!(domains("[Network]\nDomains=old.example\n", "m", &[]), "[Network]\n");
}

#[test]
fn a_section_that_goes_takes_no_comment_with_it_that_follows_nor_a_route_of_a_policy() {
    let file = "[Network]\nDHCP=no\n\n[Address]\n# inside\nAddress=192.0.2.10/24\n\n# of the route\n[Route]\nGateway=192.0.2.1\n\n\
        # of the policy\n[Route]\nGateway=192.0.2.9\nTable=7\n\n[Route]\nGateway=192.0.2.1\n; the end\n";
    let after = ipv4(file, "management0", &manual4());
    assert_eq!(
        after,
        "[Network]\nDHCP=no\nAddress=198.51.100.7/25\nGateway=198.51.100.1\n\n# of the route\n# of the policy\n\
         [Route]\nGateway=192.0.2.9\nTable=7\n\n; the end\n"
    );
    for key in ["Metric=5", "Source=192.0.2.10"] {
        let route = format!("[Route]\nGateway=192.0.2.1\n{key}\n");
        assert!(ipv4(&route, "management0", &manual4()).contains(&route), "{key}");
    }
}
