//! How an appliance is a member of an HA pair or of a cluster.

use serde::{Deserialize, Deserializer};

use super::{Reading, file};
use crate::domain::Domains;
use crate::tree::TreePath;

/// Where an HA pair or a cluster is described, and how its members reach each other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ha {
    /// The group with all its members, this one too, in the manifest's form. No file: no group.
    #[serde(deserialize_with = "file")]
    pub group: TreePath,
    /// The private key that every member of the group has, as OpenSSH writes it; a secret of a domain.
    #[serde(deserialize_with = "file")]
    pub key: TreePath,
    /// The private host key of this member's own endpoint, as OpenSSH writes it; a secret of a domain.
    #[serde(deserialize_with = "file")]
    pub host_key: TreePath,
    /// Where members answer: logical names of interfaces.
    pub interfaces: Vec<String>,
    /// The one of them that only joins members, and gets the backup's address for the time of a restore
    /// where it has none.
    #[serde(default)]
    pub failover: Option<String>,
    /// The HA engine's unit: what `configure high-availability resume` has run again.
    #[serde(default)]
    pub unit: Option<String>,
    /// Where the HA engine's state is read: `active`, `standby` or `fault`.
    #[serde(default)]
    pub state: Option<Reading>,
    /// In place of `state`, where `unit` is a keepalived: the `keepalived.json` that it writes when it is
    /// asked, in the folder that is `TMPDIR` in its environment.
    #[serde(default, deserialize_with = "some_file")]
    pub keepalived: Option<TreePath>,
    /// TCP; 1 to 65,535.
    #[serde(default = "peer_port")]
    pub port: u16,
    /// Seconds for which a control node's rejoin may hold the group's locks; 1 to 86,400.
    #[serde(default = "rejoin_deadline")]
    pub rejoin_deadline: u64,
    /// What nft loads at boot. A restore goes on only where it lets the other members in; without it,
    /// that is not tried.
    #[serde(default, deserialize_with = "some_file")]
    pub ruleset: Option<TreePath>,
    /// Where a configuration may name a lock service, which then takes the place of lock files.
    #[serde(default)]
    pub lock_service: Option<LockService>,
}

/// Where a configuration says which service, speaking the FleetLock protocol, has the group's lock.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockService {
    /// `https://HOST[:PORT][/BASE]`. Neither URL nor group: no lock service.
    pub url: Reading,
    /// The service's name for the group: letters, digits, `.` and `-`.
    pub group: Reading,
    /// The authority that the service's own certificate must be of, in PEM.
    #[serde(deserialize_with = "file")]
    pub ca: TreePath,
}

fn peer_port() -> u16 {
    8306
}

fn rejoin_deadline() -> u64 {
    1800
}

fn some_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TreePath>, D::Error> {
    file(deserializer).map(Some)
}

impl Ha {
    /// Is there an HA engine that says what this member is?
    pub fn tells_state(&self) -> bool {
        self.state.is_some() || self.keepalived.is_some()
    }

    /// What does not fit the hardware's interfaces, or itself.
    pub(super) fn contradictions(&self, interfaces: &[String]) -> Vec<String> {
        let mut found = Vec::new();
        for named in self.interfaces.iter().chain(&self.failover) {
            if !interfaces.contains(named) {
                found.push(format!(
                    "ha.interfaces has '{named}', which is not in hardware.interfaces ({})",
                    interfaces.join(", ")
                ));
            }
        }
        if self.keepalived.is_some() && self.unit.is_none() {
            found.push("ha.keepalived needs ha.unit, the unit that is asked".into());
        }
        if self.port == 0 {
            found.push("ha.port is 0, of 1 to 65535".into());
        }
        found
    }

    /// What does not fit the domains.
    pub(super) fn problem(&self, domains: &Domains) -> Option<String> {
        let owner = |path: &TreePath| domains.stored().find(|domain| domain.owns(path));
        if owner(&self.group).is_none() {
            return Some(format!("ha.group is '{}', which no domain owns", self.group));
        }
        if let Some(ruleset) = self.ruleset.as_ref().filter(|ruleset| owner(ruleset).is_none()) {
            return Some(format!("ha.ruleset is '{ruleset}', which no domain owns"));
        }
        let secrets = [("ha.key", &self.key), ("ha.host-key", &self.host_key)];
        let open = secrets.into_iter().find_map(|(name, path)| {
            let sealed = owner(path).is_some_and(|domain| domain.is_secret(path));
            (!sealed).then(|| format!("{name} is '{path}', which no domain has among its secrets"))
        });
        open.or_else(|| self.lock_service.as_ref()?.problem(domains))
    }
}

impl LockService {
    /// What does not fit the domains.
    fn problem(&self, domains: &Domains) -> Option<String> {
        let places = [("url", self.url.path()), ("group", self.group.path()), ("ca", &self.ca)];
        let owned = |path: &TreePath| domains.stored().any(|domain| domain.owns(path));
        let (name, path) = places.into_iter().find(|(_, path)| !owned(path))?;
        Some(format!("ha.lock-service.{name} is '{path}', which no domain owns"))
    }
}
