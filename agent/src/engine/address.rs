//! The management addresses on their link: whether another device answers at them.

use reinstate_api::{Code, Failure, Overridden, Override, RestoreRequest};

use super::context::Context;
use crate::facts::Facts;
use crate::link::{Address, Card, Mac};
use crate::probe::{Finding, Found, Probe};

/// What was found on the management link; nothing where this machine does not have it.
type Looked = Result<Vec<Found>, Failure>;

/// Asks the link for the fixed ones of these addresses; takes some seconds.
pub(super) async fn look(context: &Context, facts: &Facts, addresses: &[String]) -> Looked {
    let parts = context.engine.parts();
    let addresses: Vec<String> = addresses.iter().filter(|address| is_fixed(address)).cloned().collect();
    let name = &parts.profile.management.interface;
    let Some(interface) = facts.hardware.interfaces.iter().find(|interface| interface.name == *name) else {
        tracing::debug!("there is no {name}: nothing is probed");
        return Ok(Vec::new());
    };
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let card = Card::new(&interface.kernel, &interface.mac)?;
    let mut looked = parts.platform.probe(Probe::new(card, addresses)?).await?;
    looked.retain(|found| {
        let here = found.finding != Finding::NoInterface;
        if !here {
            tracing::debug!("{} was not probed: there is no {}", found.address, interface.kernel);
        }
        here
    });
    Ok(looked)
}

/// Before the commit: what has to be told, also after the restart. An address in use is told and recorded where the
/// admin has said that it may be.
pub(super) fn heed(
    context: &Context,
    request: &RestoreRequest,
    facts: &Facts,
    addresses: &[String],
    looked: Looked,
) -> Result<Vec<String>, Vec<Failure>> {
    let goes_on = request.overrides.contains(&Override::AddressInUseOk);
    let override_it = |why: &Failure| {
        let (what, why) = (Override::AddressInUseOk, why.message.clone());
        context.overridden(Overridden { what, why, member: String::new() }).err()
    };
    let (mut notes, mut failures) = (Vec::new(), Vec::new());
    let mut refuse = |failure: Failure| match goes_on {
        true => failures.extend(override_it(&failure)),
        false => failures.push(failure),
    };
    match looked {
        Ok(looked) => {
            for found in looked {
                match found.finding {
                    Finding::Used { mac } => refuse(in_use(&found.address, mac)),
                    _ => notes.extend(remark(&found)),
                }
            }
        }
        Err(failure) => {
            refuse(failure.hint("look at the log, or say `address-in-use-ok` to go on without it"))
        }
    }
    notes.extend(by_dhcp(context, facts, addresses));
    notes.iter().for_each(|note| context.note(note.clone()));
    if failures.is_empty() { Ok(notes) } else { Err(failures) }
}

/// Before the question: an address in use is told with everything else, while there is time to pull the cable.
pub(super) async fn foretell(context: &Context, facts: &Facts) {
    let details = context.engine.watch().borrow().job.as_ref().and_then(|job| job.details.clone());
    let addresses = details.map(|details| details.device.management).unwrap_or_default();
    match look(context, facts, &addresses).await {
        Ok(looked) => {
            for found in looked {
                if let Finding::Used { mac } = found.finding {
                    context.note(in_use(&found.address, mac).message);
                }
            }
        }
        // It is asked again before the commit, and then it counts.
        Err(failure) => tracing::warn!("the management addresses cannot be probed: {failure}"),
    }
}

/// After the restart: other devices that answer at the addresses that are this appliance's now.
pub(super) async fn conflicts(context: &Context, target: u64) -> Vec<Failure> {
    let parts = context.engine.parts();
    let looked = async {
        let addresses = parts.store.generation(target)?.record.device.management;
        look(context, &parts.platform.facts().await?, &addresses).await
    };
    let found = looked.await.unwrap_or_else(|failure| {
        context.note(format!("whether the management address is in use cannot be told: {failure}"));
        Vec::new()
    });
    let (mut conflicts, accepted) = (Vec::new(), accepted(context));
    for found in found {
        match found.finding {
            Finding::Used { mac } if accepted => {
                context.note(format!("{}, which was accepted", shared(&found.address, mac)));
            }
            Finding::Used { mac } => {
                conflicts.push(Failure::new(Code::AddressInUse, shared(&found.address, mac)).hint(
                    "the old configuration comes back; disconnect the other device, then restore again",
                ))
            }
            _ => remark(&found).into_iter().for_each(|note| context.note(note)),
        }
    }
    conflicts
}

fn accepted(context: &Context) -> bool {
    context.job.overrides.iter().any(|overridden| overridden.what == Override::AddressInUseOk)
}

fn is_fixed(address: &str) -> bool {
    address.parse::<Address>().is_ok()
}

fn ip(address: &str) -> &str {
    address.split('/').next().unwrap_or(address)
}

fn in_use(address: &str, mac: Mac) -> Failure {
    let address = ip(address);
    let why = format!(
        "the backup's management address {address} is in use by {mac}: the old appliance is still connected"
    );
    Failure::new(Code::AddressInUse, why).hint("disconnect it, or say `address-in-use-ok`")
}

fn shared(address: &str, mac: Mac) -> String {
    format!("the management address {} is in use by {mac} as well: another device has it", ip(address))
}

fn remark(found: &Found) -> Option<String> {
    let address = ip(&found.address);
    match &found.finding {
        Finding::Proxied { mac } => Some(format!(
            "{mac} answers for the management address {address}, and for addresses that nobody has: proxy ARP or \
             proxy NDP, so a device behind it is not seen"
        )),
        Finding::NotProbed { why } => Some(format!("the management address {address} was not probed: {why}")),
        Finding::Free | Finding::Used { .. } | Finding::NoInterface => None,
    }
}

/// The server knows the old appliance's MAC address, and this one has another.
fn by_dhcp(context: &Context, facts: &Facts, addresses: &[String]) -> Option<String> {
    let name = &context.engine.parts().profile.management.interface;
    let mac = &facts.hardware.interfaces.iter().find(|interface| interface.name == *name)?.mac;
    let dhcp = addresses.is_empty() || addresses.iter().any(|address| !address.contains('/'));
    dhcp.then(|| {
        format!("management has no fixed address to probe: where DHCP gives it, reserve it for MAC {mac}")
    })
}
