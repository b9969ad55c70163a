//! Changes of the configuration that an admin asks for: snapshot, edit, activate now.

use jiff::Timestamp;
use reinstate_api::{
    Access, Change, Code, ConfigureRequest, DeviceIdentity, Failure, JobKind, Lock, PasswordCheck, Phase,
    Setup,
};
use uuid::Uuid;

use super::candidate::{acceptable, keep};
use super::context::Context;
use super::flow::{Made, Next, commit, ended_early, snapshot, take_number};
use super::group::free_of_locks;
use super::{Engine, Parts, Work};
use crate::configure::{Edit, check, describe, passwords};
use crate::facts::{self, Facts};
use crate::peers::GroupHeld;
use crate::store::{Draft, Generation};

impl Engine {
    /// Changes the configuration at once, all of it or nothing.
    ///
    /// # Errors
    /// What is wrong with the request, before there is a job.
    pub async fn configure(
        &self,
        request: ConfigureRequest,
        by: String,
        access: Access,
    ) -> Result<Uuid, Failure> {
        let parts = self.parts();
        check(&request, &parts.profile, &by, access)?;
        possible(&request, &parts.platform.facts().await?)?;
        let source = describe(&request.changes, request.setup);
        self.begin(JobKind::Configure, source, by, Work::Configure(request))
    }

    /// Whether a password would be taken.
    ///
    /// # Errors
    /// `password-refused`, naming the rule.
    pub fn check_password(&self, asked: &PasswordCheck, by: &str) -> Result<(), Failure> {
        let user = asked.user.as_deref().unwrap_or(by);
        passwords::check(&self.parts().profile.passwords, user, &asked.password)
    }

    /// Takes the registration with the manager away, without asking the manager.
    pub fn delete_manager(&self, by: String) -> Result<Uuid, Failure> {
        self.begin(JobKind::Configure, DELETE_MANAGER.into(), by, Work::DeleteManager)
    }

    /// What the first login asks.
    pub async fn setup(&self) -> Result<Setup, Failure> {
        let parts = self.parts();
        Ok(Setup {
            needed: parts.platform.facts().await?.setup_needed,
            licence: parts.profile.setup.as_ref().map(|setup| setup.licence.clone()).unwrap_or_default(),
            password_rules: passwords::sentences(&parts.profile.passwords),
        })
    }
}

const DELETE_MANAGER: &str = "configure manager delete";

/// What this configuration does not allow.
fn possible(request: &ConfigureRequest, facts: &Facts) -> Result<(), Failure> {
    if request.setup && !facts.setup_needed {
        return Err(Failure::new(Code::NotFound, "the questions of the first login are answered already")
            .hint("`configure` changes each of the settings"));
    }
    let adds = request.changes.iter().any(|change| matches!(change, Change::ManagerAdd(_)));
    match facts.registration.as_ref().filter(|_| adds) {
        Some(there) => Err(Failure::new(
            Code::RegisteredOtherManager,
            format!("this appliance is registered with the manager {} already", there.host),
        )
        .hint("`configure manager delete` takes that registration away first")),
        None => Ok(()),
    }
}

pub(super) async fn configure(
    context: &Context,
    request: ConfigureRequest,
    made: &mut Made,
) -> Result<Next, Failure> {
    let parts = context.engine.parts();
    free_of_locks(context)?;
    let facts = parts.platform.facts().await?;
    possible(&request, &facts)?;
    if let Some(confirmation) = &context.job.confirmation {
        context.note(format!(
            "`{}` has to be typed within {} min, or the present configuration comes back",
            context.job.kind.confirmation(),
            confirmation.minutes
        ));
    }
    take_lock(context, &facts, made)?;
    let trust = context.engine.trust();
    let mut accepted = Vec::new();
    for change in &request.changes {
        if let Change::TrustedHostDelete { host, port } = change
            && trust.accepted(host, *port)?
        {
            accepted.push((host.clone(), *port));
        }
    }
    if !accepted.is_empty() {
        context.record(|job| job.forgetting(accepted.clone()))?;
    }
    let by = context.job.by.clone();
    let edit = move |parts: &Parts, draft: &mut Draft| {
        let Parts { profile, domains, state, .. } = parts;
        let before = state.read()?.retired;
        let mut edit =
            Edit { draft, profile, domains, by: &by, accepted: &accepted, retired: before.clone() };
        request.changes.iter().try_for_each(|change| edit.apply(change))?;
        if request.setup {
            edit.set_up()?;
        }
        // Before the change is made; where it is not, the account is there and has its number all the same.
        match edit.retired {
            same if same == before => Ok(()),
            retired => state.update(|state| {
                state.retired = retired;
                Ok(())
            }),
        }
    };
    change(context, &facts, made, |_| true, edit).await?;
    Ok(Next::ActivateNow)
}

