//! A restore among the members of a group: who else is there, what that means, and the locks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reinstate_api::{
    Answer as Said, Code, Failure, HaState, Lock, Overridden, Override, Phase, QuestionKind, Role,
};

use super::context::Context;
use super::guest;
use super::meeting::{ask, meet};
use super::peers::Own;
use crate::facts::Facts;
use crate::lock;
use crate::peers::fleet::Service;
use crate::peers::{Group, GroupHeld, Judgement, Membership, Silent, Taking, Us, Without, judge};
use crate::stage::Seen;

/// Between two looks at a control node that restores itself.
const PAUSE: Duration = Duration::from_secs(2);

/// Between two looks at whether this member has rejoined.
const LOOK: Duration = Duration::from_secs(2);

/// The group of one restore, as far as it is known.
pub(super) struct Company {
    us: Us,
    group: Option<Group>,
    /// In place of the members' lock files.
    service: Option<Service>,
    /// Device UUIDs of members that are gone without.
    without: Vec<String>,
    judgement: Judgement,
    /// Why this appliance's own group cannot be told.
    unknown: Option<Failure>,
}

pub(super) fn no_ha() -> Failure {
    Failure::new(Code::ProfileInvalid, "this appliance's profile has no HA group ([ha])")
}

impl Company {
    /// The group of this appliance as it is.
    pub fn present(context: &Context, facts: &Facts, unknown: Option<Failure>) -> Self {
        Self { unknown, ..Self::of(context, facts, None) }
    }

    /// The group of this appliance and the backup's.
    ///
    /// # Errors
    /// `archive-invalid` where the backup is of a member and does not hold the group's keys.
    pub fn with_backup(
        context: &Context,
        facts: &Facts,
        seen: &Seen,
        unknown: Option<Failure>,
    ) -> Result<Self, Failure> {
        let (group, membership) = match (&seen.group, &seen.membership) {
            (None, _) => return Ok(Self { unknown, ..Self::of(context, facts, Some((seen, None))) }),
            (Some(group), membership) => (group, membership),
        };
        let ha = context.engine.parts().profile.ha.as_ref().ok_or_else(no_ha)?;
        let Some(membership) = membership else {
            return Err(Failure::new(
                Code::ArchiveInvalid,
                format!(
                    "the backup is of a member of the HA group {}, and lacks {} or {}",
                    group.name, ha.key, ha.host_key
                ),
            )
            .hint("take a backup that was made on the member itself"));
        };
        if group.member(&seen.device.uuid).is_none() {
            return Err(Failure::new(
                Code::ArchiveInvalid,
                format!(
                    "the backup's device {} is no member of its HA group {}",
                    seen.device.uuid, group.name
                ),
            )
            .hint("the backup contradicts itself; take another one"));
        }
        Ok(Self { unknown, ..Self::of(context, facts, Some((seen, Some(membership)))) })
    }

    fn of(context: &Context, facts: &Facts, backup: Option<(&Seen, Option<&Membership>)>) -> Self {
        let engine = &context.engine;
        let own = engine.peers().own();
        let is = (facts.device.uuid.clone(), facts.device.hostname.clone(), facts.device.role);
        let becomes = backup.map_or_else(
            || is.clone(),
            |(seen, _)| (seen.device.uuid.clone(), seen.device.hostname.clone(), seen.device.role),
        );
        let us = Us {
            instance: engine.peers().instance,
            restore: context.job.id,
            locked: None,
            member: own.as_ref().map(|_| engine.peers().state()),
            becomes,
            is,
        };
        let group = engine.parts().profile.ha.as_ref().and_then(|ha| {
            let live = own.as_ref().map(|own| (&*own.membership, own.device.as_str()));
            let theirs = backup.and_then(|(_, membership)| Some((membership?, us.becomes.0.as_str())));
            Group::new(ha.port, live, theirs)
        });
        let service = backup.and_then(|(seen, _)| seen.service.clone()).or_else(|| engine.peers().service());
        Self { us, group, service, without: Vec::new(), judgement: Judgement::default(), unknown: None }
    }

    /// Where this appliance is in no group yet, the others are answered as the backup's device.
    pub async fn introduce(
        &self,
        context: &Context,
        facts: &Facts,
        membership: Membership,
    ) -> Result<(), Failure> {
        if context.engine.peers().own().is_some() {
            return Ok(());
        }
        let (device, hostname, role) = self.us.becomes.clone();
        guest::enter(context, Own { device, hostname, role, membership: Arc::new(membership) }, facts).await
    }

