//! The two families of addresses, and the words that systemd-networkd has for them.

use std::net::IpAddr;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(ip: &IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// That of an address, perhaps with a prefix, or of who gives one.
    pub fn named(value: &str) -> Option<Self> {
        match value {
            "_dhcp4" => Some(Self::V4),
            "_ipv6ra" => Some(Self::V6),
            _ => value.split('/').next()?.parse().ok().map(|ip| Self::of(&ip)),
        }
    }
}

/// Each on or off, as `DHCP=` and `LinkLocalAddressing=` say it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Families {
    pub v4: bool,
    pub v6: bool,
}

impl Families {
    pub fn parse(value: &str) -> Self {
        let (v4, v6) = match value.to_ascii_lowercase().as_str() {
            "both" | "fallback" => (true, true),
            "ipv4" | "v4" | "ipv4-fallback" => (true, false),
            "ipv6" | "v6" => (false, true),
            other => (is_yes(other), is_yes(other)),
        };
        Self { v4, v6 }
    }

    pub fn as_str(self) -> &'static str {
        match (self.v4, self.v6) {
            (true, true) => "yes",
            (true, false) => "ipv4",
            (false, true) => "ipv6",
            (false, false) => "no",
        }
    }

    pub fn has(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// As systemd reads it.
pub(super) fn is_yes(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}
