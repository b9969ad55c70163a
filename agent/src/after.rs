//! What a restore that has succeeded leaves to be done, as it is on record: the manager to be told,
//! and tasks for people. Neither is part of the job, and neither holds anything.

use jiff::Timestamp;
use reinstate_api::{Accepted, Acknowledged, Code, Failure, HistoryEntry, JobKind, Outcome};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::resolve;
use crate::state::State;

/// The manager is to be told of a restore, or has been told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckIn {
    pub restore: Uuid,
    pub since: Timestamp,
    /// Nothing is owed any more. Attempts in vain are not on record: they cost no write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
}

/// What an admin has to do by hand; the product's own list is the profile's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tasks {
    pub restore: Uuid,
    pub since: Timestamp,
    /// What the restore has taken off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enrol: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
}

impl State {
    /// A job has ended with its target live: what an earlier restore has left to be done goes with
    /// that restore's configuration. `managed`: this configuration has a manager that is told.
    pub fn follow(&mut self, entry: &HistoryEntry, managed: bool) {
        if entry.outcome != Outcome::Succeeded {
            return;
        }
        let (restore, since) = (entry.id, entry.ended);
        if matches!(entry.kind, JobKind::Restore | JobKind::Factory) {
            // Whoever has the appliance now has not allowed it.
            self.expert = None;
        }
        match entry.kind {
            JobKind::Restore => {
                let enrol = entry.notes.iter().filter(|note| resolve::is_taken_off(note)).cloned();
                self.tasks = Some(Tasks { restore, since, enrol: enrol.collect(), acknowledged: None });
                self.checkin = managed.then_some(CheckIn { restore, since, accepted: None });
            }
            JobKind::Rollback | JobKind::Factory => (self.tasks, self.checkin) = (None, None),
            // Whether the manager is still there is asked before it is told.
            JobKind::Configure | JobKind::Check | JobKind::ClearLock => {}
        }
    }

    /// What the manager has yet to be told. Nothing while another configuration is about to become
    /// live or is not decided on: its identity is not that of the restore.
    pub fn owed(&self) -> Option<&CheckIn> {
        let settled = self.job.as_ref().is_none_or(|job| job.is_preparing());
        self.checkin.as_ref().filter(|owed| settled && owed.accepted.is_none())
    }

    /// The manager was told, or is not there any more, where the same restore is still owed.
    pub fn settle(&mut self, restore: Uuid, accepted: Option<Accepted>) {
        if let Some(owed) = self.checkin.take_if(|owed| owed.restore == restore && owed.accepted.is_none())
            && accepted.is_some()
        {
            self.checkin = Some(CheckIn { accepted, ..owed });
        }
    }