/// Empties the manager's domain, without asking the manager.
pub(super) async fn delete_manager(context: &Context, made: &mut Made) -> Result<Next, Failure> {
    let parts = context.engine.parts();
    let Some(manager) = &parts.profile.manager else {
        return Err(Failure::new(Code::NotFound, "this appliance has no manager to register with"));
    };
    free_of_locks(context)?;
    let facts = parts.platform.facts().await?;
    let Some(registration) = &facts.registration else {
        return Err(Failure::new(Code::NotFound, "No managers configured").hint("there is nothing to delete"));
    };
    context.note(format!(
        "the manager {} is not told: it keeps a ghost of this device until the device is deleted there too",
        registration.host
    ));
    context.advance(Phase::AwaitingAnswer)?;
    context.confirm().await?;
    take_lock(context, &facts, made)?;
    let domain = manager.domain.clone();
    change(context, &facts, made, move |name| name != domain, |_, _| Ok(())).await?;
    Ok(Next::ActivateNow)
}

/// From the lock to the commit: the live configuration's domains that stay, edited.
async fn change(
    context: &Context,
    facts: &Facts,
    made: &mut Made,
    stays: impl Fn(&str) -> bool + Send + 'static,
    edit: impl FnOnce(&Parts, &mut Draft) -> Result<(), Failure> + Send + 'static,
) -> Result<(), Failure> {
    let parts = context.engine.parts();
    let snapshot = snapshot(context, made).await?;
    context.advance(Phase::Validating)?;
    let number = take_number(context, made)?;
    let (engine, from, now) = (context.engine.clone(), snapshot.clone(), facts.device.clone());
    let edited = tokio::task::spawn_blocking(move || edited(engine.parts(), &from, &now, stays, edit));
    let (draft, device) = edited.await.map_err(|_| ended_early())??;
    let target = keep(context, draft, number, context.job.source.clone(), device, None).await?;
    acceptable(context, &target, &snapshot).await?;
    if let Some(refused) = parts.platform.validate(number).await?.into_iter().next() {
        return Err(refused);
    }
    commit(context, made, number, snapshot.number(), Vec::new()).await
}

fn edited(
    parts: &Parts,
    from: &Generation,
    now: &DeviceIdentity,
    stays: impl Fn(&str) -> bool,
    edit: impl FnOnce(&Parts, &mut Draft) -> Result<(), Failure>,
) -> Result<(Draft, DeviceIdentity), Failure> {
    let (index, key) = (from.index()?, from.key()?);
    let mut draft = parts.store.draft("configure")?;
    for (name, entry) in index.iter().filter(|(name, _)| stays(name)) {
        draft.adopt(name, from, &key, entry)?;
    }
    edit(parts, &mut draft)?;
    let device = facts::device(draft.tree(), &parts.profile, &parts.domains, now)?;
    Ok((draft, device))
}

/// This appliance's lock alone: nobody else notices what is done.
fn take_lock(context: &Context, facts: &Facts, made: &mut Made) -> Result<(), Failure> {
    context.advance(Phase::Locking)?;
    let lock = Lock {
        id: context.job.id,
        device: facts.device.uuid.clone(),
        hostname: facts.device.hostname.clone(),
        by: context.job.by.clone(),
        since: Timestamp::now(),
        phase: Phase::Locking,
        without: Vec::new(),
    };
    made.held = Some(GroupHeld::alone(&context.engine.peers().lock, lock)?);
    Ok(())
}
