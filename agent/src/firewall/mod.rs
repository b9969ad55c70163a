//! Does a firewall let the other members of an HA group reach this appliance's own endpoint? Its ruleset is
//! loaded by nft in namespaces of its own, and the connections are made.

mod callers;
mod ground;
mod net;
mod veth;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reinstate_api::one_line;
use serde::{Deserialize, Serialize};

pub use callers::{Caller, Firewall, callers, judge};
pub use ground::Ground;

use crate::validate::Tree;

/// A connection that another member makes to this appliance's endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Connection {
    /// The logical name of the interface on which it comes in.
    pub interface: String,
    /// The member's address.
    pub from: IpAddr,
    /// This appliance's address, of the same family.
    pub to: IpAddr,
}

/// `failover0,198.51.100.2,198.51.100.1`
impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.interface, self.from, self.to)
    }
}

impl FromStr for Connection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{}' is no INTERFACE,FROM,TO of one family", one_line(text));
        let mut words = text.split(',');
        let (Some(interface), Some(from), Some(to), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad());
        };
        let address = |word: &str| word.parse::<IpAddr>().map_err(|_| bad());
        let (from, to) = (address(from)?, address(to)?);
        if from.is_ipv4() != to.is_ipv4() || from == to {
            return Err(bad());
        }
        Ok(Self { interface: interface.to_owned(), from, to })
    }
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trial {
    /// All were tried; these were not let in.
    Closed(Vec<Connection>),
    /// Nothing was tried: the ruleset is not there to be read, or nft does not take it. One sentence.
    NotLoaded(String),
}

/// The values with which a trial is asked for.
pub fn words(tree: Tree, connections: &[Connection]) -> Vec<String> {
    std::iter::once(tree.to_string()).chain(connections.iter().map(Connection::to_string)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_understood_as_it_is_written() {
        for text in ["failover0,198.51.100.2,198.51.100.1", "management0,2001:db8::2,2001:db8::1"] {
            assert_eq!(text.parse::<Connection>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_connection_is_refused() {
        for text in [
            "",
            "failover0",
            "failover0,198.51.100.2",
            "failover0,198.51.100.2,198.51.100.1,x",
            "failover0,198.51.100.2,2001:db8::1",
            "failover0,198.51.100.2,198.51.100.2",
            "failover0,198.51.100.2/24,198.51.100.1",
        ] {
            let error = text.parse::<Connection>().unwrap_err();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
    }
}
