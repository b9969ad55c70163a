//! Which connections the other members make, and what it means that one is not let in: pure, without I/O.

use std::collections::BTreeSet;
use std::net::IpAddr;

use reinstate_api::{Code, Failure};

use super::Connection;
use crate::archive::{HaGroup, HaMember};
use crate::profile::Ha;

/// So many of a member's are tried: a group may be described by a stranger.
const MOST: usize = 16;

/// Another member, and the connections by which it may reach this appliance; any of them will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub hostname: String,
    pub connections: Vec<Connection>,
}

/// Whose ruleset it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firewall {
    Present,
    Backup,
}

impl Firewall {
    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "the firewall of the present configuration",
            Self::Backup => "the firewall of the backup",
        }
    }

    fn way_on(self) -> &'static str {
        match self {
            Self::Present => "add a rule for it to this appliance's policy, then repeat the restore",
            Self::Backup => "take a backup whose policy has a rule for it; nothing was changed",
        }
    }
}

/// The other members of the group. `us` are the device UUIDs that are this appliance, the one that it has
/// first: as which it is reached.
pub fn callers(ha: &Ha, group: &HaGroup, us: [&str; 2]) -> Vec<Caller> {
    let Some(own) = group.member(us[0]) else { return Vec::new() };
    let others = group.members.iter().filter(|member| !us.contains(&member.uuid.as_str()));
    let caller = |member: &HaMember| Caller {
        hostname: member.hostname.clone(),
        connections: connections(ha, member, own),
    };
    others.map(caller).collect()
}

/// The group says which address is on the failover link; any other may be on any other interface.
fn connections(ha: &Ha, from: &HaMember, to: &HaMember) -> Vec<Connection> {
    let (ours, theirs) = (Places::of(ha, to), Places::of(ha, from));
    let mut all = BTreeSet::new();
    let mut add = |interface: &String, from: &[IpAddr], to: &[IpAddr]| {
        for (from, to) in from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to))) {
            if from.is_ipv4() == to.is_ipv4() && from != to && all.len() < MOST {
                all.insert(Connection { interface: interface.clone(), from, to });
            }
        }
    };
    for interface in &ha.interfaces {
        match ha.failover.as_ref() == Some(interface) {
            true => add(interface, &theirs.failover, &ours.failover),
            false => add(interface, &theirs.elsewhere, &ours.elsewhere),
        }
    }
    all.into_iter().collect()
}

/// Where a member's addresses are.
struct Places {
    failover: Vec<IpAddr>,
    elsewhere: Vec<IpAddr>,
}

impl Places {
    fn of(ha: &Ha, member: &HaMember) -> Self {
        let failover = ha.failover.as_ref().and_then(|_| member.failover.split('/').next()?.parse().ok());
        let addresses = member.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
        let (failover, elsewhere) = addresses.partition(|address| Some(*address) == failover);
        Self { failover, elsewhere }
    }
}

/// What it means that these connections are closed: a refusal for each member that no other is open to,
/// and notes.
pub fn judge(
    firewall: Firewall,
    port: u16,
    callers: &[Caller],
    closed: &[Connection],
) -> (Vec<Failure>, Vec<String>) {
    let (mut refusals, mut notes) = (Vec::new(), Vec::new());
    for Caller { hostname, connections } in callers {
        let shut: Vec<_> = connections.iter().filter(|connection| closed.contains(connection)).collect();
        if connections.is_empty() {
            notes.push(format!(
                "{} was not tried for {hostname}: the group has no address of it and of this appliance on one link",
                firewall.name()
            ));
            continue;
        }
        if shut.is_empty() {
            continue;
        }
        let from: BTreeSet<_> = shut.iter().map(|c| format!("{} on {}", c.from, c.interface)).collect();
        let from = Vec::from_iter(from).join(", ");
        let why = format!("{} does not let {hostname} ({from}) in, TCP port {port}", firewall.name());
        match shut.len() == connections.len() {
            true => refusals.push(Failure::new(Code::PeerPortClosed, why).hint(firewall.way_on())),
            false => notes.push(format!("{why}; it comes in on another way")),
        }
    }
    (refusals, notes)
}

