//! The job as data, and every transition it can make: pure, without I/O.
//!
//! ```text
//! Preparing ──commit──► Pending ──activated──► Activated ──finish──► ended
//!     │                 │     ▲                    │
//!     fail              │     └──── go_back ───────┘ (unhealthy)
//!     ▼                 └─ go_back ─► Pending (back) ─► … ─► Broken
//!   ended                                                     Broken ──activated──► Activated (back)
//! ```

use jiff::Timestamp;
use reinstate_api::{Code, Failure, HistoryEntry, JobKind, Outcome, Overridden, Phase};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::peers::Committing;

/// How often activation of one generation is begun before the other one is tried.
pub const MAX_BOOTS: u32 = 3;

/// How often the agent asks for a reboot that does not come.
pub const MAX_REBOOTS: u32 = 3;

/// How many notes are kept on record.
const NOTES: usize = 200;

/// A job on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: Uuid,
    pub kind: JobKind,
    pub source: String,
    pub by: String,
    pub started: Timestamp,
    /// What has to be told when it ends, for instance each VPN certificate that came off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What an admin went on against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Overridden>,
    /// Servers whose accepted keys are forgotten once the job has succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<(String, u16)>,
    /// An admin has to confirm it; none once one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    pub stage: Stage,
}

/// What was activated stays only where an admin says so in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    pub minutes: u32,
    /// Seconds after the kernel's start: a clock that is set changes nothing. Each boot begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
}

/// How far a job is, with what is known there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "kebab-case")]
pub enum Stage {
    /// Nothing was changed yet; a crash here means that nothing happened.
    Preparing { phase: Phase },
    /// `target` is to be made the live configuration.
    Pending(Switch),
    /// `target` is the live configuration; whether it stays is not decided.
    Activated(Switch),
    /// Neither generation could be made whole; each boot tries the way back once more.
    Broken(Switch),
}

/// From one generation to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    pub target: u64,
    /// What was live before the job: where a way back leads.
    pub from: u64,
    /// Activations begun.
    #[serde(default)]
    pub boots: u32,
    /// Reboots asked for.
    #[serde(default)]
    pub reboots: u32,
    /// Why the job goes back; empty while it goes forward.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub back: Vec<Failure>,
}

/// A transition that the job's stage does not have.
fn illegal(job: &Job, transition: &str) -> Failure {
    Failure::new(
        Code::Internal,
        format!("{} {} cannot {transition} in phase {}", job.kind, job.id, job.phase()),
    )
}

type Next = Result<Job, Failure>;

impl Job {
    pub fn new(id: Uuid, kind: JobKind, source: String, by: String, now: Timestamp) -> Self {
        let stage = Stage::Preparing { phase: Phase::Receiving };
        let (notes, overrides, forget) = (Vec::new(), Vec::new(), Vec::new());
        Self { id, kind, source, by, started: now, notes, overrides, confirmation: None, forget, stage }
    }

    /// It has to be confirmed, so many minutes after it was activated at the latest.
    pub fn confirm_within(self, minutes: Option<u32>) -> Self {
        Self { confirmation: minutes.map(|minutes| Confirmation { minutes, deadline: None }), ..self }
    }

