//! The first login's questions about the network. What is answered is the next default, should they be asked again.

use std::net::{Ipv4Addr, Ipv6Addr};

use reinstate_api::{Addressing, Change, Failure, Ipv4, Ipv6, Method, Network};

use super::ask::{Asked, Left, TRIES, one_of, optional, or_default, yes_no};
use crate::{Shell, values};

pub fn questions(shell: &mut Shell, network: &mut Network) -> Asked<Vec<Change>> {
    let ipv4 = agreeing(shell, &mut network.management.ipv4, ipv4, Ipv4::check)?;
    let ipv6 = agreeing(shell, &mut network.management.ipv6, ipv6, Ipv6::check)?;
    let hostname = or_default(
        shell,
        "Enter a fully qualified hostname for this system",
        &network.hostname,
        "a name of letters, digits and hyphens",
        values::hostname,
    )?;
    network.hostname.clone_from(&hostname);
    let servers = or_default(
        shell,
        "Enter a comma-separated list of DNS servers or 'none'",
        &listed(&network.dns_servers),
        "addresses, separated by commas",
        values::servers,
    )?;
    network.dns_servers = servers.iter().map(ToString::to_string).collect();
    let domains = or_default(
        shell,
        "Enter a comma-separated list of search domains or 'none'",
        &listed(&network.search_domains),
        "domains, separated by commas",
        values::domains,
    )?;
    network.search_domains.clone_from(&domains);
    Ok(vec![
        Change::Ipv4(ipv4),
        Change::Ipv6(ipv6),
        Change::Hostname(hostname),
        Change::DnsServers(servers),
        Change::SearchDomains(domains),
    ])
}

/// Asks until the answers go together.
fn agreeing<T>(
    shell: &mut Shell,
    now: &mut Addressing,
    ask: fn(&mut Shell, &mut Addressing) -> Asked<T>,
    check: fn(&T) -> Result<(), Failure>,
) -> Asked<T> {
    for _ in 0..TRIES {
        let answered = ask(shell, now)?;
        match check(&answered) {
            Ok(()) => return Ok(answered),
            Err(failure) => shell.console.failure(&failure),
        }
    }
    Err(Left)
}

fn ipv4(shell: &mut Shell, now: &mut Addressing) -> Asked<Ipv4> {
    if !yes_no(shell, "Do you want to configure IPv4? (y/n)", now.method != Method::Disabled)? {
        now.method = Method::Disabled;
        return Ok(Ipv4::Disable);
    }
    let by = if now.method == Method::Dhcp { "dhcp" } else { "manual" };
    let question = "Configure IPv4 via DHCP or manually? (dhcp/manual)";
    let by = or_default(shell, question, by, "dhcp or manual", |text| one_of(text, &["dhcp", "manual"]))?;
    if by == "dhcp" {
        now.method = Method::Dhcp;
        return Ok(Ipv4::Dhcp);
    }
    let (address, length) = present(now);
    let address = or_default(
        shell,
        "Enter an IPv4 address for the management interface",
        &address,
        "an address like 192.0.2.10",
        |text| text.parse::<Ipv4Addr>().ok(),
    )?;
    let length = length.parse().ok().filter(|length| (1..=32).contains(length)).unwrap_or(24);
    let mask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - length).unwrap_or(0)).to_string();
    let prefix = or_default(
        shell,
        "Enter an IPv4 netmask for the management interface",
        &mask,
        "a netmask like 255.255.255.0",
        values::netmask,
    )?;
    let gateway = or_default(
        shell,
        "Enter the IPv4 default gateway for the management interface, or 'none'",
        now.gateway.as_deref().unwrap_or("none"),
        "an address like 192.0.2.1",
        |text| optional(text, |text| text.parse::<Ipv4Addr>().ok()),
    )?;
    *now = manual(format!("{address}/{prefix}"), gateway.map(|ip| ip.to_string()));
    Ok(Ipv4::Manual { address, prefix, gateway })
}

fn ipv6(shell: &mut Shell, now: &mut Addressing) -> Asked<Ipv6> {
    if !yes_no(shell, "Do you want to configure IPv6? (y/n)", now.method != Method::Disabled)? {
        now.method = Method::Disabled;
        return Ok(Ipv6::Disable);
    }
    let by = if now.method == Method::Manual { "manual" } else { "router" };
    let question = "Configure IPv6 via router or manually? (router/manual)";
    let by = or_default(shell, question, by, "router or manual", |text| one_of(text, &["router", "manual"]))?;
    if by == "router" {
        now.method = Method::Router;
        return Ok(Ipv6::Router);
    }
    let (address, length) = present(now);
    let address = or_default(
        shell,
        "Enter an IPv6 address for the management interface",
        &address,
        "an address like 2001:db8::10",
        |text| text.parse::<Ipv6Addr>().ok(),
    )?;
    let prefix = or_default(
        shell,
        "Enter the prefix length of that address",
        if length.is_empty() { "64" } else { &length },
        "a number from 1 to 128",
        values::prefix6,
    )?;
    let gateway = or_default(
        shell,
        "Enter the IPv6 default gateway for the management interface, or 'none'",
        now.gateway.as_deref().unwrap_or("none"),
        "an address like 2001:db8::1",
        |text| optional(text, |text| text.parse::<Ipv6Addr>().ok()),
    )?;
    *now = manual(format!("{address}/{prefix}"), gateway.map(|ip| ip.to_string()));
    Ok(Ipv6::Manual { address, prefix, gateway })
}

fn manual(address: String, gateway: Option<String>) -> Addressing {
    Addressing { method: Method::Manual, addresses: vec![address], gateway }
}

/// Address and prefix length.
fn present(now: &Addressing) -> (String, String) {
    let first = now.addresses.first().map_or("", String::as_str);
    let (address, length) = first.split_once('/').unwrap_or((first, ""));
    (address.to_owned(), length.to_owned())
}

fn listed(values: &[String]) -> String {
    if values.is_empty() { "none".into() } else { values.join(",") }
}
