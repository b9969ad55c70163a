//! A request in one line, for the record: nothing secret is in it.

use reinstate_api::{Change, Ipv4, Ipv6, one_line};

/// The record keeps many of them.
const LONGEST: usize = 1000;

/// May an admin lose the appliance by it?
pub fn is_risky(change: &Change) -> bool {
    matches!(change, Change::Ipv4(_) | Change::Ipv6(_) | Change::SshAccessList(_))
}

/// `configure network ipv4 manual 192.0.2.10/24; hostname fw`.
pub fn describe(changes: &[Change], setup: bool) -> String {
    let mut all: Vec<String> = changes.iter().map(one).collect();
    if setup {
        all.insert(0, "setup".into());
    }
    let line = one_line(&format!("configure {}", all.join("; ")));
    match line.char_indices().nth(LONGEST) {
        None => line,
        Some(_) => line.chars().take(LONGEST - 3).chain("...".chars()).collect(),
    }
}

/// Is this the line of a request by which somebody has changed the own password, and nothing else?
pub fn is_own_password(line: &str, by: &str) -> bool {
    let own = |change: &str| change == "password" || change.strip_prefix("password ") == Some(by);
    line.strip_prefix("configure ").is_some_and(|changes| changes.split("; ").all(own))
}

fn one(change: &Change) -> String {
    let list = |items: &[String]| if items.is_empty() { "none".to_owned() } else { items.join(" ") };
    let gateway = |gateway: Option<String>| gateway.map_or(String::new(), |gateway| format!(" {gateway}"));
    match change {
        Change::Ipv4(Ipv4::Manual { address, prefix, gateway: by }) => {
            format!("network ipv4 manual {address}/{prefix}{}", gateway(by.map(|by| by.to_string())))
        }
        Change::Ipv4(Ipv4::Dhcp) => "network ipv4 dhcp".into(),
        Change::Ipv4(Ipv4::Disable) => "network ipv4 disable".into(),
        Change::Ipv6(Ipv6::Manual { address, prefix, gateway: by }) => {
            format!("network ipv6 manual {address}/{prefix}{}", gateway(by.map(|by| by.to_string())))
        }
        Change::Ipv6(Ipv6::Router) => "network ipv6 router".into(),
        Change::Ipv6(Ipv6::Disable) => "network ipv6 disable".into(),
        Change::Hostname(name) => format!("network hostname {name}"),
        Change::DnsServers(servers) => {
            let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
            format!("network dns servers {}", list(&servers))
        }
        Change::SearchDomains(domains) => format!("network dns searchdomains {}", list(domains)),
        Change::ManagerAdd(manager) => {
            format!("manager add {}{}", manager.host, gateway(manager.nat_id.clone()))
        }
        Change::Password { user: None, .. } => "password".into(),
        Change::Password { user: Some(user), .. } => format!("password {user}"),
        Change::UserAdd { name, access, .. } => format!("user add {name} {access}"),
        Change::UserAccess { name, access } => format!("user access {name} {access}"),
        Change::UserDelete { name } => format!("user delete {name}"),
        Change::TrustedHostAdd { host, port, algorithm, .. } => {
            format!("ssh trusted-host add {host} {port} {algorithm}")
        }
        Change::TrustedHostDelete { host, port } => format!("ssh trusted-host delete {host} {port}"),
        Change::SshAccessList(networks) => format!("ssh-access-list {}", list(networks)),
    }
}

#[cfg(test)]
mod tests {
    use reinstate_api::{Access, ManagerAdd, Secret};

    use super::*;

    #[test]
    fn a_request_is_told_in_one_line_without_its_secrets() {
        let secret = || Secret::new("hunter2".into());
        let changes = [
            Change::Ipv4(Ipv4::Manual { address: [192, 0, 2, 10].into(), prefix: 24, gateway: None }),
            Change::DnsServers(Vec::new()),
            Change::Password { user: Some("a\nb".into()), password: secret() },
            Change::UserAdd { name: "bob".into(), access: Access::Basic, password: secret() },
            Change::ManagerAdd(ManagerAdd { host: "m.example".into(), key: secret(), nat_id: None }),
        ];
        let line = describe(&changes, true);
        assert!(
            line.starts_with(
                "configure setup; network ipv4 manual 192.0.2.10/24; network dns servers none; "
            )
        );
        assert!(line.ends_with("user add bob basic; manager add m.example"), "{line}");
        assert!(!line.contains("hunter2") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn the_longest_request_is_a_line_that_the_record_keeps_a_hundred_of() {
        let line = describe(&vec![Change::UserDelete { name: "\u{200f}é".repeat(100) }; 64], false);
        assert_eq!((line.chars().count(), &line[line.len() - 3..]), (LONGEST, "..."));
    }

    #[test]
    fn the_own_password_is_told_from_every_other_change() {
        let password = |user: Option<&str>| Change::Password {
            user: user.map(String::from),
            password: Secret::new("hunter2".into()),
        };
        let own = |changes: &[Change], setup| is_own_password(&describe(changes, setup), "bob");
        assert!(own(&[password(None)], false) && own(&[password(Some("bob")), password(None)], false));
        assert!(!own(&[password(Some("bobby"))], false) && !own(&[password(None)], true));
        assert!(!own(&[password(None), Change::Hostname("fw".into())], false));
        assert!(!is_own_password("generation 0", "bob") && !is_own_password("", "bob"));
    }
}