    pub fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Preparing { phase } => *phase,
            Stage::Pending(Switch { boots: 0, reboots: 0, back, .. }) if back.is_empty() => Phase::Committed,
            Stage::Pending(Switch { boots: 0, .. }) => Phase::Rebooting,
            Stage::Pending(_) | Stage::Broken(_) => Phase::Activating,
            Stage::Activated(_) => Phase::Finishing,
        }
    }

    /// Nothing was changed yet.
    pub fn is_preparing(&self) -> bool {
        matches!(self.stage, Stage::Preparing { .. })
    }

    /// To a later phase of the preparation.
    pub fn advance(mut self, to: Phase) -> Next {
        match self.stage {
            Stage::Preparing { phase } if phase < to && to < Phase::Committed => {
                self.stage = Stage::Preparing { phase: to };
                Ok(self)
            }
            _ => Err(illegal(&self, &format!("advance to {to}"))),
        }
    }

    /// An admin goes on against what was found.
    pub fn overridden(mut self, overridden: Overridden) -> Next {
        match self.stage {
            Stage::Preparing { .. } => {
                self.overrides.push(overridden);
                Ok(self)
            }
            _ => Err(illegal(&self, "be overridden")),
        }
    }

    /// Of these servers no key is accepted any more, where the job succeeds.
    pub fn forgetting(mut self, servers: Vec<(String, u16)>) -> Next {
        match self.stage {
            Stage::Preparing { .. } => {
                self.forget = servers;
                Ok(self)
            }
            _ => Err(illegal(&self, "forget keys")),
        }
    }

    /// The point of no return: of a restore whose locks are all there.
    pub fn commit(mut self, target: u64, from: u64, notes: Vec<String>, _: &Committing) -> Next {
        match self.stage {
            Stage::Preparing { phase: Phase::Committing } => {
                self.stage = Stage::Pending(Switch { target, from, boots: 0, reboots: 0, back: Vec::new() });
                self.notes = shortened(notes);
                Ok(self)
            }
            _ => Err(illegal(&self, "commit")),
        }
    }

    /// A reboot is about to be asked for.
    pub fn rebooting(mut self) -> Next {
        match &mut self.stage {
            Stage::Pending(switch) => {
                switch.reboots += 1;
                Ok(self)
            }
            _ => Err(illegal(&self, "reboot")),
        }
    }

    /// What has to be told when it ends.
    pub fn noting(mut self, notes: Vec<String>) -> Self {
        self.notes = shortened([notes, self.notes].concat());
        self
    }

    /// An activation begins.
    pub fn activating(mut self) -> Next {
        match &mut self.stage {
            Stage::Pending(switch) | Stage::Activated(switch) => {
                switch.boots += 1;
                if let Some(confirmation) = &mut self.confirmation {
                    confirmation.deadline = None;
                }
                Ok(self)
            }
            _ => Err(illegal(&self, "activate")),
        }
    }

    pub fn activated(mut self) -> Next {
        match self.stage {
            Stage::Pending(switch) | Stage::Broken(switch) => {
                self.stage = Stage::Activated(Switch { boots: 0, reboots: 0, ..switch });
                Ok(self)
            }
            _ => Err(illegal(&self, "be activated")),
        }
    }

    /// It waits for an admin from now on; where it does so already, nothing is changed. `now` is in seconds after the
    /// kernel's start.
    pub fn awaiting(mut self, now: u64) -> Next {
        match (&self.stage, &mut self.confirmation) {
            (Stage::Activated(switch), Some(confirmation)) if switch.back.is_empty() => {
                confirmation.deadline.get_or_insert(now + 60 * u64::from(confirmation.minutes));
                Ok(self)
            }
            _ => Err(illegal(&self, "wait for a confirmation")),
        }
    }

    /// An admin has confirmed it.
    pub fn confirmed(mut self, by: &str) -> Next {
        match (&self.stage, self.confirmation.take()) {
            (Stage::Activated(switch), Some(_)) if switch.back.is_empty() => {
                self.notes.push(format!("confirmed by {by}"));
                Ok(self)
            }
            _ => Err(Failure::new(Code::NotFound, "nothing waits for a confirmation")
                .hint("`show restore` tells how the last one ended")),
        }
    }

    /// The target could not be made whole, or is not healthy: back to where the job came from. A
    /// job that already goes back has nowhere else to go: it is broken.
    pub fn go_back(mut self, failures: Vec<Failure>) -> Next {
        self.stage = match self.stage {
            Stage::Pending(switch) | Stage::Activated(switch) if switch.back.is_empty() => {
                let Switch { target, from, .. } = switch;
                Stage::Pending(Switch { target: from, from: target, boots: 0, reboots: 0, back: failures })
            }
            Stage::Pending(Switch { target, from, boots, reboots, back }) => {
                Stage::Broken(Switch { target, from, boots, reboots, back: [back, failures].concat() })
            }
            _ => return Err(illegal(&self, "go back")),
        };
        self.confirmation = None;
        Ok(self)
    }

    /// The end of a job that has not changed anything.
    pub fn fail(self, failures: Vec<Failure>, now: Timestamp, active: u64) -> Result<HistoryEntry, Failure> {
        match self.stage {
            Stage::Preparing { .. } => Ok(self.ended(Outcome::Failed { failures }, now, active, active)),
            _ => Err(illegal(&self, "fail")),
        }
    }

    /// The end of a check that found nothing wrong.
    pub fn checked(self, now: Timestamp, active: u64) -> Result<HistoryEntry, Failure> {
        match self.stage {
            Stage::Preparing { .. } if self.kind == JobKind::Check => {
                Ok(self.ended(Outcome::Succeeded, now, active, active))
            }
            _ => Err(illegal(&self, "end as a check")),
        }
    }

    /// The end of a job whose target is live and stays.
    pub fn finish(self, now: Timestamp) -> Result<(HistoryEntry, Switch), Failure> {
        let Stage::Activated(switch) = &self.stage else {
            return Err(illegal(&self, "finish"));
        };
        if self.confirmation.is_some() {
            return Err(illegal(&self, "finish unconfirmed"));
        }
        let switch = switch.clone();
        let entry = match switch.back.is_empty() {
            true => self.ended(Outcome::Succeeded, now, switch.from, switch.target),
            false => {
                let failures = switch.back.clone();
                self.ended(Outcome::RolledBack { failures }, now, switch.target, switch.target)
            }
        };
        Ok((entry, switch))
    }

    fn ended(self, outcome: Outcome, now: Timestamp, from: u64, to: u64) -> HistoryEntry {
        let phase = self.phase();
        let Self { id, kind, source, by, started, notes, overrides, .. } = self;
        HistoryEntry { id, kind, source, by, started, ended: now, phase, from, to, notes, overrides, outcome }
    }
}

