//! Stored configurations: listed, compared, named, deleted, and gone back to.

use std::collections::BTreeSet;

use jiff::Timestamp;
use reinstate_api::{Code, Configuration, DomainChange, Failure, JobKind, one_line};
use uuid::Uuid;

use super::flow::ended_early;
use super::{Engine, Work};
use crate::diff;
use crate::state::State;
use crate::store::Record;

/// Of those that were live once and nothing needs, so many stay.
const LAST: usize = 10;

/// Together they have at most so many bytes: 256 MiB.
const BYTES: u64 = 256 << 20;

/// So many may have names; each of them stays.
const NAMED: usize = 10;

impl Engine {
    pub fn configurations(&self) -> Result<Vec<Configuration>, Failure> {
        let state = self.state()?;
        let view = |record: Record| Configuration {
            active: record.number == state.active,
            previous: Some(record.number) == state.previous,
            number: record.number,
            name: record.name,
            created: record.created,
            origin: record.origin,
            hostname: record.device.hostname,
            management: record.device.management,
        };
        let store = &self.parts().store;
        let read = |number| match store.generation(number) {
            Ok(generation) => Some(view(generation.record)),
            // It may have gone meanwhile.
            Err(_) if !store.numbers().is_ok_and(|there| there.contains(&number)) => None,
            Err(failure) => Some(Configuration {
                active: number == state.active,
                previous: Some(number) == state.previous,
                number,
                name: String::new(),
                created: Timestamp::UNIX_EPOCH,
                origin: format!("damaged: {failure}"),
                hostname: String::new(),
                management: Vec::new(),
            }),
        };
        Ok(store.numbers()?.into_iter().filter_map(read).collect())
    }

    /// Back to a stored configuration, by its number or its name.
    pub fn activate_configuration(&self, which: &str, by: String) -> Result<Uuid, Failure> {
        let Record { number, name, .. } = self.record_of(which)?;
        let kind = if number == 0 { JobKind::Factory } else { JobKind::Rollback };
        let named = if name.is_empty() { String::new() } else { format!(" ({name})") };
        self.begin(kind, format!("generation {number}{named}"), by, Work::Return { number })
    }

    /// What going back to it would change.
    pub async fn configuration_changes(&self, which: &str) -> Result<Vec<DomainChange>, Failure> {
        let parts = self.parts();
        let (engine, which) = (self.clone(), which.to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let generation = engine.parts().store.generation(engine.record_of(&which)?.number)?;
            let index = generation.index()?;
            Ok::<_, Failure>((generation.record.domains, index))
        });
        let (domains, index) = read.await.map_err(|_| ended_early())??;
        let (present, live) = (BTreeSet::from_iter(domains), parts.platform.scan().await?);
        Ok(diff::exact(&parts.domains, &present, &live, &index))
    }

    pub fn delete_configuration(&self, which: &str, by: &str) -> Result<(), Failure> {
        let _reserved = self.reserve()?;
        let record = self.record_of(which)?;
        let (number, state) = (record.number, self.state()?);
        let why = match number {
            0 => "the factory's",
            _ if number == state.active => "the active one",
            _ if Some(number) == state.previous => "the one that `restore rollback` goes back to",
            _ if state.needed().contains(&number) => "the running job's",
            _ => {
                tracing::warn!(by, number, "a stored configuration is deleted: {}", record.origin);
                return self.parts().store.remove(number);
            }
        };
        Err(Failure::new(Code::Busy, format!("configuration {number} is {why}, and stays"))
            .hint("`show configurations` lists those that nothing needs"))
    }

    /// A name is another way to say its number, and keeps it.
    pub fn rename_configuration(&self, which: &str, to: &str, by: &str) -> Result<(), Failure> {
        let _reserved = self.reserve()?;
        check_name(to)?;
        let (records, number) = (self.records()?, self.record_of(which)?.number);
        let others = || records.iter().filter(|record| record.number != number);
        if let Some(other) = others().find(|record| record.name == to) {
            let why = format!("configuration {} has the name '{to}' already", other.number);
            return Err(Failure::new(Code::BadRequest, why).hint("take another name"));
        }
        let named = others().filter(|record| !record.name.is_empty()).count();
        if named >= NAMED {
            let why = format!("{named} configurations have names, of at most {NAMED}");
            return Err(Failure::new(Code::BadRequest, why).hint("delete one of them first"));
        }
        tracing::info!(by, number, "a stored configuration is named {to}");
        self.parts().store.name(number, to)
    }

    /// What the record needs stays in the store, what has a name, and the last ones that were live.
    pub(super) fn prune(&self) -> Result<(), Failure> {
        let parts = self.parts();
        let state = parts.state.read()?;
        let kept = self.kept(&state)?;
        let numbers = parts.store.numbers()?;
        numbers
            .iter()
            .filter(|number| !kept.contains(number))
            .try_for_each(|number| parts.store.remove(*number))
    }

    /// The same beside everything else.
    pub(super) async fn prune_beside(&self) {
        let engine = self.clone();
        let pruned = tokio::task::spawn_blocking(move || engine.prune());
        let pruned = pruned.await.unwrap_or_else(|_| Err(ended_early()));
        self.log("old generations cannot be removed", pruned);
    }

    fn kept(&self, state: &State) -> Result<BTreeSet<u64>, Failure> {
        let store = &self.parts().store;
        let there = store.numbers()?;
        let mut kept: BTreeSet<u64> = state.needed().into_iter().collect();
        // One that cannot be read is in nobody's way, and no use.
        let named =
            |number: &&u64| store.generation(**number).is_ok_and(|known| !known.record.name.is_empty());
        kept.extend(there.iter().filter(named));
        let (mut count, mut bytes) = (0, 0);
        for number in state.lived().into_iter().filter(|number| there.contains(number)) {
            if kept.contains(&number) {
                continue;
            }
            let Ok(index) = store.generation(number).and_then(|generation| generation.index()) else {
                continue;
            };
            (count, bytes) = (count + 1, bytes + index.totals().1);
            if count > LAST || bytes > BYTES {
                break;
            }
            kept.insert(number);
        }
        Ok(kept)
    }

    /// Of those that can be read.
    fn records(&self) -> Result<Vec<Record>, Failure> {
        let store = &self.parts().store;
        Ok(store
            .numbers()?
            .into_iter()
            .filter_map(|number| Some(store.generation(number).ok()?.record))
            .collect())
    }

    fn record_of(&self, which: &str) -> Result<Record, Failure> {
        let found = match which.parse() {
            Ok(number) => self.parts().store.generation(number).map(|generation| generation.record).ok(),
            Err(_) => self.records()?.into_iter().find(|record| record.name == which && !which.is_empty()),
        };
        found.ok_or_else(|| {
            Failure::new(Code::NotFound, format!("there is no configuration '{}'", one_line(which)))
                .hint("`show configurations` lists them")
        })
    }
}

/// Nobody takes it for a number.
fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 64 && name.chars().all(plain) {
        true => Ok(()),
        false => Err(Failure::new(
            Code::BadRequest,
            format!(
                "'{}' is no name: 1 to 64 letters, digits, '.', '_' and '-', a letter first",
                one_line(name)
            ),
        )),
    }
}
