//! From a draft to a generation that may be committed.

use jiff::Timestamp;
use reinstate_api::{BackupDetails, Code, DeviceIdentity, Failure};

use super::Parts;
use super::context::Context;
use super::flow::ended_early;
use crate::activate::accept;
use crate::archive::{HaGroup, Manifest};
use crate::facts::Claims;
use crate::files::Folder;
use crate::peers::{MAX_GROUP, parse_group};
use crate::store::{About, Draft, Generation};

/// A draft becomes a generation, away from the thread that answers requests.
pub(super) async fn keep(
    context: &Context,
    draft: Draft,
    number: u64,
    origin: String,
    device: DeviceIdentity,
    archive: Option<BackupDetails>,
) -> Result<Generation, Failure> {
    let engine = context.engine.clone();
    let kept = tokio::task::spawn_blocking(move || {
        let domains = &engine.parts().domains;
        draft.finish(About { number, created: Timestamp::now(), origin, device, domains, archive })
    });
    kept.await.map_err(|_| ended_early())?
}

/// What activation would refuse is refused here, where it costs nothing; the way back included.
pub(super) async fn acceptable(
    context: &Context,
    target: &Generation,
    from: &Generation,
) -> Result<(), Failure> {
    let (engine, generations) = (context.engine.clone(), [target.clone(), from.clone()]);
    let accepted = tokio::task::spawn_blocking(move || {
        let parts = engine.parts();
        let live = &generations[1];
        generations.iter().try_for_each(|generation| accept(&parts.root, &parts.domains, generation, live))
    });
    accepted.await.map_err(|_| ended_early())?
}

/// The manifest's identity was checked; the configuration that comes with it must be of the same.
pub(super) fn identity(manifest: &Manifest, tree: &Folder, parts: &Parts) -> Result<(), Failure> {
    let claimed = Claims::of(&manifest.device, manifest.manager.as_ref());
    let found = Claims::read(tree, &parts.profile, &parts.domains)?;
    if let Some(ha) = &parts.profile.ha {
        let bytes = crate::files::found(tree.read(&ha.group, MAX_GROUP))?;
        let group = bytes.map(|bytes| parse_group(&ha.group, &bytes)).transpose()?;
        if group != manifest.ha {
            let named =
                |group: &Option<HaGroup>| group.as_ref().map_or("none".into(), |group| group.name.clone());
            return Err(Failure::new(
                Code::ArchiveInvalid,
                format!(
                    "HA group: the backup's manifest says {}, its configuration says {}, with other members or addresses",
                    named(&manifest.ha),
                    named(&group)
                ),
            )
            .hint("the backup contradicts itself; take another one"));
        }
    }
    match found.differing(&claimed) {
        None => Ok(()),
        Some((what, found, claimed)) => Err(Failure::new(
            Code::ArchiveInvalid,
            format!("{what}: the backup's manifest says {claimed}, its configuration says {found}"),
        )
        .hint("the backup contradicts itself; take another one")),
    }
}
