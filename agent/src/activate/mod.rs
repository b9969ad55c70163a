//! The only writer of the live configuration.
//!
//! It knows no policy: it makes each domain equal to its generation, file by file, and touches no
//! path that no domain owns. Doing it again does the same thing again, so a power cut is repaired by
//! the next boot.

mod accept;
mod apply;
mod aside;

pub use accept::{MAX_WHOLE, accept};
pub use aside::ASIDE;

use reinstate_api::{Code, Failure};

use crate::domain::Domains;
use crate::files::Folder;
use crate::job::{Job, MAX_BOOTS, Stage, Switch};
use crate::secrets;
use crate::state::{State, StateFile};
use crate::store::{Names, Store};

use apply::Unapplied;

/// Present, below the root, while the live configuration may be neither the one nor the other, however the
/// activation ended: what network and SSH look at before they start.
pub const BROKEN: &str = "run/reinstate/broken";

/// Present, below the root, at a boot that has made a pending generation live.
pub const ACTIVATED: &str = "run/reinstate/activated";

const NOT_WHOLE: &str = "an activation was begun and has not ended";

/// What activation works with.
pub struct Activation<'a> {
    pub root: &'a Folder,
    pub domains: &'a Domains,
    pub store: &'a Store,
    pub state: &'a StateFile,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing was pending.
    Nothing,
    /// This generation is the live configuration now.
    Activated(u64),
}

