//! Verbs that need the network and no appliance: what the process that has no files does.

use std::ffi::OsString;

use lexopt::ValueExt;
use reinstate_api::Failure;

use super::appliance::Reply;
use crate::failover_address::{Change, FailoverAddress};
use crate::link::Card;
use crate::probe::Probe;

/// What is done on a link.
#[derive(Debug)]
pub(super) enum Network {
    Probe(Probe),
    FailoverAddress(FailoverAddress),
}

impl Network {
    /// `INTERFACE MAC ADDRESS...`
    pub(super) fn probe(mut words: impl Iterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let card = card(&mut words)?;
        let addresses = words.map(ValueExt::string).collect::<Result<_, _>>()?;
        Ok(Self::Probe(Probe::new(card, addresses).map_err(told)?))
    }

    /// `add|remove ADDRESS/PREFIX INTERFACE MAC`
    pub(super) fn failover_address(
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<Self, lexopt::Error> {
        let change = match next(words, "add or remove")?.as_str() {
            "add" => Change::Add,
            "remove" => Change::Remove,
            _ => return Err("failover-address: add or remove".into()),
        };
        let address = next(words, "the address")?.parse().map_err(told)?;
        Ok(Self::FailoverAddress(FailoverAddress { change, address, card: card(words)? }))
    }

    pub(super) fn run(&self) -> Result<Reply, Failure> {
        match self {
            Self::Probe(probe) => probe.run().map(Reply::Found),
            Self::FailoverAddress(change) => change.run().map(|()| Reply::Nothing),
        }
    }
}

fn card(words: &mut impl Iterator<Item = OsString>) -> Result<Card, lexopt::Error> {
    let (name, mac) = (next(words, "the interface")?, next(words, "its MAC address")?);
    Card::new(&name, &mac).map_err(told)
}

fn next(words: &mut impl Iterator<Item = OsString>, what: &str) -> Result<String, lexopt::Error> {
    words.next().ok_or_else(|| lexopt::Error::from(format!("{what} is missing")))?.string()
}

fn told(failure: Failure) -> lexopt::Error {
    failure.message.into()
}
