use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{Code, Failure, Secret};

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

/// The longest host name that the kernel keeps.
pub const HOSTNAME: usize = 64;

/// DNS servers, and search domains.
pub const SERVERS: usize = 8;

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

impl Ipv4 {
    /// # Errors
    /// `bad-request` where no interface can have that address, or the gateway is in no network of it.
    pub fn check(&self) -> Result<(), Failure> {
        let Self::Manual { address, prefix, gateway } = self else { return Ok(()) };
        check_prefix(*prefix, 32)?;
        let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
        let host = address.to_bits() & !mask;
        let reserved = *prefix < 31 && (host == 0 || host == !mask);
        if reserved
            || address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address.is_broadcast()
        {
            return Err(impossible(address, *prefix));
        }
        let Some(by) = gateway else { return Ok(()) };
        let inside = by.to_bits() & mask == address.to_bits() & mask && by != address;
        if inside { Ok(()) } else { Err(outside(by, address, *prefix)) }
    }
}

impl Ipv6 {
    /// # Errors
    /// As [`Ipv4::check`].
    pub fn check(&self) -> Result<(), Failure> {
        let Self::Manual { address, prefix, gateway } = self else { return Ok(()) };
        check_prefix(*prefix, 128)?;
        if address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address.to_ipv4_mapped().is_some()
        {
            return Err(impossible(address, *prefix));
        }
        let Some(by) = gateway else { return Ok(()) };
        let mask = u128::MAX.checked_shl(128 - u32::from(*prefix)).unwrap_or(0);
        let inside = by.to_bits() & mask == address.to_bits() & mask || by.is_unicast_link_local();
        if inside && by != address { Ok(()) } else { Err(outside(by, address, *prefix)) }
    }
}

fn check_prefix(prefix: u8, most: u8) -> Result<(), Failure> {
    if (1..=most).contains(&prefix) {
        return Ok(());
    }
    Err(Failure::new(Code::BadRequest, format!("the prefix length is {prefix}, of 1 to {most}")))
}

fn impossible(address: impl Display, prefix: u8) -> Failure {
    let why = format!("'{address}/{prefix}' is no address that an interface can have");
    Failure::new(Code::BadRequest, why)
}

fn outside(gateway: impl Display, address: impl Display, prefix: u8) -> Failure {
    let why = format!("the gateway {gateway} is no other device in the network of {address}/{prefix}");
    Failure::new(Code::BadRequest, why)
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