    /// Asks every member, shows what came of it, and waits for a control node that restores itself.
    ///
    /// # Errors
    /// Everything that the answers refuse.
    pub async fn examine(&mut self, context: &Context) -> Result<(), Vec<Failure>> {
        let Some(group) = &self.group else { return free_of_locks(context).map_err(|failure| vec![failure]) };
        context.engine.learn_state().await;
        // What an earlier restore of this appliance has left is in nobody's way.
        context.engine.release_members().await;
        let mut told: Vec<String> = Vec::new();
        loop {
            context.still_wanted().map_err(|failure| vec![failure])?;
            let predecessor = async {
                match &group.predecessor {
                    Some(door) => Some(ask(group, door).await),
                    None => None,
                }
            };
            let (others, predecessor) = tokio::join!(meet(group), predecessor);
            let locked = context.engine.free_of_what_is_over(&others);
            let locked = locked.and_then(|()| context.engine.peers().lock.read());
            self.us.locked = locked.map_err(|failure| vec![failure])?;
            self.judgement = judge(&self.us, group, &others, predecessor.as_ref());
            for remark in &self.judgement.remarks {
                if !told.contains(remark) {
                    context.note(remark.clone());
                    told.push(remark.clone());
                }
            }
            if !self.judgement.refusals.is_empty() {
                return Err(self.judgement.refusals.clone());
            }
            if self.judgement.restoring.is_empty() {
                return Ok(());
            }
            let waiting = format!("waiting for the control node {}", self.judgement.restoring.join(", "));
            if !told.contains(&waiting) {
                context.note(waiting.clone());
                told.push(waiting);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What a check has to say: nobody is asked.
    pub fn check(&self, words: &BTreeSet<Override>) -> Result<(), Vec<Failure>> {
        let unknown =
            self.unknown.as_ref().filter(|_| self.group.is_none() && !words.contains(&Override::WithoutPeer));
        let mut failures: Vec<Failure> = unknown.into_iter().cloned().collect();
        if !words.contains(&Override::WithoutPeer) {
            let silent = |silent: &Silent| Failure::new(Code::PeerUnreachable, silent.why.clone());
            failures.extend(self.judgement.silent.iter().map(silent));
        }
        let control = self.judgement.control_missing.clone();
        failures.extend(control.filter(|_| !words.contains(&Override::WithoutControl)));
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    /// Where the answers ask for it, a second answer of the admin's, each kept on record.
    ///
    /// # Errors
    /// `control-missing` without the word; `declined` or `unanswered`.
    pub async fn agree(&mut self, context: &Context, words: &BTreeSet<Override>) -> Result<(), Failure> {
        if let Some(missing) = self.judgement.control_missing.clone() {
            if !words.contains(&Override::WithoutControl) {
                return Err(missing);
            }
            self.insist(context, Override::WithoutControl, vec![missing.message.clone()]).await?;
            let overridden =
                Overridden { what: Override::WithoutControl, why: missing.message, member: String::new() };
            context.overridden(overridden)?;
        }
        let mut silent = self.judgement.silent.clone();
        // Whoever is in it is neither asked nor locked.
        if let Some(unknown) = self.unknown.as_ref().filter(|_| self.group.is_none()) {
            silent.push(Silent { device: String::new(), why: unknown.message.clone() });
        }
        if silent.is_empty() {
            return Ok(());
        }
        if !words.contains(&Override::WithoutPeer) {
            let why = silent.iter().map(|silent| silent.why.clone()).collect();
            self.insist(context, Override::WithoutPeer, why).await?;
        }
        for Silent { device, why } in silent {
            self.without.push(device.clone());
            context.overridden(Overridden { what: Override::WithoutPeer, why, member: device })?;
        }
        Ok(())
    }

    async fn insist(&self, context: &Context, what: Override, why: Vec<String>) -> Result<(), Failure> {
        let said = why.clone();
        match context.ask(QuestionKind::Override { what, why }).await? {
            Said::Yes => Ok(()),
            _ => {
                let declined = format!("going on {what} was answered with no; {}", said.join("; "));
                Err(Failure::new(Code::Declined, declined).hint("nothing was changed"))
            }
        }
    }

    /// Takes the lock of every member, this appliance's own among them.
    ///
    /// # Errors
    /// As [`Taking::take`].
    pub async fn lock(&self, context: &Context, words: &BTreeSet<Override>) -> Result<GroupHeld, Failure> {
        context.advance(Phase::Locking)?;
        let peers = context.engine.peers();
        let (uuid, hostname, _) = &self.us.becomes;
        let others = self.group.iter().flat_map(|group| &group.others);
        let without = others.filter(|door| self.without.contains(&door.device));
        let lock = Lock {
            id: context.job.id,
            device: self.group.as_ref().map_or(uuid, |group| &group.own).clone(),
            hostname: hostname.clone(),
            by: context.job.by.clone(),
            since: Timestamp::now(),
            phase: Phase::Locking,
            without: without.map(|door| door.hostname.clone()).collect(),
        };
        let (file, journals) = (&peers.lock, &peers.journals);
        let (group, service) = (self.group.as_ref(), self.service.as_ref());
        let without = match words.contains(&Override::WithoutPeer) {
            true => Without::Any,
            false => Without::These(&self.without),
        };
        let note = |note| context.note(note);
        // An earlier restore's release would free what is taken now.
        let _turn = match service {
            Some(_) => Some(peers.releasing.lock().await),
            None => None,
        };
        let held = Taking { file, journals, group, service, note: &note, without, lock }.take().await?;
        // One that has answered before, and does no more.
        for (door, why) in held.skipped().iter().filter(|(door, _)| !self.without.contains(&door.device)) {
            let (what, why, member) = (Override::WithoutPeer, why.message.clone(), door.device.clone());
            context.overridden(Overridden { what, why, member })?;
        }
        Ok(held)
    }
}

/// Early, where this appliance is a member: who is restored at this moment is known before anything is fetched.
///
/// # Errors
/// `lock-held`, naming the holder.
pub(super) async fn free_group(context: &Context, facts: &Facts) -> Result<(), Vec<Failure>> {
    let mut company = Company::present(context, facts, None);
    let Some(group) = &company.group else { return Ok(()) };
    let others = meet(group).await;
    let locked = context.engine.free_of_what_is_over(&others);
    let locked = locked.and_then(|()| context.engine.peers().lock.read());
    company.us.locked = locked.map_err(|failure| vec![failure])?;
    let mut refusals = judge(&company.us, group, &others, None).refusals;
    refusals.retain(|failure| failure.code == Code::LockHeld);
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

/// Where the admin has said that members need not reach this appliance, what keeps them out is put on record.
///
/// # Errors
/// What is refused all the same.
pub(super) fn without_peers(
    context: &Context,
    words: &BTreeSet<Override>,
    failures: Vec<Failure>,
) -> Result<Vec<Failure>, Failure> {
    let goes_on =
        |failure: &Failure| failure.code == Code::PeerPortClosed && words.contains(&Override::WithoutPeer);
    let (closed, refused): (Vec<_>, Vec<_>) = failures.into_iter().partition(goes_on);
    for Failure { message, .. } in closed {
        let (what, member) = (Override::WithoutPeer, String::new());
        context.overridden(Overridden { what, why: message, member })?;
    }
    Ok(refused)
}

/// Without taking it: a restore that cannot get the lock need not begin.
pub(super) fn free_of_locks(context: &Context) -> Result<(), Failure> {
    match context.engine.peers().lock.read()? {
        None => Ok(()),
        Some(lock) => Err(lock::held(&lock)),
    }
}

/// Waits until this member is back in its group, as its HA engine says. A control node's locks are held
/// that long: the others join it.
pub(super) async fn rejoined(context: &Context, role: Role) {
    context.engine.peers().set_rejoining(true);
    wait_for_rejoin(context, role).await;
    context.engine.peers().set_rejoining(false);
}

async fn wait_for_rejoin(context: &Context, role: Role) {
    let engine = &context.engine;
    engine.look_at_group().await;
    let (Some(_), Some(ha)) = (engine.peers().own(), &engine.parts().profile.ha) else { return };
    if !ha.tells_state() {
        return;
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(ha.rejoin_deadline);
    let mut told = false;
    loop {
        engine.learn_state().await;
        let state = engine.peers().state();
        if matches!(state, HaState::Active | HaState::Standby) {
            context.keep_note(format!("this member has rejoined its group: {state}"));
            return;
        }
        if !told {
            context.note(format!("waiting for this member ({role}) to rejoin its group: {state}"));
            told = true;
        }
        let cleared = role == Role::Control
            && !matches!(engine.peers().lock.read(), Ok(Some(lock)) if lock.id == context.job.id);
        if cleared || tokio::time::Instant::now() > deadline {
            let why = if cleared { "an admin has cleared its lock" } else { "its time is over" };
            context.keep_note(format!("this member has not rejoined its group ({state}): {why}"));
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}
