//! Edits of a systemd-networkd `.network` file: whatever is not meant stays as it is, byte for byte.

mod file;

use std::net::IpAddr;

use reinstate_api::{Ipv4, Ipv6};

use file::{File, Section};

const NETWORK: &str = "Network";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// Two families, each on or off, as `DHCP=` and `LinkLocalAddressing=` say it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Both {
    v4: bool,
    v6: bool,
}

impl Both {
    fn parse(value: &str) -> Self {
        let (v4, v6) = match value.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "1" | "y" | "t" | "both" | "fallback" => (true, true),
            "ipv4" | "v4" | "ipv4-fallback" => (true, false),
            "ipv6" | "v6" => (false, true),
            _ => (false, false),
        };
        Self { v4, v6 }
    }

    fn as_str(self) -> &'static str {
        match (self.v4, self.v6) {
            (true, true) => "yes",
            (true, false) => "ipv4",
            (false, true) => "ipv6",
            (false, false) => "no",
        }
    }
}

/// How the interface gets its IPv4 address; IPv6 stays as it is.
pub fn ipv4(text: &str, interface: &str, wanted: &Ipv4) -> String {
    let mut file = File::parse(text, interface);
    let (addresses, gateways) = match wanted {
        Ipv4::Manual { address, prefix, gateway } => {
            (vec![format!("{address}/{prefix}")], gateway.iter().map(ToString::to_string).collect())
        }
        Ipv4::Dhcp | Ipv4::Disable => (Vec::new(), Vec::new()),
    };
    addressing(&mut file, Family::V4, addresses, gateways);
    both(&mut file, "DHCP", "no", |now| Both { v4: *wanted == Ipv4::Dhcp, ..now });
    both(&mut file, "LinkLocalAddressing", "ipv6", |now| Both { v4: false, ..now });
    file.text()
}

/// How the interface gets its IPv6 address; IPv4 stays as it is.
pub fn ipv6(text: &str, interface: &str, wanted: &Ipv6) -> String {
    let mut file = File::parse(text, interface);
    let (addresses, gateways) = match wanted {
        Ipv6::Manual { address, prefix, gateway } => {
            (vec![format!("{address}/{prefix}")], gateway.iter().map(ToString::to_string).collect())
        }
        Ipv6::Router | Ipv6::Disable => (Vec::new(), Vec::new()),
    };
    addressing(&mut file, Family::V6, addresses, gateways);
    // A router says itself whether there is a server to ask.
    both(&mut file, "DHCP", "no", |now| Both { v6: false, ..now });
    both(&mut file, "LinkLocalAddressing", "ipv6", |now| Both { v6: *wanted != Ipv6::Disable, ..now });
    let accept = *wanted == Ipv6::Router;
    let accepts = file.value(NETWORK, "IPv6AcceptRA").map(|value| Both::parse(&value).v4);
    if accepts != Some(accept) {
        file.set(NETWORK, "IPv6AcceptRA", if accept { "yes" } else { "no" });
    }
    file.text()
}

pub fn dns(text: &str, interface: &str, servers: &[IpAddr]) -> String {
    let mut file = File::parse(text, interface);
    let wanted: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let present: Vec<String> = words(&file.values(NETWORK, "DNS"));
    if present != wanted {
        file.set_list(NETWORK, "DNS", |_| false, wanted);
    }
    file.text()
}

/// Search domains; those for routing alone, `~example.net`, stay.
pub fn domains(text: &str, interface: &str, domains: &[String]) -> String {
    let mut file = File::parse(text, interface);
    let present = words(&file.values(NETWORK, "Domains"));
    let (routing, searched): (Vec<_>, Vec<_>) = present.into_iter().partition(|word| word.starts_with('~'));
    if searched != domains {
        let wanted = [domains, &routing].concat().join(" ");
        let lines = if wanted.is_empty() { Vec::new() } else { vec![wanted] };
        file.set_list(NETWORK, "Domains", |_| false, lines);
    }
    file.text()
}

fn words(values: &[String]) -> Vec<String> {
    values.iter().flat_map(|value| value.split_whitespace()).map(String::from).collect()
}

fn addressing(file: &mut File, family: Family, addresses: Vec<String>, gateways: Vec<String>) {
    let is = |value: &str| family_of(value) == Some(family);
    file.drop_sections("Address", |section| section.value("Address").is_some_and(is));
    let everywhere = |to: Option<&str>| to.is_none_or(|to| matches!(to, "0.0.0.0/0" | "::/0"));
    // One of those with more to say than where everything goes is somebody's routing policy.
    let policy =
        |section: &Section<'_>| ["Table", "Source", "Metric"].iter().any(|key| section.value(key).is_some());
    file.drop_sections("Route", |section| {
        section.value("Gateway").is_some_and(is)
            && everywhere(section.value("Destination"))
            && !policy(section)
    });
    for (key, wanted) in [("Address", addresses), ("Gateway", gateways)] {
        let values = file.values(NETWORK, key);
        let present: Vec<_> = values.iter().filter(|value| is(value)).collect();
        if !present.into_iter().eq(&wanted) {
            file.set_list(NETWORK, key, |value| !is(value), wanted);
        }
    }
}

fn both(file: &mut File, key: &str, default: &str, change: impl Fn(Both) -> Both) {
    let now = Both::parse(&file.value(NETWORK, key).unwrap_or_else(|| default.to_owned()));
    let wanted = change(now);
    if wanted != now {
        file.set(NETWORK, key, wanted.as_str());
    }
}

fn family_of(value: &str) -> Option<Family> {
    let address = value.split('/').next().unwrap_or(value);
    match (value, address.parse()) {
        ("_dhcp4", _) | (_, Ok(IpAddr::V4(_))) => Some(Family::V4),
        ("_ipv6ra", _) | (_, Ok(IpAddr::V6(_))) => Some(Family::V6),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