impl Activation<'_> {
    /// Makes the pending generation live, or the one before it where that cannot be made whole.
    ///
    /// # Errors
    /// `configuration-broken` where neither could be; the live configuration is then neither.
    pub fn run(&self) -> Result<Done, Failure> {
        loop {
            let state = self.state.read()?;
            match state.job.as_ref().map(|job| &job.stage) {
                None | Some(Stage::Preparing { .. }) => {
                    self.unmark()?;
                    self.unseal(state.active)?;
                    return Ok(Done::Nothing);
                }
                Some(Stage::Activated(switch)) if switch.back.is_empty() && switch.boots >= MAX_BOOTS => {
                    let why = format!(
                        "the agent has not decided on generation {} in {MAX_BOOTS} boots",
                        switch.target
                    );
                    self.go_back(Failure::new(Code::Unhealthy, why))?;
                }
                Some(Stage::Activated(switch)) => {
                    self.unmark()?;
                    self.next(Job::activating)?;
                    self.unseal(switch.target)?;
                    return Ok(Done::Activated(switch.target));
                }
                Some(Stage::Pending(switch)) if switch.boots >= MAX_BOOTS => {
                    let why = format!("generation {} was not whole after {MAX_BOOTS} boots", switch.target);
                    self.go_back(Failure::new(Code::ActivationFailed, why))?;
                }
                Some(Stage::Pending(switch)) => {
                    let Switch { target, from, .. } = *switch;
                    let (forward, cut_short) = (switch.back.is_empty(), switch.boots > 0);
                    if cut_short {
                        tracing::warn!(
                            "the activation of generation {target} was cut short: it is done again"
                        );
                    }
                    // Until one was begun, what is live is whole, whatever becomes of the record.
                    if cut_short || !forward {
                        self.mark(NOT_WHOLE)?;
                    }
                    // What is a mixture by now was looked at by the activation that began it.
                    let kept = match forward && !cut_short {
                        true => self.keep_aside(from, target),
                        false => Ok(Vec::new()),
                    };
                    let (notes, kept) = match kept {
                        Ok(notes) => (notes, Ok(())),
                        Err(failure) => (Vec::new(), Err(Unapplied::Untouched(failure))),
                    };
                    self.next(|job| job.noting(notes).activating())?;
                    match kept.and_then(|()| self.apply(target)) {
                        Ok(()) => {
                            self.next(Job::activated)?;
                            return Ok(Done::Activated(target));
                        }
                        // What was live still is: the way back has nothing to copy. An activation that was cut short
                        // before may have left a mixture.
                        Err(Unapplied::Untouched(failure)) if forward && !cut_short => {
                            self.go_back(failure)?;
                            match self.tidy(from).and_then(|()| self.unseal(from)) {
                                Ok(()) => {
                                    self.unmark()?;
                                    self.next(Job::activated)?;
                                    return Ok(Done::Activated(from));
                                }
                                Err(failure) => tracing::error!("generation {from}: {failure}"),
                            }
                        }
                        Err(failed) => self.go_back(failed.failure())?,
                    }
                }
                // Each boot tries once more what the last one could not.
                Some(Stage::Broken(switch)) => {
                    let target = switch.target;
                    if let Err(failed) = self.apply(target) {
                        tracing::error!("generation {target}: {}", failed.failure());
                        return Err(self.broken(&switch.back));
                    }
                    self.next(Job::activated)?;
                    return Ok(Done::Activated(target));
                }
            }
        }
    }

    fn apply(&self, number: u64) -> Result<(), Unapplied> {
        let generation = self.store.generation(number).map_err(Unapplied::Untouched)?;
        self.mark(NOT_WHOLE).map_err(Unapplied::Untouched)?;
        apply::apply(self.root, self.domains, &generation)?;
        self.unmark().map_err(Unapplied::Touched)
    }

    /// A sentence for each path that was changed by hand since the snapshot.
    fn keep_aside(&self, snapshot: u64, target: u64) -> Result<Vec<String>, Failure> {
        let known = self.store.generation(snapshot).and_then(|snapshot| Ok((snapshot.index()?, snapshot)));
        let notes = match known {
            Ok((index, snapshot)) => aside::keep(self.root, self.domains, &snapshot, &index, target)?,
            // A damaged way back is no reason not to go forward.
            Err(failure) => {
                vec![format!("what was changed by hand since the snapshot cannot be told: {failure}")]
            }
        };
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        Ok(notes)
    }

    fn mark(&self, why: &str) -> Result<(), Failure> {
        self.root.make_folders("run/reinstate", 0o755)?;
        Ok(self.root.replace(BROKEN, why.as_bytes(), 0o644)?)
    }

    fn unmark(&self) -> Result<(), Failure> {
        Ok(self.root.remove_if_there(BROKEN)?)
    }

    /// Takes away what a broken-off activation has put beside the live configuration.
    fn tidy(&self, number: u64) -> Result<(), Failure> {
        apply::tidy(self.root, self.domains, &self.store.generation(number)?)
    }

    /// At a boot without a change: the memory that held the keys is empty again.
    fn unseal(&self, number: u64) -> Result<(), Failure> {
        if !self.store.numbers()?.contains(&number) {
            return Ok(()); // Before the factory generation is made.
        }
        let generation = self.store.generation(number)?;
        let mut index = generation.index()?;
        for entries in index.domains.values_mut() {
            let mut linked = Ok(());
            entries.retain(|_, entry| match secrets::is_linked(self.root, entry) {
                Ok(is) => is || entry.is_folder(),
                Err(failure) => {
                    linked = Err(failure);
                    false
                }
            });
            linked?;
        }
        secrets::unseal(self.root, self.domains, &generation, &index, &Names::read(self.root)?)
    }

    fn next(&self, transition: impl FnOnce(Job) -> Result<Job, Failure>) -> Result<(), Failure> {
        self.state.update(|state: &mut State| {
            state.job = Some(transition(state.running()?)?);
            Ok(())
        })
    }

    fn go_back(&self, failure: Failure) -> Result<(), Failure> {
        crate::log::error(&failure);
        self.next(|job| job.go_back(vec![failure]))
    }

    fn broken(&self, failures: &[Failure]) -> Failure {
        let why: Vec<_> = failures.iter().map(|failure| failure.message.as_str()).collect();
        let failure = Failure::new(
            Code::ConfigurationBroken,
            format!("neither the new nor the previous configuration could be made whole: {}", why.join("; ")),
        )
        .hint("network and SSH stay down; use the console");
        if let Err(error) = self.mark(&failure.message) {
            tracing::error!("{error}");
        }
        failure
    }
}
