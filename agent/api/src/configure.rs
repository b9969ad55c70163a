use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::Secret;

/// `POST /v1/configure`: change the configuration at once, all of it or nothing. It starts a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigureRequest {
    /// In the order in which they are made; 1 to 64.
    pub changes: Vec<Change>,
    /// Minutes, 1 to 1,440, within which an admin has to confirm; else the old configuration comes back. Left out, it
    /// is [`CONFIGURE_WITHIN`] for changes by which an admin may lose the appliance, and not asked for others. Passwords
    /// alone are never waited for, and whoever may only look may not ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within: Option<u32>,
    /// These are the answers of the first login: it is not asked for again, and nothing has to be confirmed.
    #[serde(default)]
    pub setup: bool,
}

/// Minutes within which a change of the management address, or of who may log in from where, has to be confirmed.
pub const CONFIGURE_WITHIN: u32 = 5;

/// One change of the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// Of the management interface.
    Ipv4(Ipv4),
    /// Of the management interface.
    Ipv6(Ipv6),
    /// A host name, with or without a domain: 1 to 64 characters, as many as the kernel keeps.
    Hostname(String),
    /// At most 8; none take the present ones away.
    DnsServers(Vec<IpAddr>),
    /// At most 8; none take the present ones away.
    SearchDomains(Vec<String>),
    ManagerAdd(ManagerAdd),
    /// A new password for whoever asks, or for the user who is named.
    Password {
        user: Option<String>,
        password: Secret,
    },
    UserAdd {
        name: String,
        access: Access,
        password: Secret,
    },
    UserAccess {
        name: String,
        access: Access,
    },
    UserDelete {
        name: String,
    },
    /// A server whose key is known beforehand: `restore … location` does not ask for it.
    TrustedHostAdd {
        host: String,
        port: u16,
        algorithm: String,
        key: String,
    },
    TrustedHostDelete {
        host: String,
        port: u16,
    },
    /// From where SSH is open, as networks `192.0.2.0/24`; from everywhere where there are none. At most 64.
    SshAccessList(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ipv4 {
    Manual { address: Ipv4Addr, prefix: u8, gateway: Option<Ipv4Addr> },
    Dhcp,
    Disable,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ipv6 {
    Manual {
        address: Ipv6Addr,
        prefix: u8,
        gateway: Option<Ipv6Addr>,
    },
    /// As the routers on the link say.
    Router,
    Disable,
}

/// The manager to register with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagerAdd {
    /// Name or address.
    pub host: String,
    /// The registration key that is typed at the manager too.
    pub key: Secret,
    /// Where one of the two cannot reach the other: the same word on both sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat_id: Option<String>,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Look.
    Basic,
    /// Look, configure, restore.
    Config,
}

impl Access {
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Basic => "basic",
            Access::Config => "config",
        }
    }
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `POST /v1/password/check`: would this password be taken? Nothing is changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordCheck {
    /// Whose; of whoever asks where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    pub password: Secret,
}

/// `POST /v1/configurations/NAME/rename`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenameRequest {
    /// 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter.
    pub to: String,
}
