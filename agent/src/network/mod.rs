//! How this appliance is reached: what systemd-networkd and systemd-resolved are told, and what the kernel has made of it.

pub mod edit;
mod family;
mod file;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use glob::Pattern;
use reinstate_api::{Addressing, Code, Failure, Interface, InterfaceView, Method, Network, one_line};

use crate::files::{Folder, found};
use crate::link::Address;
use crate::profile::Profile;
use family::{Families, Family, is_yes};
use file::File;

/// Where systemd-networkd's files are that a domain may own.
const NETWORKS: &str = "etc/systemd/network";

/// systemd-resolved's file and its drop-ins.
const RESOLVED: &str = "etc/systemd/resolved.conf";
const RESOLVED_DROP_INS: &str = "etc/systemd/resolved.conf.d";

const MAX_BYTES: u64 = 64 << 10;

/// More of anything than this is not shown.
const MAX_SHOWN: usize = 64;

/// The longest name of a host or a domain.
const MAX_NAME: usize = 253;

/// `IFF_UP`
const UP: u32 = 1;

/// Everything but the addresses that interfaces have at this moment.
pub fn read(
    root: &Folder,
    profile: &Profile,
    hostname: &str,
    here: &[Interface],
) -> Result<Network, Failure> {
    let name = &profile.management.interface;
    let own = configuration(root, profile, name)?;
    let mut resolver = Resolver::default();
    resolver.add(&text(root, Path::new(RESOLVED))?.unwrap_or_default());
    for file in files(root, RESOLVED_DROP_INS, "conf")? {
        resolver.add(&text(root, &file)?.unwrap_or_default());
    }
    let (dns_servers, search_domains) = (resolver.dns, resolver.domains);
    let mut network = Network {
        hostname: hostname.to_owned(),
        dns_servers,
        search_domains,
        management: view(root, profile, name, here)?,
    };
    append(&mut network.dns_servers, own.words("Network", "DNS"), is_server);
    append(&mut network.search_domains, own.words("Network", "Domains"), is_domain);
    Ok(network)
}

/// The interfaces in bus order, those that the profile names and the machine lacks last.
pub fn interfaces(
    root: &Folder,
    profile: &Profile,
    here: &[Interface],
) -> Result<Vec<InterfaceView>, Failure> {
    let there: Vec<&str> = here.iter().map(|interface| interface.name.as_str()).collect();
    let missing = profile.hardware.interfaces.iter().map(String::as_str).filter(|name| !there.contains(name));
    there.iter().copied().chain(missing).map(|name| view(root, profile, name, here)).collect()
}

/// What a server has given counts as the configuration's, where that leaves it to a server.
pub fn has_now(view: &mut InterfaceView, addresses: Vec<String>) {
    let of = |family: Family| {
        let routed = |address: &Address| !matches!(address.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let given = addresses.iter().filter_map(|text| text.parse::<Address>().ok()).filter(routed);
        given
            .filter(|address| Family::of(&address.ip) == family)
            .map(|address| address.to_string())
            .collect::<Vec<_>>()
    };
    let given = [of(Family::V4), of(Family::V6)];
    for (addressing, given) in [&mut view.ipv4, &mut view.ipv6].into_iter().zip(given) {
        if matches!(addressing.method, Method::Dhcp | Method::Router) && addressing.addresses.is_empty() {
            addressing.addresses = given;
        }
    }
    view.addresses = addresses;
}

fn view(root: &Folder, profile: &Profile, name: &str, here: &[Interface]) -> Result<InterfaceView, Failure> {
    let file = configuration(root, profile, name)?;
    let mut view = InterfaceView {
        name: name.to_owned(),
        management: name == profile.management.interface,
        ipv4: addressing(&file, Family::V4),
        ipv6: addressing(&file, Family::V6),
        ..InterfaceView::default()
    };
    let Some(interface) = here.iter().find(|interface| interface.name == name) else { return Ok(view) };
    let link = Path::new("sys/class/net").join(&interface.kernel);
    // What the kernel does not say at this moment, as it does of an interface that is down, cannot be told.
    let says = |what: &str| {
        let bytes = root.read_in_root(link.join(what), MAX_BYTES).ok()?;
        Some(one_line(String::from_utf8_lossy(&bytes).trim()))
    };
    let flags = says("flags").and_then(|text| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok());
    view.kernel = interface.kernel.clone();
    view.mac = interface.mac.clone();
    view.enabled = flags.map(|flags| flags & UP != 0);
    view.link = match (says("carrier").as_deref(), says("operstate").as_deref()) {
        (Some("1"), _) | (None, Some("up")) => Some(true),
        (Some("0"), _) | (None, Some("down" | "lowerlayerdown" | "notpresent")) => Some(false),
        _ => None,
    };
    view.mtu = says("mtu").and_then(|text| text.parse().ok());
    Ok(view)
}

/// What systemd-networkd reads for an interface: the first file that means it; nothing where there is none.
fn configuration(root: &Folder, profile: &Profile, name: &str) -> Result<File, Failure> {
    let own: &Path = profile.management.addresses.path().as_ref();
    if name == profile.management.interface && own.extension().is_some_and(|kind| kind == "network") {
        return Ok(File::parse(&text(root, own)?.unwrap_or_default()));
    }
    for file in files(root, NETWORKS, "network")? {
        let file = File::parse(&text(root, &file)?.unwrap_or_default());
        if means(&file.words("Match", "Name"), name) {
            return Ok(file);
        }
    }
    Ok(File::default())
}

/// `eth0`, `data*`; after a `!` all others.
fn means(patterns: &[&str], name: &str) -> bool {
    let fits = |pattern: &str| Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name));
    match patterns.first().and_then(|first| first.strip_prefix('!')) {
        Some(first) => !fits(first) && !patterns[1..].iter().any(|pattern| fits(pattern)),
        None => patterns.iter().any(|pattern| fits(pattern)),
    }
}

