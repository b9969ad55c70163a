//! How each member of the group is reached, and in which order members are locked.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use reinstate_api::{Role, Secret};
use serde::{Deserialize, Serialize};

use super::Membership;
use crate::archive::HaMember;

/// How one member is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// The member's device UUID.
    pub device: String,
    pub hostname: String,
    pub role: Role,
    /// Tried one after the other.
    pub addresses: Vec<IpAddr>,
    /// Any of them will do: before and after a restore it may be another one.
    pub host_keys: Vec<String>,
}

impl Door {
    fn to(member: &HaMember) -> Self {
        let addresses = member.addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let host_keys = vec![member.host_key.clone()];
        let HaMember { uuid, hostname, role, .. } = member.clone();
        Self { device: uuid, hostname, role, addresses, host_keys }
    }

    /// What another description of the same member adds.
    fn widen(&mut self, other: Self) {
        for address in other.addresses {
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        for key in other.host_keys {
            if !self.host_keys.contains(&key) {
                self.host_keys.push(key);
            }
        }
    }

    pub(super) fn sockets(&self, port: u16) -> Vec<SocketAddr> {
        self.addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
    }

    /// `fw-b (192.0.2.2, 198.51.100.2)`
    pub fn name(&self) -> String {
        let addresses: Vec<_> = self.addresses.iter().map(IpAddr::to_string).collect();
        format!("{} ({})", self.hostname, addresses.join(", "))
    }
}

/// The group as a restore sees it: this appliance's own description of it, the backup's, or both.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: String,
    /// The device UUID by which the others know this appliance.
    pub own: String,
    pub port: u16,
    /// Any of them may let us in: before and after a restore it may be another one.
    pub keys: Vec<Secret>,
    /// All but this appliance and the one that it becomes, by device UUID.
    pub others: Vec<Door>,
    /// The appliance that the backup is of: it must not be alive.
    pub predecessor: Option<Door>,
    /// The roles that the backup gives the members.
    pub roles: BTreeMap<String, Role>,
}

impl Group {
    /// `live` comes with this appliance's device UUID, `backup` with the backup's.
    pub fn new(
        port: u16,
        live: Option<(&Membership, &str)>,
        backup: Option<(&Membership, &str)>,
    ) -> Option<Self> {
        let known = [live, backup].into_iter().flatten();
        let name = backup.or(live)?.0.group.name.clone();
        let (mut doors, mut keys) = (BTreeMap::<String, Door>::new(), Vec::new());
        for (membership, _) in known {
            keys.push(membership.key.clone());
            for member in &membership.group.members {
                let door = Door::to(member);
                match doors.get_mut(&member.uuid) {
                    Some(known) => known.widen(door),
                    None => drop(doors.insert(member.uuid.clone(), door)),
                }
            }
        }
        let is_member = |(membership, uuid): &(&Membership, &str)| {
            membership.group.members.iter().any(|m| m.uuid == **uuid)
        };
        // As long as the others know this appliance under its present name, that is where its lock is.
        let own = live.filter(is_member).or(backup).or(live)?.1.to_owned();
        doors.remove(&own);
        let becomes = backup.map_or("", |(_, uuid)| uuid);
        let predecessor = match doors.remove(becomes) {
            None => backup.and_then(|(membership, uuid)| {
                let member = membership.group.members.iter().find(|member| member.uuid == uuid)?;
                Some(Door::to(member))
            }),
            door => door,
        };
        let members = backup.or(live).map(|(membership, _)| &membership.group.members);
        let roles = members.into_iter().flatten().map(|member| (member.uuid.clone(), member.role)).collect();
        Some(Self { name, own, port, keys, others: doors.into_values().collect(), predecessor, roles })
    }

    /// Does this appliance's lock come before the member's, in the order that all members have?
    pub fn is_before(&self, device: &str) -> bool {
        self.own.as_str() < device
    }
}
