//! The last word before a commit: every lock is there still, or nothing is committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::lock::LockFile;
use reinstate_agent::peers::{Group, GroupHeld, Journals, Taking, Without};
use reinstate_api::{Code, Failure, Lock, Phase, Secret};
use tempfile::TempDir;

use crate::site::Site;

/// The member that restores itself; the other one is the site.
struct Holder {
    group: Group,
    lock: Lock,
    file: LockFile,
    journals: Journals,
    _place: TempDir,
}

impl Holder {
    fn of(site: &Site) -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = || Folder::open(place.path(), Arc::new(Direct)).unwrap();
        let own = site.roster.members[1].uuid.clone();
        let group = Group {
            name: site.roster.name.clone(),
            own,
            port: site.port,
            keys: vec![Secret::new(site.roster.key.clone())],
            others: vec![site.door()],
            predecessor: None,
            roles: BTreeMap::new(),
        };
        let (file, journals) = (LockFile::new(folder()), Journals::new(folder()));
        Self { group, lock: site.a_lock(), file, journals, _place: place }
    }

    async fn take(&self, without: Without<'_>) -> Result<GroupHeld, Failure> {
        let taking = Taking {
            file: &self.file,
            journals: &self.journals,
            group: Some(&self.group),
            service: None,
            note: &|_| {},
            without,
            lock: self.lock.clone(),
        };
        taking.take().await
    }

    /// How many members the journal says are to be released.
    fn owed(&self) -> usize {
        self.journals.all().unwrap().iter().map(|journal| journal.members().len()).sum()
    }
}

#[tokio::test]
async fn a_commit_is_announced_on_every_member_that_is_locked() {
    let site = Site::open().await;
    let holder = Holder::of(&site);
    let mut held = holder.take(Without::These(&[])).await.unwrap();
    assert_eq!(site.lock.read().unwrap(), Some(holder.lock.clone()));
    held.committing().await.unwrap();
    let there = site.lock.read().unwrap().unwrap();
    assert_eq!((there.id, there.phase), (holder.lock.id, Phase::Committing));
    assert_eq!(holder.owed(), 1);
}

#[tokio::test]
async fn a_lock_that_was_cleared_on_another_member_keeps_its_holder_from_committing() {
    let site = Site::open().await;
    let holder = Holder::of(&site);
    let mut held = holder.take(Without::These(&[])).await.unwrap();
    site.lock.release(holder.lock.id).unwrap();
    assert_eq!(held.committing().await.unwrap_err().code, Code::LockLost);
    assert_eq!(site.lock.read().unwrap(), None, "it is not taken again behind the admin's back");
}

#[tokio::test]
async fn a_lock_that_another_restore_has_by_now_keeps_its_first_holder_from_committing() {
    let site = Site::open().await;
    let holder = Holder::of(&site);
    let mut held = holder.take(Without::Any).await.unwrap();
    site.lock.release(holder.lock.id).unwrap();
    let other = site.a_lock();
    site.lock.take(&other).unwrap();
    assert_eq!(held.committing().await.unwrap_err().code, Code::LockLost);
    assert_eq!(site.lock.read().unwrap(), Some(other));
}

#[tokio::test]
async fn a_locked_member_that_answers_no_more_keeps_its_holder_from_committing() {
    let mut site = Site::open().await;
    let holder = Holder::of(&site);
    let mut held = holder.take(Without::Any).await.unwrap();
    site.end();
    assert_eq!(held.committing().await.unwrap_err().code, Code::PeerUnreachable);
    assert_eq!(holder.owed(), 1, "its lock is to be released all the same");
}

#[tokio::test]
async fn a_member_that_was_gone_without_is_locked_once_it_answers_and_is_owed_a_release() {
    let mut site = Site::closed();
    let holder = Holder::of(&site);
    let mut held = holder.take(Without::Any).await.unwrap();
    assert_eq!(held.skipped().len(), 1);
    site.serve().await;
    held.committing().await.unwrap();
    let there = site.lock.read().unwrap().unwrap();
    assert_eq!((there.id, there.phase), (holder.lock.id, Phase::Committing));
    assert_eq!((there.without, holder.owed()), (vec![site.door().hostname], 1));
}

#[tokio::test]
async fn a_member_that_was_gone_without_and_restores_itself_by_now_keeps_the_holder_from_committing() {
    let mut site = Site::closed();
    let holder = Holder::of(&site);
    let mut held = holder.take(Without::Any).await.unwrap();
    let theirs = Lock { device: site.door().device, ..site.a_lock() };
    site.lock.take(&theirs).unwrap();
    site.serve().await;
    assert_eq!(held.committing().await.unwrap_err().code, Code::LockHeld);
    assert_eq!(site.lock.read().unwrap(), Some(theirs));
}

#[tokio::test]
async fn a_member_that_stays_silent_is_gone_without_and_owed_nothing() {
    let site = Site::closed();
    let holder = Holder::of(&site);
    let refused = holder.take(Without::These(&[])).await.unwrap_err();
    assert_eq!(refused.code, Code::PeerUnreachable);
    let mut held = holder.take(Without::Any).await.unwrap();
    held.committing().await.unwrap();
    assert_eq!(holder.owed(), 0);
}
