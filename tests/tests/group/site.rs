//! One member's endpoint on loopback, without an appliance behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reinstate_agent::archive::HaGroup;
use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::lock::LockFile;
use reinstate_agent::peers::{Backend, Door, HaState, Identity, Membership, Serving, Session, serve};
use reinstate_api::{Lock, Phase, Role, Secret};
use reinstate_tests::group::Roster;
use tempfile::TempDir;
use uuid::Uuid;

/// Member 0 serves; member 1 is who comes.
pub struct Site {
    pub roster: Roster,
    pub port: u16,
    pub lock: LockFile,
    pub place: TempDir,
    serving: Option<Serving>,
}

impl Site {
    pub async fn open() -> Self {
        let mut site = Self::closed();
        site.serve().await;
        site
    }

    /// Nothing answers yet.
    pub fn closed() -> Self {
        let roster = Roster::new("edge", &[Role::Primary, Role::Secondary]);
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path(), Arc::new(Direct)).unwrap();
        let lock = LockFile::new(folder);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { roster, port, lock, place, serving: None }
    }

    pub async fn serve(&mut self) {
        self.serve_as(self.identity().to_bytes().unwrap()).await;
    }

    /// With this for an identity.
    pub async fn serve_as(&mut self, identity: Vec<u8>) {
        let group: HaGroup = toml::from_str(&self.roster.text()).unwrap();
        let membership = Membership {
            group,
            key: Secret::new(self.roster.key.clone()),
            host_key: Secret::new(self.roster.members[0].host_key.0.clone()),
        };
        let backend = Backend {
            lock: self.lock.clone(),
            identity: Arc::new(move || Ok(identity.clone())),
            changed: Arc::new(|| {}),
            members: Arc::new(vec![self.roster.members[1].uuid.clone()]),
        };
        self.serving = Some(serve(&membership, vec!["lo".into()], self.port, backend).unwrap());
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the endpoint does not answer");
    }

    /// What it serves of itself: nothing runs there.
    pub fn identity(&self) -> Identity {
        let member = &self.roster.members[0];
        Identity {
            format: Identity::FORMAT,
            instance: Uuid::nil(),
            device: member.uuid.clone(),
            hostname: member.hostname.clone(),
            role: member.role,
            state: HaState::Unknown,
            group: self.roster.name.clone(),
            over: Vec::new(),
            running: None,
            roles: BTreeMap::new(),
            overrides: Vec::new(),
        }
    }

    /// No new session; those that are open go on.
    pub fn end(&mut self) {
        self.serving = None;
    }

    pub fn door(&self) -> Door {
        let member = &self.roster.members[0];
        Door {
            device: member.uuid.clone(),
            hostname: member.hostname.clone(),
            role: member.role,
            addresses: vec!["127.0.0.1".parse().unwrap()],
            host_keys: vec![member.host_key.1.clone()],
        }
    }

    pub async fn session(&self) -> Session {
        let keys = [Secret::new(self.roster.key.clone())];
        Session::open(&self.door(), self.port, &keys).await.unwrap()
    }

    pub fn a_lock(&self) -> Lock {
        Lock {
            id: Uuid::new_v4(),
            device: self.roster.members[1].uuid.clone(),
            hostname: "fw-b".into(),
            by: "admin".into(),
            since: Timestamp::now(),
            phase: Phase::Locking,
            without: Vec::new(),
        }
    }
}
