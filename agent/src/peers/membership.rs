//! What makes an appliance a member of a group: who else is in it, and the keys.

use reinstate_api::{Code, Failure, Secret};
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use serde::{Deserialize, Serialize};

use crate::archive::HaGroup;
use crate::files::{Folder, found};
use crate::profile::Ha;
use crate::tree::TreePath;

/// The largest description of a group, and the largest key: 64 KiB.
pub const MAX_GROUP: u64 = 64 << 10;

/// Read by a root process, because only root reads the keys; from there to the daemon by a pipe.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Membership {
    pub group: HaGroup,
    /// What every member of the group has, in OpenSSH's form.
    pub key: Secret,
    /// This member's own endpoint's, in OpenSSH's form.
    pub host_key: Secret,
}

impl PartialEq for Membership {
    fn eq(&self, other: &Self) -> bool {
        let same = |one: &Secret, other: &Secret| one.expose() == other.expose();
        self.group == other.group && same(&self.key, &other.key) && same(&self.host_key, &other.host_key)
    }
}

impl Membership {
    /// None where the appliance is in no group.
    pub fn read(root: &Folder, ha: &Ha) -> Result<Option<Self>, Failure> {
        let Some(bytes) = found(root.read_in_root(&ha.group, MAX_GROUP))? else { return Ok(None) };
        let group = parse_group(&ha.group, &bytes)?;
        let key = |what: &str, path: &TreePath| {
            let bytes = found(root.read_in_root(path, MAX_GROUP))?
                .ok_or_else(|| unusable(format!("{what} is expected at {path}, where there is nothing")))?;
            let text =
                String::from_utf8(bytes).map_err(|_| unusable(format!("{what} at {path} is no text")))?;
            let key = Secret::new(text);
            private(what, &key).map(|_| key)
        };
        let (key, host_key) =
            (key("the group's key", &ha.key)?, key("the endpoint's host key", &ha.host_key)?);
        Ok(Some(Self { group, key, host_key }))
    }

    /// The group's key, of which the public half lets a member in.
    pub(super) fn group_key(&self) -> Result<PrivateKey, Failure> {
        private("the group's key", &self.key)
    }

    pub(super) fn endpoint_key(&self) -> Result<PrivateKey, Failure> {
        private("the endpoint's host key", &self.host_key)
    }
}

/// The description of a group, as `path` holds it.
pub fn parse_group(path: &TreePath, bytes: &[u8]) -> Result<HaGroup, Failure> {
    let text = String::from_utf8_lossy(bytes);
    let group: HaGroup =
        toml::from_str(&text).map_err(|e| unusable(format!("{path} cannot be read: {}", e.message())))?;
    group.check().map_err(|why| unusable(format!("{path}: {why}")))?;
    Ok(group)
}

pub(super) fn private(what: &str, key: &Secret) -> Result<PrivateKey, Failure> {
    let key = PrivateKey::from_openssh(key.expose())
        .map_err(|e| unusable(format!("{what} is no private key as OpenSSH writes it: {e}")))?;
    match key.is_encrypted() {
        true => Err(unusable(format!("{what} is encrypted, and nobody is there to type its passphrase"))),
        false => Ok(key),
    }
}

/// A host key as a line of `known_hosts` has it.
pub(super) fn public(line: &str) -> Option<PublicKey> {
    let mut words = line.split_whitespace();
    PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok()
}

pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn unusable(why: String) -> Failure {
    Failure::new(Code::PeerMismatch, format!("the HA group cannot be used: {why}"))
        .hint("correct the HA configuration of this appliance; until then no other member is asked or locked")
}
