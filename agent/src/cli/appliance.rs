//! One appliance, and what the program's verbs do to it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reinstate_api::{Code, Created, Failure, HaState, SOCKET, UserView};
use serde::Serialize;

use super::Work;
use crate::activate::{ACTIVATED, Activation, Done};
use crate::checkin::Credentials;
use crate::domain::Domains;
use crate::engine::{Engine, Parts};
use crate::facts::{self, Facts};
use crate::files::{Folder, Steps};
use crate::firewall::{self, Connection, Trial};
use crate::job::{Job, MAX_REBOOTS, Stage, Switch};
use crate::live;
use crate::log;
use crate::medium;
use crate::peers::Membership;
use crate::peers::fleet::Service;
use crate::people;
use crate::platform::{Linux, Platform, Program, Sandbox, keepalived, sessions, systemd};
use crate::probe::Found;
use crate::profile::{self, Profile};
use crate::server::{self, Readiness};
use crate::state::StateFile;
use crate::store::{About, Store};
use crate::tail;
use crate::tree::{Entry, Index};
use crate::validate::{self, Tree};
use crate::zero_touch;

/// The agent's own folder, below the root.
const STATE_FOLDER: &str = "var/lib/reinstate";

/// Where udev looks for what was decided at this boot.
const LINKS: &str = "run/systemd/network";

/// A medium that is found later than this at a boot is not looked at.
const MEDIUM: Duration = Duration::from_secs(10);

/// What sessions are told when the machine restarts.
const FAREWELL: &str = "This appliance restarts to complete a restore of its configuration.";
const RESTARTS: &str = "This appliance restarts: an admin has asked for it.";
const SWITCHES_OFF: &str = "This appliance is switched off: an admin has asked for it.";

/// What a verb answers with.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Reply {
    Nothing,
    Facts(Box<Facts>),
    Credentials(Option<Box<Credentials>>),
    Membership(Option<Box<Membership>>),
    LockService(Option<Service>),
    HaState(HaState),
    Index(Vec<(String, Entry)>),
    Failures(Vec<Failure>),
    Trial(Trial),
    Units(Vec<(String, Failure)>),
    Names(Vec<String>),
    People(Vec<UserView>),
    Created(Created),
    Found(Vec<Found>),
}

/// One appliance, with everything that a verb works on.
pub(super) struct Appliance {
    root: Folder,
    profile: Profile,
    domains: Domains,
    store: Store,
    state: StateFile,
}

impl Appliance {
    pub(super) fn open(root: &Path, steps: Arc<dyn Steps>) -> Result<Self, Vec<Failure>> {
        let one = |failure: Failure| vec![failure];
        let root = Folder::open(root, steps).map_err(|e| one(e.into()))?;
        let (profile, domains) = profile::load(&root)?;
        root.make_folders(STATE_FOLDER, 0o700).map_err(|e| one(e.into()))?;
        let folder = root.folder(STATE_FOLDER).and_then(Folder::for_its_owner).map_err(|e| one(e.into()))?;
        let store = Store::open(folder.clone()).map_err(one)?;
        Ok(Self { root, profile, domains, store, state: StateFile::new(folder) })
    }

