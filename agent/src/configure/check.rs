//! What is wrong with a request, as far as that can be told without looking at the configuration.

use std::net::IpAddr;

use reinstate_api::{
    Access, CONFIRM_WITHIN, Change, Code, ConfigureRequest, Failure, HOSTNAME, ManagerAdd, SERVERS, one_line,
};

use super::accounts::check_name;
use super::{passwords, ssh};
use crate::profile::Profile;

const CHANGES: usize = 64;
const NETWORKS: usize = 64;
const NAME: usize = 253;
/// An account that a backup has brought may have a longer name than a new one gets.
const USER: usize = 255;
const KEY: usize = 128;

fn bad(why: impl AsRef<str>) -> Failure {
    Failure::new(Code::BadRequest, why)
}

/// `by` asks, who may do what `access` says.
///
/// # Errors
/// `bad-request`, `forbidden`, `password-refused`; `not-found` where the profile has no such thing.
pub fn check(request: &ConfigureRequest, profile: &Profile, by: &str, access: Access) -> Result<(), Failure> {
    let count = request.changes.len();
    if !(1..=CHANGES).contains(&count) {
        return Err(bad(format!("there are {count} changes, of 1 to {CHANGES}")));
    }
    if let Some(minutes) = request.confirm_within.filter(|minutes| !CONFIRM_WITHIN.contains(minutes)) {
        let (least, most) = CONFIRM_WITHIN.into_inner();
        return Err(bad(format!("confirm-within is {minutes} minutes, of {least} to {most}")));
    }
    let own = |change: &Change| matches!(change, Change::Password { user, .. } if user.as_deref().is_none_or(|user| user == by));
    // Whoever may only look keeps no job waiting either.
    let more = request.setup || request.confirm_within.is_some() || !request.changes.iter().all(own);
    if access < Access::Config && more {
        return Err(Failure::new(
            Code::Forbidden,
            format!("'{by}' may look, and change the own password alone"),
        )
        .hint("ask a user with config access"));
    }
    if request.setup {
        if profile.setup.is_none() {
            return Err(missing("the first login asks nothing", "setup"));
        }
        // Root, who is asked nothing at a login, has no password here.
        let sets = |change: &Change| own(change) || by == "root" && matches!(change, Change::Password { .. });
        if !request.changes.iter().any(sets) {
            return Err(bad(format!(
                "the first login sets a new password for '{by}', and none is among the changes"
            )));
        }
    }
    request.changes.iter().try_for_each(|change| one(change, profile, by))
}

fn missing(what: &str, key: &str) -> Failure {
    Failure::new(Code::NotFound, format!("on this appliance {what}"))
        .hint(format!("its profile has no `{key}`"))
}

fn one(change: &Change, profile: &Profile, by: &str) -> Result<(), Failure> {
    let network = || match profile.management.file {
        Some(_) => Ok(()),
        None => Err(missing("the network is not configured here", "management.file")),
    };
    match change {
        Change::Ipv4(wanted) => network().and_then(|()| wanted.check()),
        Change::Ipv6(wanted) => network().and_then(|()| wanted.check()),
        Change::Hostname(name) => hostname(name),
        Change::DnsServers(servers) => {
            network()?;
            at_most(servers.len(), "DNS servers", SERVERS)?;
            match servers.iter().find(|server| server.is_unspecified() || server.is_multicast()) {
                Some(server) => Err(bad(format!("'{server}' is no address of a DNS server"))),
                None => Ok(()),
            }
        }
        Change::SearchDomains(domains) => {
            network()?;
            at_most(domains.len(), "search domains", SERVERS)?;
            domains.iter().try_for_each(|domain| match is_name(domain) {
                true => Ok(()),
                false => Err(bad(format!("'{}' is no domain", one_line(domain)))),
            })
        }
        Change::ManagerAdd(manager) => add_manager(manager, profile),
        Change::Password { user, password } => {
            user.as_deref().map_or(Ok(()), known_name)?;
            passwords::check(&profile.passwords, user.as_deref().unwrap_or(by), password)
        }
        Change::UserAdd { name, password, .. } => {
            check_name(name)?;
            passwords::check(&profile.passwords, name, password)
        }
        Change::UserAccess { name, .. } | Change::UserDelete { name } => known_name(name),
        Change::TrustedHostAdd { host, port, algorithm, key } => {
            known_hosts(profile)?;
            server(host, *port)?;
            ssh::key(algorithm, key)
        }
        Change::TrustedHostDelete { host, port } => known_hosts(profile).and_then(|()| server(host, *port)),
        Change::SshAccessList(networks) => {
            if profile.ssh.access_list.is_none() {
                return Err(missing("SSH has no access list", "ssh.access-list"));
            }
            at_most(networks.len(), "networks", NETWORKS)?;
            networks.iter().try_for_each(|network| is_network(network))
        }
    }
}

