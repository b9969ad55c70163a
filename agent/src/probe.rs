//! Does another device answer at an address? A short process asks on the link itself, with the network and without
//! files.

mod arp;
mod control;
mod ethernet;
mod exchange;
mod neighbour;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use reinstate_api::{Code, Failure};
use serde::{Deserialize, Serialize};

use crate::link::{self, Address, Card, Link, Mac};
use exchange::Holders;

/// How many addresses one probe may ask for.
const MAX_ADDRESSES: usize = 64;

/// A link that is coming up has so long.
const CARRIER: Duration = Duration::from_secs(3);

/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked: for which addresses, on which link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub card: Card,
    /// `192.0.2.10/24`, `2001:db8::10/64`; what is none of these is not asked for.
    pub addresses: Vec<String>,
}

impl Probe {
    /// # Errors
    /// `bad-request` for more than 64 addresses.
    pub fn new(card: Card, addresses: Vec<String>) -> Result<Self, Failure> {
        match addresses.len() <= MAX_ADDRESSES {
            true => Ok(Self { card, addresses }),
            false => Err(Failure::new(
                Code::BadRequest,
                format!("{} addresses are to be probed, at most {MAX_ADDRESSES} are", addresses.len()),
            )),
        }
    }
}

impl Probe {
    /// The words after the verb: `eth0 52:54:00:12:34:56 192.0.2.10/24`.
    pub fn words(&self) -> Vec<String> {
        let card = [self.card.name().to_owned(), self.card.mac().to_string()];
        card.into_iter().chain(self.addresses.iter().cloned()).collect()
    }
}

/// What the link says of one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// As it was asked for.
    pub address: String,
    pub finding: Finding,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Finding {
    /// Nobody answers.
    Free,
    /// This device answers, and is none of our own.
    Used {
        mac: Mac,
    },
    /// This device answers, and does so for addresses that nobody has as well.
    Proxied {
        mac: Mac,
    },
    NotProbed {
        why: String,
    },
    /// This machine does not have the interface: a sandbox.
    NoInterface,
}

impl Probe {
    /// Asks, for three seconds; for six where somebody answers.
    ///
    /// # Errors
    /// `io` where the interfaces cannot be listed or the socket fails. What keeps an address from being asked
    /// for is no error.
    pub fn run(&self) -> Result<Vec<Found>, Failure> {
        let every = |finding: Finding| {
            let found = |address: &String| Found { address: address.clone(), finding: finding.clone() };
            self.addresses.iter().map(found).collect()
        };
        let not_probed = |why: String| Ok(every(Finding::NotProbed { why }));
        let name = self.card.name();
        let Some(link) = self.wait_for_carrier()? else { return Ok(every(Finding::NoInterface)) };
        if !link.is_ethernet() {
            return not_probed(format!("{name} is not Ethernet"));
        }
        if !link.is_connected() {
            return not_probed(format!("{name} is not connected"));
        }
        match self.ask(&link) {
            Ok(found) => self.trusted(found),
            Err(Errno::EPERM | Errno::EACCES) => not_probed("raw sockets are not permitted".into()),
            Err(Errno::ENETDOWN | Errno::ENXIO | Errno::ENODEV) => not_probed(format!("{name} went down")),
            Err(error) => Err(Failure::io(format_args!("cannot probe on {name}"), &error.into())),
        }
    }

    /// Where the link is lost meanwhile, that nobody has answered says nothing.
    fn trusted(&self, mut found: Vec<Found>) -> Result<Vec<Found>, Failure> {
        if !self.card.look()?.is_some_and(|link| link.is_connected()) {
            let why = format!("{} is not connected", self.card.name());
            for free in found.iter_mut().filter(|found| found.finding == Finding::Free) {
                free.finding = Finding::NotProbed { why: why.clone() };
            }
        }
        Ok(found)
    }

    fn wait_for_carrier(&self) -> Result<Option<Link>, Failure> {
        let until = Instant::now() + CARRIER;
        loop {
            match self.card.look()? {
                Some(link) if !link.is_connected() && Instant::now() < until => std::thread::sleep(PAUSE),
                seen => return Ok(seen),
            }
        }
    }