/// The record has to stay readable, whatever a backup holds.
fn shortened(mut notes: Vec<String>) -> Vec<String> {
    let more = notes.len().saturating_sub(NOTES);
    if more > 0 {
        notes.truncate(NOTES);
        notes.push(format!("and {more} more"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job::new(Uuid::nil(), JobKind::Restore, "backup a.tar".into(), "admin".into(), Timestamp::UNIX_EPOCH)
    }

    fn committed() -> Job {
        job().advance(Phase::Committing).unwrap().commit(2, 1, vec![], &Committing::for_tests()).unwrap()
    }

    fn why(code: Code) -> Vec<Failure> {
        vec![Failure::new(code, "because")]
    }

    #[test]
    fn a_restore_that_goes_well_ends_on_its_target() {
        let done = committed().rebooting().unwrap().activating().unwrap().activated().unwrap();
        let (entry, switch) = done.finish(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((entry.from, entry.to, entry.outcome), (1, 2, Outcome::Succeeded));
        assert!(switch.back.is_empty());
    }

    #[test]
    fn an_unhealthy_target_leads_back_once_and_then_nowhere() {
        let back = committed().activated().unwrap().go_back(why(Code::Unhealthy)).unwrap();
        assert!(matches!(&back.stage, Stage::Pending(Switch { target: 1, from: 2, .. })));
        let (entry, _) = back.clone().activated().unwrap().finish(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(entry.outcome, Outcome::RolledBack { failures: why(Code::Unhealthy) });
        assert_eq!((entry.from, entry.to), (1, 1));
        let broken = back.go_back(why(Code::ActivationFailed)).unwrap();
        assert!(matches!(&broken.stage, Stage::Broken(switch) if switch.back.len() == 2));
        assert!(broken.clone().go_back(why(Code::Internal)).is_err());
        let (entry, _) = broken.activated().unwrap().finish(Timestamp::UNIX_EPOCH).unwrap();
        assert!(matches!(entry.outcome, Outcome::RolledBack { failures } if failures.len() == 2));
    }

    #[test]
    fn nothing_fails_without_a_trace_after_the_commit() {
        assert!(committed().fail(why(Code::Aborted), Timestamp::UNIX_EPOCH, 1).is_err());
        assert!(committed().advance(Phase::Validating).is_err());
        assert!(committed().commit(3, 1, vec![], &Committing::for_tests()).is_err());
    }

    #[test]
    fn what_has_to_be_confirmed_does_not_end_before_it_is() {
        let waiting = || {
            let job = Job { stage: committed().activated().unwrap().stage, ..job() };
            job.confirm_within(Some(2)).awaiting(100).unwrap()
        };
        assert_eq!(waiting().confirmation.unwrap().deadline, Some(220));
        assert_eq!(waiting().awaiting(150).unwrap(), waiting(), "the time does not begin again");
        let next_boot = waiting().activating().unwrap().awaiting(7).unwrap();
        assert_eq!(next_boot.confirmation.unwrap().deadline, Some(127));
        assert!(waiting().finish(Timestamp::UNIX_EPOCH).is_err());
        let (entry, _) = waiting().confirmed("admin").unwrap().finish(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((entry.outcome, entry.notes), (Outcome::Succeeded, vec!["confirmed by admin".to_owned()]));
        let back = waiting().go_back(why(Code::Unconfirmed)).unwrap().activated().unwrap();
        assert!(back.clone().confirmed("admin").is_err(), "too late");
        assert!(back.clone().awaiting(0).is_err());
        assert!(back.finish(Timestamp::UNIX_EPOCH).is_ok());
        assert!(committed().activated().unwrap().confirmed("admin").is_err(), "nobody asked for it");
    }

    #[test]
    fn a_commit_needs_everything_before_it() {
        for phase in [Phase::AwaitingAnswer, Phase::Locking, Phase::Snapshotting, Phase::Validating] {
            assert!(
                job().advance(phase).unwrap().commit(2, 1, vec![], &Committing::for_tests()).is_err(),
                "{phase}"
            );
        }
        assert!(job().commit(2, 1, vec![], &Committing::for_tests()).is_err());
        assert!(job().advance(Phase::Committed).is_err());
        assert!(job().advance(Phase::Locking).unwrap().advance(Phase::Locking).is_err());
    }
}