/// A name that an account may have; whether one has it is seen later.
fn known_name(name: &str) -> Result<(), Failure> {
    match (1..=USER).contains(&name.len()) && !name.contains(|c: char| c.is_control() || ":;".contains(c)) {
        true => Ok(()),
        false => Err(bad(format!(
            "a user's name has 1 to {USER} characters, and neither ':' nor ';'; this one has {} bytes",
            name.len()
        ))),
    }
}

fn known_hosts(profile: &Profile) -> Result<(), Failure> {
    match profile.ssh.known_hosts {
        Some(_) => Ok(()),
        None => Err(missing("no trusted hosts are configured", "ssh.known-hosts")),
    }
}

fn at_most(count: usize, what: &str, most: usize) -> Result<(), Failure> {
    if count > most { Err(bad(format!("there are {count} {what}, of at most {most}"))) } else { Ok(()) }
}

fn hostname(name: &str) -> Result<(), Failure> {
    match is_name(name) && name.len() <= HOSTNAME && name.parse::<IpAddr>().is_err() {
        true => Ok(()),
        false => Err(bad(format!(
            "'{}' is no host name: 1 to {HOSTNAME} letters, digits, hyphens and dots, no part longer than 63",
            one_line(name)
        ))),
    }
}

/// Labels between dots.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    name.len() <= NAME && name.split('.').all(label)
}

fn add_manager(manager: &ManagerAdd, profile: &Profile) -> Result<(), Failure> {
    let ManagerAdd { host, key, nat_id } = manager;
    let known = profile.manager.as_ref().filter(|manager| manager.registration_key.is_some());
    let Some(known) = known else {
        return Err(missing("no manager is added", "manager.registration-key"));
    };
    if !is_name(host) && host.parse::<IpAddr>().is_err() {
        return Err(bad(format!("'{}' is neither a name nor an address", one_line(host))));
    }
    let length = key.expose().chars().count();
    if !(1..=KEY).contains(&length) || !key.expose().chars().all(|c| c.is_ascii_graphic()) {
        return Err(bad(format!(
            "a registration key is 1 to {KEY} letters, digits and signs; this one is not"
        )));
    }
    let Some(nat_id) = nat_id else { return Ok(()) };
    if known.nat_id.is_none() {
        return Err(missing("a manager has no NAT id", "manager.nat-id"));
    }
    match (1..=64).contains(&nat_id.len())
        && nat_id.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    {
        true => Ok(()),
        false => Err(bad(format!(
            "'{}' is no NAT id: 1 to 64 letters, digits, '.', '_' and '-'",
            one_line(nat_id)
        ))),
    }
}

fn server(host: &str, port: u16) -> Result<(), Failure> {
    match port > 0 && (is_name(host) || host.parse::<IpAddr>().is_ok()) {
        true => Ok(()),
        false => Err(bad(format!("'{}' port {port} is no server", one_line(host)))),
    }
}

/// sshd takes a network whose host part is not empty for a mistake.
fn is_network(text: &str) -> Result<(), Failure> {
    let parsed = text.split_once('/').and_then(|(address, prefix)| {
        let prefix: u32 = prefix.parse().ok()?;
        Some(match address.parse().ok()? {
            IpAddr::V4(v4) => prefix <= 32 && v4.to_bits() & u32::MAX.checked_shr(prefix).unwrap_or(0) == 0,
            IpAddr::V6(v6) => prefix <= 128 && v6.to_bits() & u128::MAX.checked_shr(prefix).unwrap_or(0) == 0,
        })
    });
    match parsed {
        Some(true) => Ok(()),
        _ => Err(bad(format!("'{}' is no network such as 192.0.2.0/24 or 2001:db8::/32", one_line(text)))),
    }
}

#[cfg(test)]
mod tests;
