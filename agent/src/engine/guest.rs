//! A replacement among the members, for the time of its restore: it has no configuration of its own yet, so
//! its failover link gets the backup's address, and the others are answered as the backup's device.

use reinstate_api::{Code, Failure, Interface};
use serde::{Deserialize, Serialize};

use super::Engine;
use super::context::Context;
use super::peers::Own;
use crate::facts::Facts;
use crate::failover_address::{Change, FailoverAddress};
use crate::files::found;
use crate::link::{Address, Card};
use crate::probe::{Finding, Probe};

/// Below the agent's own folder: what has to be taken away again where the agent ends before it does.
const FILE: &str = "guest.toml";
const MAX_BYTES: u64 = 4 << 10;

/// An address that an interface was given.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Given {
    address: String,
    kernel: String,
    mac: String,
}

impl Given {
    fn change(&self, change: Change) -> Result<FailoverAddress, Failure> {
        Ok(FailoverAddress {
            change,
            address: self.address.parse()?,
            card: Card::new(&self.kernel, &self.mac)?,
        })
    }
}

/// Gives the failover link the backup's address where it has none, and answers the members.
///
/// # Errors
/// `address-in-use` where another device on the failover link has it.
pub(super) async fn enter(context: &Context, own: Own, facts: &Facts) -> Result<(), Failure> {
    let engine = &context.engine;
    if let Some(given) = wanted(engine, &own, facts)? {
        let free = free(engine, &given).await?;
        if free {
            keep(engine, &given)?;
            engine.parts().platform.failover_address(given.change(Change::Add)?).await?;
            context.note(format!(
                "the failover link {} has {} for the time of this restore",
                given.kernel, given.address
            ));
        }
    }
    engine.be_guest(own, facts)
}

/// None where the profile or the backup knows of no failover link, or where it has an address already.
fn wanted(engine: &Engine, own: &Own, facts: &Facts) -> Result<Option<Given>, Failure> {
    let name = engine.parts().profile.ha.as_ref().and_then(|ha| ha.failover.as_ref());
    let interface = name.and_then(|name| facts.hardware.interfaces.iter().find(|i| i.name == *name));
    let address = own.membership.group.member(&own.device).map(|member| member.failover.as_str());
    let (Some(Interface { kernel, mac, .. }), Some(address)) = (interface, address.filter(|a| !a.is_empty()))
    else {
        return Ok(None);
    };
    let given = Given { address: address.to_owned(), kernel: kernel.clone(), mac: mac.clone() };
    // A sandbox may have no such link.
    let Some(link) = Card::new(kernel, mac)?.look()? else { return Ok(None) };
    let usable = |address: &Address| match address.ip {
        std::net::IpAddr::V4(ip) => !ip.is_link_local(),
        std::net::IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    Ok((!link.addresses.iter().any(usable)).then_some(given))
}

/// The old appliance may be alive: two with one address would disturb each other.
async fn free(engine: &Engine, given: &Given) -> Result<bool, Failure> {
    let probe = Probe::new(Card::new(&given.kernel, &given.mac)?, vec![given.address.clone()])?;
    let found = engine.parts().platform.probe(probe).await?;
    match found.first().map(|found| &found.finding) {
        Some(Finding::Used { mac }) => Err(Failure::new(
            Code::AddressInUse,
            format!(
                "the backup's address {} on the failover link is in use by {mac}: the old appliance is still connected",
                given.address
            ),
        )
        .hint("disconnect the old appliance, then restore again")),
        Some(Finding::NoInterface) | None => Ok(false),
        _ => Ok(true),
    }
}

/// Before this appliance may become nobody: its locks are released by the failover link that it has now.
pub(super) fn keep_way_back(engine: &Engine, facts: &Facts) -> Result<(), Failure> {
    let Some(own) = engine.peers().own() else { return Ok(()) };
    let name = engine.parts().profile.ha.as_ref().and_then(|ha| ha.failover.as_ref());
    let interface = name.and_then(|name| facts.hardware.interfaces.iter().find(|i| i.name == *name));
    let address = own.membership.group.member(&own.device).map(|member| member.failover.clone());
    match (interface, address.filter(|address| !address.is_empty())) {
        (Some(Interface { kernel, mac, .. }), Some(address)) => {
            keep(engine, &Given { address, kernel: kernel.clone(), mac: mac.clone() })
        }
        _ => Ok(()),
    }
}

fn keep(engine: &Engine, given: &Given) -> Result<(), Failure> {
    let text = toml::to_string(given)
        .map_err(|e| Failure::new(Code::Internal, format!("{FILE} cannot be written: {e}")))?;
    Ok(engine.parts().store.folder().replace(FILE, text.as_bytes(), 0o600)?)
}

impl Engine {
    /// What a restore gave the failover link stays while this appliance is in no group of its own and owes a
    /// member a release, or is locked by one; then it goes.
    pub(super) async fn tend_guest(&self) {
        let tended = async {
            let folder = self.parts().store.folder();
            let Some(bytes) = found(folder.read(FILE, MAX_BYTES))? else { return Ok(()) };
            let given: Given = toml::from_str(&String::from_utf8_lossy(&bytes))
                .map_err(|e| Failure::new(Code::Io, format!("{FILE} cannot be read: {}", e.message())))?;
            if self.parts().state.read()?.job.is_some() {
                return Ok(());
            }
            // By now the address is the configuration's own.
            if self.peers().own().is_none() {
                let locked = self.peers().lock.read()?.is_some();
                let needed = locked || !self.peers().journals.all()?.is_empty();
                let change = if needed { Change::Add } else { Change::Remove };
                let changed = self.parts().platform.failover_address(given.change(change)?).await;
                // Another machine's interfaces are none of ours.
                if needed || !matches!(&changed, Err(failure) if failure.code == Code::NotFound) {
                    changed?;
                }
                if needed {
                    return Ok(());
                }
            }
            Ok(folder.remove_if_there(FILE)?)
        };
        let tended: Result<(), Failure> = tended.await;
        self.log("the address that a restore gave the failover link cannot be kept or taken away", tended);
    }
}
