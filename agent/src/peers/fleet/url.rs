//! Where a lock service is: `https://HOST[:PORT][/BASE]`, and what is refused as one.

use std::net::IpAddr;

use hyper::Uri;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::https::Server;

const HTTPS: u16 = 443;
const HTTP: u16 = 80;

/// A URL that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// In plain only to this machine itself: a lock that a stranger grants is none.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    /// What the protocol's own paths are below, without a slash at its end.
    pub base: String,
}

impl Url {
    /// The error is the rest of a sentence: what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|e| format!("is no URL: {e}"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("does not begin with https://".into()),
        };
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("has a user in it, and the protocol knows none".into());
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("has more than a host, a port and a path".into());
        }
        let port = match authority.port_u16() {
            Some(port) if port != 0 => port,
            None if authority.as_str() == authority.host() => {
                if tls {
                    HTTPS
                } else {
                    HTTP
                }
            }
            _ => return Err("has a port that is none of 1 to 65535".into()),
        };
        let bracketed = authority.host().strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(authority.host()).to_owned();
        ServerName::try_from(host.as_str()).map_err(|_| "has a host that is no name and no address")?;
        let itself = host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        if !tls && !itself {
            return Err("is not https, which any host but a loopback address has to be".into());
        }
        Ok(Self { tls, host, port, base: uri.path().trim_end_matches('/').to_owned() })
    }

    pub fn server(&self) -> Server<'_> {
        Server { what: "the lock service", host: &self.host, port: self.port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_with_its_port_and_its_base() {
        for (text, tls, host, port, base) in [
            ("https://locks.example", true, "locks.example", 443, ""),
            ("https://locks.example:8443/", true, "locks.example", 8443, ""),
            ("HTTPS://192.0.2.7/fleet/lock/", true, "192.0.2.7", 443, "/fleet/lock"),
            ("https://[2001:db8::7]:3333/base", true, "2001:db8::7", 3333, "/base"),
            ("http://127.0.0.1:3333", false, "127.0.0.1", 3333, ""),
            ("http://[::1]", false, "::1", 80, ""),
        ] {
            let url = Url { tls, host: host.into(), port, base: base.into() };
            assert_eq!(Url::parse(text), Ok(url), "{text}");
        }
    }

    #[test]
    fn a_url_that_could_mean_something_else_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "is no URL"),
            ("locks.example", "does not begin with https://"),
            ("/v1", "does not begin with https://"),
            ("ftp://locks.example", "does not begin with https://"),
            ("https://", "is no URL"),
            ("https://a b.example", "is no URL"),
            ("https://admin:secret@locks.example", "has a user in it"),
            ("https://locks.example/?group=a", "more than a host"),
            ("https://locks.example/#a", "more than a host"),
            ("https://locks.example:0", "none of 1 to 65535"),
            ("https://locks.example:", "none of 1 to 65535"),
            ("https://locks.example:65536", "none of 1 to 65535"),
            ("https://-locks_.-example", "no name and no address"),
            ("http://locks.example", "is not https"),
            ("http://localhost:3333", "is not https"),
            ("http://192.0.2.7", "is not https"),
        ] {
            let refused = Url::parse(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
