//! An address that an interface has for the time of a restore only: on the failover link of a replacement that has
//! no configuration yet.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use reinstate_api::{Code, Failure, one_line};

use crate::link::{Address, Card};
use crate::program;

/// The kernel's own detection of a duplicate takes one to two seconds.
const DETECTION: Duration = Duration::from_secs(5);

/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(100);

/// What is to be done with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Add,
    Remove,
}

/// An address that is to come to an interface, or to go from it. Neither is in any configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverAddress {
    pub change: Change,
    pub address: Address,
    pub card: Card,
}

impl FailoverAddress {
    /// The words after the verb: `add 192.0.2.1/30 eth1 52:54:00:12:34:56`.
    pub fn words(&self) -> Vec<String> {
        let change = match self.change {
            Change::Add => "add",
            Change::Remove => "remove",
        };
        let Self { address, card, .. } = self;
        vec![change.to_owned(), address.to_string(), card.name().to_owned(), card.mac().to_string()]
    }

    /// What is so already is no error. An interface that gets an address is brought up, and stays so.
    ///
    /// # Errors
    /// `not-found` where this machine does not have the interface, `address-in-use` where another device on the
    /// link has the IPv6 address, `io` where the kernel refuses it.
    pub fn run(&self) -> Result<(), Failure> {
        let (address, name) = (self.address.to_string(), self.card.name());
        match (self.change, self.has_it()?) {
            (Change::Add, false) => {
                ip(&["address", "add", &address, "dev", name])?;
                ip(&["link", "set", "dev", name, "up"])?;
                self.detect()
            }
            (Change::Add, true) => ip(&["link", "set", "dev", name, "up"]),
            (Change::Remove, true) => ip(&["address", "del", &address, "dev", name]),
            (Change::Remove, false) => Ok(()),
        }
    }

    fn has_it(&self) -> Result<bool, Failure> {
        let Some(link) = self.card.look()? else {
            let (name, mac) = (self.card.name(), self.card.mac());
            return Err(Failure::new(
                Code::NotFound,
                format!("there is no interface {name} with MAC {mac} here"),
            )
            .hint("`show version` lists the interfaces"));
        };
        Ok(link.addresses.contains(&self.address))
    }

    /// Until the kernel has found no other device with it, an IPv6 address cannot be used.
    fn detect(&self) -> Result<(), Failure> {
        let IpAddr::V6(v6) = self.address.ip else { return Ok(()) };
        let (name, until) = (self.card.name(), Instant::now() + DETECTION);
        let listed = |flag: &str| {
            let words = ["-6", "-o", "address", "show", "dev", name, "to", &v6.to_string(), flag];
            Ok::<_, Failure>(!said(&words)?.is_empty())
        };
        while listed("tentative")? {
            if listed("dadfailed")? {
                ip(&["address", "del", &self.address.to_string(), "dev", name])?;
                let why = format!("the failover address {v6} is in use by another device on {name}");
                return Err(Failure::new(Code::AddressInUse, why)
                    .hint("disconnect the other device, or correct the group's failover addresses"));
            }
            // Without a carrier there is no detection, and nobody to detect.
            if Instant::now() > until {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

fn ip(words: &[&str]) -> Result<(), Failure> {
    said(words).map(drop)
}

fn said(words: &[&str]) -> Result<String, Failure> {
    let output = program::run("ip", words)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => {
            let why = one_line(String::from_utf8_lossy(&output.stderr).trim());
            Err(Failure::new(Code::Io, format!("`ip {}`: {why}", words.join(" "))))
        }
    }
}