    fn ask(&self, link: &Link) -> nix::Result<Vec<Found>> {
        let wanted: Vec<Result<Address, String>> =
            self.addresses.iter().map(|text| self.askable(link, text)).collect();
        let targets: Vec<Address> = wanted.iter().flatten().copied().collect();
        let ips: Vec<IpAddr> = targets.iter().map(|target| target.ip).collect();
        let asked = self.foreign(link, &ips)?;
        let known: Vec<IpAddr> = ips.iter().copied().chain(link.addresses.iter().map(|own| own.ip)).collect();
        let answered = targets.iter().filter(|target| asked.contains_key(&target.ip));
        let controls: Vec<(IpAddr, Vec<IpAddr>)> =
            answered.map(|target| (target.ip, control::of(target, &known))).collect();
        let all: Vec<IpAddr> = controls.iter().flat_map(|(_, controls)| controls.clone()).collect();
        let proxies = self.foreign(link, &all)?;
        let finding = |wanted: &Result<Address, String>| match wanted {
            Err(why) => Finding::NotProbed { why: why.clone() },
            Ok(Address { ip, .. }) => {
                let controls = controls.iter().find(|(of, _)| of == ip).map(|(_, controls)| &controls[..]);
                judge(asked.get(ip), controls.unwrap_or_default(), &proxies)
            }
        };
        let findings = self.addresses.iter().zip(&wanted);
        Ok(findings.map(|(text, wanted)| Found { address: text.clone(), finding: finding(wanted) }).collect())
    }

    /// The address, or why it cannot be asked for.
    fn askable(&self, link: &Link, text: &str) -> Result<Address, String> {
        let address: Address = text.parse().map_err(|_| "it is no fixed address".to_owned())?;
        // Answers come to a group that only a link with IPv6 listens to.
        let listens = address.ip.is_ipv4() || link.addresses.iter().any(|own| own.ip.is_ipv6());
        match listens {
            true => Ok(address),
            false => Err(format!("IPv6 is not enabled on {}", self.card.name())),
        }
    }

    /// Who answers and is none of us: with two interfaces on one link, we may.
    fn foreign(&self, link: &Link, targets: &[IpAddr]) -> nix::Result<Holders> {
        if targets.is_empty() {
            return Ok(Holders::new());
        }
        let mut holders = exchange::ask(link, self.card.mac(), targets)?;
        let own = link::own().map_err(|_| Errno::EIO)?;
        holders.retain(|_, macs| {
            macs.retain(|mac| !own.contains(mac));
            !macs.is_empty()
        });
        Ok(holders)
    }
}

/// A proxy answers for every control; whoever does not has the address himself.
fn judge(macs: Option<&BTreeSet<Mac>>, controls: &[IpAddr], proxies: &Holders) -> Finding {
    let is_proxy = |mac: &Mac| {
        !controls.is_empty()
            && controls.iter().all(|control| proxies.get(control).is_some_and(|macs| macs.contains(mac)))
    };
    let Some(macs) = macs else { return Finding::Free };
    match (macs.iter().find(|mac| !is_proxy(mac)), macs.first()) {
        (Some(mac), _) => Finding::Used { mac: *mac },
        (None, Some(mac)) => Finding::Proxied { mac: *mac },
        (None, None) => Finding::Free,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const PROXY: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn judged(macs: &[Mac], controls: &[(&str, &[Mac])]) -> Finding {
        let ips: Vec<IpAddr> = controls.iter().map(|(ip, _)| ip.parse().unwrap()).collect();
        let proxies = ips.iter().zip(controls).map(|(ip, (_, macs))| (*ip, macs.iter().copied().collect()));
        judge(Some(&macs.iter().copied().collect()), &ips, &proxies.collect())
    }

    #[test]
    fn the_old_appliance_is_seen_behind_a_proxy_that_answers_too() {
        let controls: [(&str, &[Mac]); 2] = [("192.0.2.77", &[PROXY]), ("192.0.2.99", &[PROXY])];
        assert_eq!(judged(&[PROXY], &controls), Finding::Proxied { mac: PROXY });
        assert_eq!(judged(&[OLD, PROXY], &controls), Finding::Used { mac: OLD });
        assert_eq!(judged(&[OLD], &controls), Finding::Used { mac: OLD });
    }

    #[test]
    fn a_device_with_one_more_address_is_no_proxy() {
        assert_eq!(
            judged(&[OLD], &[("192.0.2.77", &[OLD]), ("192.0.2.99", &[])]),
            Finding::Used { mac: OLD }
        );
        assert_eq!(judged(&[OLD], &[]), Finding::Used { mac: OLD });
    }
}