fn addressing(file: &File, family: Family) -> Addressing {
    let whole = |ip: &IpAddr| if ip.is_ipv4() { 32 } else { 128 };
    let address = |text: &&str| match text.parse::<IpAddr>() {
        Ok(ip) => Some(Address { ip, prefix: whole(&ip) }),
        Err(_) => text.parse::<Address>().ok(),
    };
    let sections = [file.sections("Address"), file.sections("Route")];
    let mut words = file.words("Network", "Address");
    words.extend(sections[0].iter().filter_map(|section| section.value("Address")));
    let addresses: Vec<String> = words
        .iter()
        .filter_map(address)
        .filter(|address| Family::of(&address.ip) == family)
        .take(MAX_SHOWN)
        .map(|address| address.to_string())
        .collect();
    let default = |to: &str| matches!(to, "0.0.0.0/0" | "::/0");
    let routes = sections[1].iter().filter(|section| section.value("Destination").is_none_or(default));
    let mut gateways = file.words("Network", "Gateway");
    gateways.extend(routes.filter_map(|section| section.value("Gateway")));
    let mut gateways = gateways.iter().filter_map(|text| text.parse::<IpAddr>().ok());
    let gateway = gateways.find(|ip| Family::of(ip) == family);
    let dhcp = Families::parse(file.value("Network", "DHCP").unwrap_or_default());
    // Unset it is off on a machine that forwards.
    let router = family == Family::V6 && file.value("Network", "IPv6AcceptRA").is_some_and(is_yes);
    let method = match () {
        () if dhcp.has(family) => Method::Dhcp,
        () if !addresses.is_empty() => Method::Manual,
        () if router => Method::Router,
        () => Method::Disabled,
    };
    Addressing { method, addresses, gateway: gateway.map(|ip| ip.to_string()) }
}

/// What systemd-resolved is told by one file after the other.
#[derive(Default)]
struct Resolver {
    dns: Vec<String>,
    domains: Vec<String>,
}

impl Resolver {
    fn add(&mut self, text: &str) {
        let (file, section) = (File::parse(text), "Resolve");
        for (key, all, fits) in
            [("DNS", &mut self.dns, is_server as fn(&str) -> bool), ("Domains", &mut self.domains, is_domain)]
        {
            if file.resets(section, key) {
                all.clear();
            }
            append(all, file.words(section, key), fits);
        }
    }
}

fn append(all: &mut Vec<String>, more: Vec<&str>, fits: impl Fn(&str) -> bool) {
    for word in more.into_iter().map(one_line) {
        if fits(&word) && !all.contains(&word) && all.len() < MAX_SHOWN {
            all.push(word);
        }
    }
}

/// An address, perhaps with a port, an interface and a name: `[2001:db8::53]:853%eth0#dns.example`.
fn is_server(word: &str) -> bool {
    word.len() <= MAX_NAME && word.chars().all(|c| c.is_ascii_alphanumeric() || ".:[]%#-_".contains(c))
}

/// Those behind a `~` only choose a server.
fn is_domain(word: &str) -> bool {
    word.len() <= MAX_NAME && !word.starts_with('~')
}

