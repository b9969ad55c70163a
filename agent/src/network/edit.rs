//! Edits of a systemd-networkd `.network` file: whatever is not meant stays as it is, byte for byte.

use std::net::IpAddr;

use reinstate_api::{Ipv4, Ipv6};

use super::family::{Families, Family, is_yes};
use super::file::{File, Section};

const NETWORK: &str = "Network";

/// How the interface gets its IPv4 address; IPv6 stays as it is.
pub fn ipv4(text: &str, interface: &str, wanted: &Ipv4) -> String {
    let mut file = parse(text, interface);
    let (addresses, gateways) = match wanted {
        Ipv4::Manual { address, prefix, gateway } => {
            (vec![format!("{address}/{prefix}")], gateway.iter().map(ToString::to_string).collect())
        }
        Ipv4::Dhcp | Ipv4::Disable => (Vec::new(), Vec::new()),
    };
    addressing(&mut file, Family::V4, addresses, gateways);
    both(&mut file, "DHCP", "no", |now| Families { v4: *wanted == Ipv4::Dhcp, ..now });
    both(&mut file, "LinkLocalAddressing", "ipv6", |now| Families { v4: false, ..now });
    file.text()
}

/// How the interface gets its IPv6 address; IPv4 stays as it is.
pub fn ipv6(text: &str, interface: &str, wanted: &Ipv6) -> String {
    let mut file = parse(text, interface);
    let (addresses, gateways) = match wanted {
        Ipv6::Manual { address, prefix, gateway } => {
            (vec![format!("{address}/{prefix}")], gateway.iter().map(ToString::to_string).collect())
        }
        Ipv6::Router | Ipv6::Disable => (Vec::new(), Vec::new()),
    };
    addressing(&mut file, Family::V6, addresses, gateways);
    // A router says itself whether there is a server to ask.
    both(&mut file, "DHCP", "no", |now| Families { v6: false, ..now });
    both(&mut file, "LinkLocalAddressing", "ipv6", |now| Families { v6: *wanted != Ipv6::Disable, ..now });
    let accept = *wanted == Ipv6::Router;
    let accepts = file.value(NETWORK, "IPv6AcceptRA").map(is_yes);
    if accepts != Some(accept) {
        file.set(NETWORK, "IPv6AcceptRA", if accept { "yes" } else { "no" });
    }
    file.text()
}

pub fn dns(text: &str, interface: &str, servers: &[IpAddr]) -> String {
    let mut file = parse(text, interface);
    let wanted: Vec<String> = servers.iter().map(ToString::to_string).collect();
    if file.words(NETWORK, "DNS") != wanted {
        file.set_list(NETWORK, "DNS", |_| false, wanted);
    }
    file.text()
}

/// Search domains; those for routing alone, `~example.net`, stay.
pub fn domains(text: &str, interface: &str, domains: &[String]) -> String {
    let mut file = parse(text, interface);
    let present = file.words(NETWORK, "Domains");
    let (routing, searched): (Vec<_>, Vec<_>) = present.into_iter().partition(|word| word.starts_with('~'));
    if searched != domains {
        let wanted = domains.iter().map(String::as_str).chain(routing).collect::<Vec<_>>().join(" ");
        let lines = if wanted.is_empty() { Vec::new() } else { vec![wanted] };
        file.set_list(NETWORK, "Domains", |_| false, lines);
    }
    file.text()
}

/// An empty text is the file of an interface that was not configured.
fn parse(text: &str, interface: &str) -> File {
    match text.trim().is_empty() {
        true => File::parse(&format!("[Match]\nName={interface}\n\n[Network]\n")),
        false => File::parse(text),
    }
}

fn addressing(file: &mut File, family: Family, addresses: Vec<String>, gateways: Vec<String>) {
    let is = |value: &str| Family::named(value) == Some(family);
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

fn both(file: &mut File, key: &str, default: &str, change: impl Fn(Families) -> Families) {
    let now = Families::parse(file.value(NETWORK, key).unwrap_or(default));
    let wanted = change(now);
    if wanted != now {
        file.set(NETWORK, key, wanted.as_str());
    }
}

#[cfg(test)]
mod tests;