    pub(super) fn run(self, work: Work, program: &Program) -> Result<Reply, Vec<Failure>> {
        let one = |failure: Failure| vec![failure];
        let nothing = |()| Reply::Nothing;
        let done = match work {
            Work::Serve => self.serve(program.clone()).map(nothing),
            Work::Activate => self.activate().map(nothing),
            Work::ActivateNow => self.activate_now().map(nothing),
            Work::Rescue => self.rescue().map(nothing),
            Work::Pending => self.pending().map(nothing),
            Work::Snapshot { number, origin } => self.snapshot(number, origin).map(nothing),
            Work::Facts => Facts::read(&self.root, &self.profile).map(|facts| Reply::Facts(Box::new(facts))),
            Work::ManagerCredentials => Credentials::read(&self.root, &self.profile)
                .map(|credentials| Reply::Credentials(credentials.map(Box::new))),
            Work::Membership => {
                self.membership().map(|membership| Reply::Membership(membership.map(Box::new)))
            }
            Work::LockService => Service::read(&self.root, &self.profile).map(Reply::LockService),
            Work::HaState => self.ha_state().map(Reply::HaState),
            Work::HaResume => self.ha_resume(program).map(nothing),
            Work::Scan => live::scan(&self.root, &self.domains).map(|index| {
                Reply::Index(index.iter().map(|(name, entry)| (name.to_owned(), entry.clone())).collect())
            }),
            Work::Validate(tree) => self
                .refused(program, tree)
                .map(|refused| Reply::Failures(refused.into_iter().map(|(_, failure)| failure).collect())),
            Work::Admits { tree, connections } => self.admits(tree, &connections).map(Reply::Trial),
            Work::Units => {
                self.refused(program, Tree::Live).map(|refused| Reply::Units(self.units(&refused)))
            }
            Work::Inactive(units) => systemd::inactive(&units).map(Reply::Names),
            Work::Import(file) => self.import(file).map(Reply::Created),
            Work::ZeroTouch => self.zero_touch().map(nothing),
            Work::People => people::read(&self.root, &self.domains).map(Reply::People),
            Work::Log { lines } => self.log(lines).map(Reply::Names),
            Work::Restart => systemd::reboot(RESTARTS).map(nothing),
            Work::PowerOff => systemd::power_off(SWITCHES_OFF).map(nothing),
            Work::Reboot => systemd::reboot(FAREWELL).map(nothing),
            Work::Warn { seconds, configured } => {
                sessions::warn(seconds, configured);
                Ok(Reply::Nothing)
            }
            Work::Confine { tree, domain } => Err(match self.domains.get(&domain) {
                None => Failure::new(Code::NotFound, format!("there is no domain '{domain}'")),
                Some(domain) => {
                    validate::confined(&self.root, &self.profile, &self.domains, &self.store, tree, domain)
                }
            }),
        };
        done.map_err(one)
    }

    fn membership(&self) -> Result<Option<Membership>, Failure> {
        match &self.profile.ha {
            Some(ha) => Membership::read(&self.root, ha),
            None => Ok(None),
        }
    }

    /// As the profile says where it is read; a word that is none of those known is as good as none.
    fn ha_state(&self) -> Result<HaState, Failure> {
        let Some(ha) = &self.profile.ha else { return Ok(HaState::Unknown) };
        let Some(reading) = &ha.state else {
            return match (&ha.unit, &ha.keepalived) {
                (Some(unit), Some(data)) if self.is_real() => keepalived::state(&self.root, unit, data),
                _ => Ok(HaState::Unknown),
            };
        };
        let said = facts::read(&self.root, reading)?.into_iter().next().unwrap_or_default();
        Ok(HaState::ALL.into_iter().find(|state| state.as_str() == said).unwrap_or_default())
    }

    /// In a sandbox, which has no units, the engine runs where its checker accepts the configuration.
    fn ha_resume(&self, program: &Program) -> Result<(), Failure> {
        let ha = self.profile.ha.as_ref();
        let unit = ha.and_then(|ha| ha.unit.as_ref()).ok_or_else(|| {
            Failure::new(Code::ProfileInvalid, "this appliance's profile names no HA engine (ha.unit)")
        })?;
        if self.membership()?.is_none() {
            let group = ha.map(|ha| ha.group.to_string()).unwrap_or_default();
            return Err(Failure::new(
                Code::NotFound,
                format!("this appliance is in no HA group: there is no {group}"),
            )
            .hint("configure high availability, or restore the backup of a member"));
        }
        let inactive = if self.is_real() {
            systemd::resume(unit)?;
            systemd::inactive(std::slice::from_ref(unit))?
        } else {
            let refused = self.units(&self.refused(program, Tree::Live)?);
            refused.into_iter().filter(|(name, _)| name == unit).map(|(_, why)| why.message).collect()
        };
        match inactive.first() {
            None => Ok(()),
            Some(state) => Err(Failure::new(
                Code::Unhealthy,
                format!("the HA engine {unit}: active is expected after it was resumed, it is {state}"),
            )
            .hint("look at its log and at the HA configuration, then resume again")),
        }
    }

    /// A sandbox's is the file that standard error goes to, which it shares with the daemon.
    fn log(&self, lines: usize) -> Result<Vec<String>, Failure> {
        if self.is_real() {
            return systemd::log(lines);
        }
        let cannot = |e: std::io::Error| Failure::io("cannot read the log", &e);
        let file = File::open("/proc/self/fd/2").map_err(cannot)?;
        match file.metadata().map_err(cannot)?.is_file() {
            true => tail::read(BufReader::new(file), lines).map_err(cannot),
            false => {
                Err(Failure::new(Code::NotFound, "the log is kept nowhere: it goes to a terminal or a pipe")
                    .hint("start the sandbox with its standard error in a file"))
            }
        }
    }