/// The files of a kind in a folder, in the order in which they are read.
fn files(root: &Folder, folder: &str, kind: &str) -> Result<Vec<PathBuf>, Failure> {
    let names = found(root.list(folder))?.unwrap_or_default();
    let files = names.into_iter().map(|(name, _)| Path::new(folder).join(name));
    Ok(files.filter(|path| path.extension().is_some_and(|is| is == kind)).collect())
}

fn text(root: &Folder, path: &Path) -> Result<Option<String>, Failure> {
    // One more than is read tells that it was not all.
    let Some(bytes) = found(root.read_in_root(path, MAX_BYTES + 1))? else { return Ok(None) };
    if bytes.len() as u64 > MAX_BYTES {
        let why = format!("/{} is larger than {MAX_BYTES} bytes", path.display());
        return Err(Failure::new(Code::Io, why).hint("whoever wrote it meant another file"));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> [Addressing; 2] {
        let file = File::parse(text);
        [addressing(&file, Family::V4), addressing(&file, Family::V6)]
    }

    #[test]
    fn addresses_and_gateways_belong_to_their_family() {
        let [v4, v6] = of(
            "[Network]\nAddress=192.0.2.10/24\nAddress=2001:db8::10/64\nGateway=192.0.2.1\nGateway=_ipv6ra\n\
             [Address]\nAddress=192.0.2.11\n[Route]\nGateway=2001:db8::1\n[Route]\nDestination=10.0.0.0/8\nGateway=192.0.2.9\n",
        );
        assert_eq!((v4.method, v6.method), (Method::Manual, Method::Manual));
        assert_eq!(v4.addresses, ["192.0.2.10/24", "192.0.2.11/32"]);
        assert_eq!(v6.addresses, ["2001:db8::10/64"]);
        assert_eq!((v4.gateway.as_deref(), v6.gateway.as_deref()), (Some("192.0.2.1"), Some("2001:db8::1")));
    }

    #[test]
    fn a_server_or_the_routers_may_give_the_addresses() {
        for (text, expected) in [
            ("[Network]\nDHCP=yes\n", [Method::Dhcp, Method::Dhcp]),
            ("[Network]\nDHCP=ipv4\nIPv6AcceptRA=yes\n", [Method::Dhcp, Method::Router]),
            ("[Network]\nDHCP=ipv6\nIPv6AcceptRA=no\n", [Method::Disabled, Method::Dhcp]),
            ("[Network]\nDHCP=both\nDHCP=v4\n", [Method::Dhcp, Method::Disabled]),
            ("[Network]\nDHCP=no\nIPv6AcceptRA=no\n", [Method::Disabled, Method::Disabled]),
            ("", [Method::Disabled, Method::Disabled]),
        ] {
            assert_eq!(of(text).map(|addressing| addressing.method), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_not_shown_as_one() {
        let long = "9".repeat(10_000);
        for wrong in [long.as_str(), "\u{1b}[2J", "192.0.2.10/99", "%n", "ff02::1/64"] {
            let [v4, v6] = of(&format!("[Network]\nAddress={wrong}\nGateway={wrong}\nDHCP={wrong}\n"));
            assert_eq!([v4, v6], [Addressing::default(), Addressing::default()], "{wrong}");
        }
    }

    #[test]
    fn a_file_means_the_interfaces_that_its_patterns_fit() {
        for (patterns, name, expected) in [
            (&["management0"][..], "management0", true),
            (&["data*", "failover*"], "failover0", true),
            (&["data*"], "management0", false),
            (&["!data0"], "data1", true),
            (&["!data0", "data1"], "data1", false),
            (&["[", "***"], "data0", false),
            (&[], "data0", false),
        ] {
            assert_eq!(means(patterns, name), expected, "{patterns:?} {name}");
        }
    }

    #[test]
    fn what_a_server_has_given_is_shown_and_link_local_addresses_are_not_taken_for_it() {
        let dhcp = Addressing { method: Method::Dhcp, ..Addressing::default() };
        let mut view = InterfaceView { ipv4: dhcp.clone(), ipv6: dhcp, ..InterfaceView::default() };
        let now = ["192.0.2.7/24", "fe80::1/64", "2001:db8::7/64"].map(String::from).to_vec();
        has_now(&mut view, now.clone());
        assert_eq!(view.ipv4.addresses, ["192.0.2.7/24"]);
        assert_eq!(view.ipv6.addresses, ["2001:db8::7/64"]);
        assert_eq!(view.addresses, now);
    }
}