    /// Somebody has taken note of the tasks: on record with them, and with the restore for good.
    pub fn acknowledge(&mut self, by: String, at: Timestamp) -> Result<(), Failure> {
        let mut met = false;
        for meeting in self.meetings.iter_mut().filter(|meeting| !meeting.acknowledged) {
            meeting.acknowledged = true;
            met = true;
        }
        let tasks = self.tasks.as_mut().filter(|tasks| tasks.acknowledged.is_none());
        if met && tasks.is_none() {
            return Ok(());
        }
        let tasks = tasks.ok_or_else(|| {
            Failure::new(Code::NotFound, "there are no tasks that wait to be acknowledged")
                .hint("`show restore` shows those of the last restore")
        })?;
        if let Some(entry) = self.history.iter_mut().find(|entry| entry.id == tasks.restore) {
            entry.notes.push(format!("the tasks after the restore were acknowledged by {by}"));
        }
        tasks.acknowledged = Some(Acknowledged { by, at });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use reinstate_api::Phase;

    use super::*;
    use crate::job::Job;
    use crate::peers::Committing;

    fn ended(kind: JobKind, outcome: Outcome) -> HistoryEntry {
        let now = Timestamp::UNIX_EPOCH;
        let taken_off = resolve::taken_off("vpn", &"etc/swanctl/x509/site-b.pem".parse().unwrap());
        HistoryEntry {
            id: Uuid::new_v4(),
            kind,
            source: "backup a.tar".into(),
            by: "admin".into(),
            started: now,
            ended: now,
            phase: Phase::Finishing,
            from: 1,
            to: 2,
            notes: vec![taken_off, "3 private keys are sealed".into()],
            overrides: Vec::new(),
            outcome,
        }
    }

    fn restored(managed: bool) -> State {
        let (mut state, entry) = (State::default(), ended(JobKind::Restore, Outcome::Succeeded));
        state.follow(&entry, managed);
        state.end(entry);
        state
    }

    #[test]
    fn a_restore_that_succeeded_owes_the_manager_and_leaves_what_was_taken_off() {
        let state = restored(true);
        assert_eq!(state.owed().unwrap().restore, state.history[0].id);
        let tasks = state.tasks.unwrap();
        assert_eq!((tasks.enrol.len(), tasks.acknowledged), (1, None));
        assert!(restored(false).checkin.is_none());
    }

    #[test]
    fn a_restore_that_was_taken_back_leaves_everything_as_it_was() {
        let before = restored(true);
        for kind in [JobKind::Restore, JobKind::Rollback, JobKind::Configure] {
            let mut state = before.clone();
            state.follow(&ended(kind, Outcome::RolledBack { failures: Vec::new() }), true);
            assert_eq!(state, before);
        }
    }

    #[test]
    fn the_way_back_takes_with_it_what_the_restore_left_to_do() {
        for kind in [JobKind::Rollback, JobKind::Factory] {
            let mut state = restored(true);
            state.follow(&ended(kind, Outcome::Succeeded), true);
            assert_eq!((state.checkin, state.tasks), (None, None));
        }
    }

    #[test]
    fn the_expert_mode_is_closed_by_a_restore_and_by_the_factorys_configuration() {
        let opened = || {
            let allowed = crate::state::Allowed { by: "admin".into(), at: Timestamp::UNIX_EPOCH };
            State { expert: Some(allowed), ..State::default() }
        };
        for (kind, stays) in [
            (JobKind::Restore, false),
            (JobKind::Factory, false),
            (JobKind::Rollback, true),
            (JobKind::Configure, true),
        ] {
            let mut state = opened();
            state.follow(&ended(kind, Outcome::RolledBack { failures: Vec::new() }), false);
            assert!(state.expert.is_some(), "{kind} was taken back");
            state.follow(&ended(kind, Outcome::Succeeded), false);
            assert_eq!(state.expert.is_some(), stays, "{kind}");
        }
    }

    #[test]
    fn nothing_is_told_while_another_configuration_is_undecided() {
        let mut state = restored(true);
        let new = Job::new(Uuid::new_v4(), JobKind::Restore, "".into(), "".into(), Timestamp::UNIX_EPOCH);
        state.job = Some(new.clone());
        assert!(state.owed().is_some(), "a job that has changed nothing is in nobody's way");
        let ready = [Phase::Locking, Phase::Snapshotting, Phase::Validating, Phase::Committing];
        let ready = ready.into_iter().try_fold(new, Job::advance).unwrap();
        state.job = Some(ready.commit(3, 2, Vec::new(), &Committing::for_tests()).unwrap());
        assert!(state.owed().is_none());
    }

    #[test]
    fn an_answer_for_another_restore_settles_nothing() {
        let mut state = restored(true);
        let before = state.clone();
        let accepted = Some(Accepted { at: Timestamp::UNIX_EPOCH, answer: "200 OK".into() });
        state.settle(Uuid::new_v4(), accepted.clone());
        assert_eq!(state, before);
        let id = state.history[0].id;
        state.settle(id, accepted.clone());
        assert_eq!((state.owed(), state.checkin.as_ref().unwrap().accepted.clone()), (None, accepted));
        state.settle(id, None);
        assert!(state.checkin.is_some(), "that it was told stays on record");
    }

    #[test]
    fn tasks_are_acknowledged_once_and_by_name() {
        let mut state = restored(false);
        state.acknowledge("alice".into(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(state.tasks.as_ref().unwrap().acknowledged.as_ref().unwrap().by, "alice");
        assert!(state.history[0].notes.last().unwrap().ends_with("by alice"));
        assert_eq!(state.acknowledge("bob".into(), Timestamp::UNIX_EPOCH).unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn a_record_from_before_there_were_check_ins_is_read() {
        let text = "format = 1\nrevision = 7\nactive = 2\nprevious = 1\nnext = 3\n";
        let state: State = toml::from_str(text).unwrap();
        assert_eq!((state.checkin.clone(), state.tasks.clone(), state.owed()), (None, None, None));
        let whole = restored(true);
        assert_eq!(toml::from_str::<State>(&toml::to_string(&whole).unwrap()).unwrap(), whole);
        assert_eq!(toml::to_string(&state).unwrap(), text);
    }
}