#[cfg(test)]
mod tests {
    use reinstate_api::Role;

    use super::*;

    const HA: &str = "group = \"/g\"\nkey = \"/k\"\nhost-key = \"/h\"\n\
                      interfaces = [\"management0\", \"failover0\"]\nfailover = \"failover0\"\n";

    fn member(uuid: &str, addresses: &[&str], failover: &str) -> HaMember {
        HaMember {
            uuid: uuid.into(),
            hostname: format!("fw-{uuid}"),
            role: Role::Data,
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            failover: failover.into(),
            host_key: String::new(),
        }
    }

    fn group() -> HaGroup {
        let members = vec![
            member("a", &["198.51.100.1", "192.0.2.1", "2001:db8::1"], "198.51.100.1/24"),
            member("b", &["198.51.100.2", "192.0.2.2", "2001:db8::2"], "198.51.100.2/24"),
            member("c", &["192.0.2.3"], ""),
        ];
        HaGroup { name: "edge".into(), members }
    }

    fn written(callers: &[Caller]) -> Vec<(String, Vec<String>)> {
        let words = |caller: &Caller| caller.connections.iter().map(Connection::to_string).collect();
        callers.iter().map(|caller| (caller.hostname.clone(), words(caller))).collect()
    }

    #[test]
    fn a_member_comes_in_by_each_link_and_family_that_both_have() {
        let ha: Ha = toml::from_str(HA).unwrap();
        let callers = callers(&ha, &group(), ["a", "a"]);
        let b = [
            "failover0,198.51.100.2,198.51.100.1",
            "management0,192.0.2.2,192.0.2.1",
            "management0,2001:db8::2,2001:db8::1",
        ];
        let c = ["management0,192.0.2.3,192.0.2.1"];
        let expected =
            [("fw-b", &b[..]), ("fw-c", &c[..])].map(|(name, words)| (name.to_owned(), words.to_vec()));
        let words = written(&callers);
        let words: Vec<_> = words
            .iter()
            .map(|(n, w)| (n.clone(), w.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn this_appliance_under_its_other_name_is_no_caller() {
        let ha: Ha = toml::from_str(HA).unwrap();
        let names: Vec<_> =
            callers(&ha, &group(), ["a", "b"]).into_iter().map(|caller| caller.hostname).collect();
        assert_eq!(names, ["fw-c"]);
        assert!(callers(&ha, &group(), ["x", "x"]).is_empty(), "one that is no member is not reached");
    }

    #[test]
    fn one_open_way_for_each_member_is_enough_and_the_closed_ones_are_told() {
        let ha: Ha = toml::from_str(HA).unwrap();
        let callers = callers(&ha, &group(), ["a", "a"]);
        let judged = |closed: &[&str]| {
            let closed: Vec<Connection> = closed.iter().map(|text| text.parse().unwrap()).collect();
            judge(Firewall::Backup, 8306, &callers, &closed)
        };
        assert_eq!(judged(&[]), (vec![], vec![]));

        let (refusals, notes) = judged(&["failover0,198.51.100.2,198.51.100.1"]);
        assert!(refusals.is_empty());
        let note = "the firewall of the backup does not let fw-b (198.51.100.2 on failover0) in, TCP port 8306; \
                    it comes in on another way";
        assert_eq!(notes, [note]);

        let (refusals, notes) = judged(&["management0,192.0.2.3,192.0.2.1"]);
        assert!(notes.is_empty());
        assert_eq!(refusals[0].code, Code::PeerPortClosed);
        let message =
            "the firewall of the backup does not let fw-c (192.0.2.3 on management0) in, TCP port 8306";
        assert_eq!(refusals[0].message, message);
    }
}