    fn is_real(&self) -> bool {
        self.root.path() == Path::new("/")
    }

    fn serve(self, program: Program) -> Result<(), Failure> {
        forbid_dumps()?;
        let _alone = self.store.only_daemon()?;
        let real = self.is_real();
        let Self { root, profile, domains, store, state } = self;
        let platform: Arc<dyn Platform> = match real {
            true => Arc::new(Linux::new(program, profile.management.interface.clone())),
            false => {
                root.make_folders("run/reinstate", 0o755)?;
                Arc::new(Sandbox::new(program, root.clone()))
            }
        };
        let socket = root.path().join(SOCKET);
        let engine = Engine::start(Parts { platform, profile, domains, root, store, state });
        block_on(async {
            let listener = server::listen(&socket)?;
            let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .map_err(|e| Failure::io("cannot listen for signals", &e))?;
            if let Err(failure) = engine.recover().await {
                log::error(&failure);
            }
            let readiness = Readiness::tell();
            tokio::select! {
                served = server::serve(engine, listener) => served,
                never = readiness.keep() => match never {},
                _ = terminated.recv() => Ok(()),
                _ = tokio::signal::ctrl_c() => Ok(()),
            }
        })
    }

    fn activation(&self) -> Activation<'_> {
        let Self { root, domains, store, state, .. } = self;
        Activation { root, domains, store, state }
    }

    fn activate(self) -> Result<(), Failure> {
        let _alone = self.store.alone()?;
        let tell = |text: &str| {
            if self.is_real() {
                log::tell_console(text)
            }
        };
        if let Some(Stage::Pending(switch)) = self.state.read()?.job.map(|job| job.stage) {
            tell(&format!("activating generation {}", switch.target));
        }
        match self.activation().run()? {
            Done::Nothing => tracing::debug!("nothing to activate"),
            Done::Activated(number) => {
                let done = format!("generation {number} is the live configuration");
                tracing::info!("{done}");
                tell(&done);
                let noted = self.root.make_folders("run/reinstate", 0o755);
                if let Err(error) = noted.and_then(|()| self.root.replace(ACTIVATED, b"", 0o644)) {
                    tracing::error!("{error}");
                }
            }
        }
        self.take_host_name()
    }

    fn activate_now(self) -> Result<(), Failure> {
        let _alone = self.store.alone()?;
        let changed = match self.state.read()?.job.map(|job| job.stage) {
            Some(Stage::Pending(switch)) => self.changed(&switch)?,
            _ => Vec::new(),
        };
        self.activation().run()?;
        // A name that the kernel does not take keeps no unit from its configuration.
        let named = self.take_host_name();
        if self.is_real() { systemd::reload(&changed).and(named) } else { named }
    }

    /// The units of the domains in which two generations differ.
    fn changed(&self, switch: &Switch) -> Result<Vec<String>, Failure> {
        let index = |number| self.store.generation(number)?.index();
        let (from, to): (Index, Index) = (index(switch.from)?, index(switch.target)?);
        let differ = self.domains.stored().filter(|d| from.domains.get(&d.name) != to.domains.get(&d.name));
        Ok(differ.flat_map(|domain| domain.units.clone()).collect())
    }

    /// The kernel has its name from before the activation.
    fn take_host_name(&self) -> Result<(), Failure> {
        let name =
            if self.is_real() { Facts::read(&self.root, &self.profile)?.device.hostname } else { "".into() };
        if name.is_empty() {
            return Ok(());
        }
        nix::unistd::sethostname(&name)
            .map_err(|e| Failure::io(format_args!("cannot set the host name {name}"), &e.into()))
    }

    /// For when the daemon does not come up: what it has not decided on is taken back.
    fn rescue(self) -> Result<(), Failure> {
        // A daemon that runs decides by itself.
        let Ok(_alone) = self.store.only_daemon() else { return Ok(()) };
        if self.state.read()?.job.is_none() {
            return Ok(());
        }
        let (undecided, reboots) = self.state.update(|state| {
            let Some(job) = state.job.take() else { return Ok((false, None)) };
            let undecided = matches!(&job.stage, Stage::Activated(switch) if switch.back.is_empty());
            let job = if undecided { job.go_back(vec![undecided_failure()])? } else { job };
            let waits = matches!(job.stage, Stage::Pending(_));
            state.job = Some(if waits { job.rebooting()? } else { job });
            Ok((undecided, waits.then(|| state.reboots())))
        })?;
        if undecided {
            log::error(&undecided_failure());
        }
        match reboots {
            None => Ok(()),
            Some(reboots) if reboots > MAX_REBOOTS => Err(Failure::new(
                Code::RebootFailed,
                format!("the agent does not run, and {MAX_REBOOTS} reboots have not helped"),
            )),
            Some(_) if self.is_real() => systemd::reboot(FAREWELL),
            Some(_) => Ok(()),
        }
    }

    fn import(self, file: Option<String>) -> Result<Created, Failure> {
        let _shown = if self.is_real() { Some(systemd::Medium::show()?) } else { None };
        medium::import(&self.root, file, self.profile.limits.bytes)
    }

    fn zero_touch(self) -> Result<(), Failure> {
        let Self { root, profile, domains, store, state } = &self;
        if !zero_touch::takes(root, profile, domains, store, &state.read()?)? {
            return Ok(());
        }
        if self.is_real() {
            systemd::Medium::wait_for(MEDIUM);
        }
        let shown = if self.is_real() { systemd::Medium::show().map(Some) } else { Ok(None) };
        if let Err(failure) = &shown {
            tracing::info!("{failure}");
        }
        zero_touch::run(root, profile.limits.bytes)
    }

    fn pending(self) -> Result<(), Failure> {
        match self.state.read()?.job {
            Some(Job {
                kind, id, stage: Stage::Pending(_) | Stage::Activated(_) | Stage::Broken(_), ..
            }) => Err(Failure::new(Code::Busy, format!("{kind} {id} is not complete yet"))
                .hint("wait until `show restore` says that it has ended")),
            _ => Ok(()),
        }
    }

    fn refused(&self, program: &Program, tree: Tree) -> Result<Vec<(String, Failure)>, Failure> {
        block_on(validate::validate(program, &self.profile, &self.domains, tree))
    }

    fn admits(&self, tree: Tree, connections: &[Connection]) -> Result<Trial, Failure> {
        let Self { root, profile, domains, store, .. } = self;
        let ground = firewall::Ground::of(profile, connections)?;
        if let Some(why) = ground.hidden(root, tree) {
            return Ok(Trial::NotLoaded(why));
        }
        validate::confine(root, profile, domains, store, tree)?;
        ground.try_out(connections)
    }

    fn units(&self, refused: &[(String, Failure)]) -> Vec<(String, Failure)> {
        let units =
            |name: &str| self.domains.get(name).map(|domain| domain.units.clone()).unwrap_or_default();
        refused
            .iter()
            .flat_map(|(name, failure)| units(name).into_iter().map(|unit| (unit, failure.clone())))
            .collect()
    }

    fn snapshot(self, number: u64, origin: String) -> Result<(), Failure> {
        let _alone = self.store.alone()?;
        let facts = Facts::read(&self.root, &self.profile)?;
        let mut draft = self.store.draft(&format!("snapshot-{number}"))?;
        live::snapshot(&self.root, &self.domains, &mut draft)?;
        draft.finish(About {
            number,
            created: Timestamp::now(),
            origin,
            device: facts.device,
            domains: &self.domains,
            archive: None,
        })?;
        Ok(())
    }
}

/// The kernel's names follow the order in which drivers load; these follow the bus. It runs before /var is there.
pub(super) fn name_interfaces(root: &Path, steps: Arc<dyn Steps>) -> Result<(), Vec<Failure>> {
    let one = |failure: Failure| vec![failure];
    let root = Folder::open(root, steps).map_err(|e| one(e.into()))?;
    let (profile, _) = profile::load(&root)?;
    root.make_folders(LINKS, 0o755).map_err(|e| one(e.into()))?;
    for (address, name) in facts::adapters(&root, &profile).map_err(one)? {
        let link = format!("[Match]\nPath=pci-{address}\n\n[Link]\nName={name}\n");
        let file = format!("{LINKS}/10-reinstate-{name}.link");
        root.replace(file, link.as_bytes(), 0o644).map_err(|e| one(e.into()))?;
    }
    Ok(())
}

fn undecided_failure() -> Failure {
    Failure::new(
        Code::Unhealthy,
        "the agent did not run after the restart, so nobody decided that it is healthy",
    )
    .hint("look at the log of reinstated.service")
}

/// Secrets pass through this process: no core dump, no other process of its account reads it.
pub(super) fn forbid_dumps() -> Result<(), Failure> {
    nix::sys::prctl::set_dumpable(false).map_err(|e| Failure::io("cannot forbid core dumps", &e.into()))
}

pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::io("cannot start the runtime", &e))?
        .block_on(work)
}
