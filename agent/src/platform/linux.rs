//! A real appliance: systemd starts what needs rights, logind reboots.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reinstate_api::{Created, Failure, HaState, InterfaceView, JobKind, UserView};

use super::{Platform, Program, Requests};
use crate::checkin::{Answer, Credentials, Telling};
use crate::facts::Facts;
use crate::failover_address::FailoverAddress;
use crate::firewall::{self, Connection, Trial};
use crate::link;
use crate::peers::Membership;
use crate::peers::fleet::Service;
use crate::probe::{Found, Probe};
use crate::tree::{Entry, Index};
use crate::validate::Tree;

/// Who does what needs root's rights, who runs checkers on what is not trusted, and who speaks on links.
const ROOT: &str = "/run/reinstate/root.sock";
const CHECK: &str = "/run/reinstate/check.sock";
const NETWORK: &str = "/run/reinstate/network.sock";

/// A real appliance.
pub struct Linux {
    root: Requests,
    check: Requests,
    network: Requests,
    /// The agent itself: all that the daemon may execute.
    program: Program,
    /// The management interface's logical name.
    management: String,
}

impl Linux {
    pub fn new(program: Program, management: String) -> Self {
        let [root, check, network] = [ROOT, CHECK, NETWORK].map(Requests::new);
        Self { root, check, network, program, management }
    }
}

impl Platform for Linux {
    fn facts(&self) -> BoxFuture<'_, Result<Facts, Failure>> {
        self.root.run("facts", &[]).boxed()
    }

    fn scan(&self) -> BoxFuture<'_, Result<Index, Failure>> {
        async {
            let lines: Vec<(String, Entry)> = self.root.run("scan", &[]).await?;
            Ok(Index::from_lines(lines))
        }
        .boxed()
    }

    fn snapshot(&self, number: u64, origin: String) -> BoxFuture<'_, Result<(), Failure>> {
        async move { self.root.run("snapshot", &[number.to_string(), origin]).await }.boxed()
    }

    fn validate(&self, number: u64) -> BoxFuture<'_, Result<Vec<Failure>, Failure>> {
        async move { self.check.run("validate", &[number.to_string()]).await }.boxed()
    }

    fn admits(&self, tree: Tree, connections: &[Connection]) -> BoxFuture<'_, Result<Trial, Failure>> {
        let values = firewall::words(tree, connections);
        async move { self.check.run("admits", &values).await }.boxed()
    }

    fn activate_now(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.root.run("activate-now", &[]).boxed()
    }

    fn import(&self, file: Option<String>) -> BoxFuture<'_, Result<Created, Failure>> {
        async move { self.root.run("import", &Vec::from_iter(file)).await }.boxed()
    }

    fn reboot(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.root.run("reboot", &[]).boxed()
    }

    fn restart(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.root.run("restart", &[]).boxed()
    }

    fn power_off(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.root.run("power-off", &[]).boxed()
    }

    fn warn(&self, seconds: u64, kind: JobKind) -> BoxFuture<'_, Result<(), Failure>> {
        let values = [seconds.to_string(), kind.to_string()];
        async move { self.root.run("warn", &values).await }.boxed()
    }

    fn inactive_units(&self, units: &[String]) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        let units = units.to_vec();
        async move { self.root.run("inactive", &units).await }.boxed()
    }

    /// Configured is what counts: without a carrier an address is there all the same.
    fn management_addresses(&self) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        async {
            let facts = self.facts().await?;
            let interfaces = &facts.hardware.interfaces;
            let kernel = interfaces.iter().find(|interface| interface.name == self.management);
            let kernel = kernel.map_or(self.management.as_str(), |interface| &interface.kernel);
            link::addresses(kernel)
        }
        .boxed()
    }

    fn addresses(&self, interface: &InterfaceView) -> Result<Vec<String>, Failure> {
        link::addresses(&interface.kernel)
    }

    fn people(&self) -> BoxFuture<'_, Result<Vec<UserView>, Failure>> {
        self.root.run("people", &[]).boxed()
    }

    fn log(&self, lines: usize) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        async move { self.root.run("log", &[lines.to_string()]).await }.boxed()
    }

    fn membership(&self) -> BoxFuture<'_, Result<Option<Membership>, Failure>> {
        self.root.run("membership", &[]).boxed()
    }

    fn lock_service(&self) -> BoxFuture<'_, Result<Option<Service>, Failure>> {
        self.root.run("lock-service", &[]).boxed()
    }

    fn ha_state(&self) -> BoxFuture<'_, Result<HaState, Failure>> {
        self.root.run("ha-state", &[]).boxed()
    }

    fn probe(&self, wanted: Probe) -> BoxFuture<'_, Result<Vec<Found>, Failure>> {
        async move { self.network.run("probe", &wanted.words()).await }.boxed()
    }

    fn failover_address(&self, change: FailoverAddress) -> BoxFuture<'_, Result<(), Failure>> {
        async move { self.network.run("failover-address", &change.words()).await }.boxed()
    }

    fn resume_ha(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.root.run("ha-resume", &[]).boxed()
    }

    fn manager_credentials(&self) -> BoxFuture<'_, Result<Option<Credentials>, Failure>> {
        self.root.run("manager-credentials", &[]).boxed()
    }

    /// It needs the network, so it is the daemon's own child, with as little rights.
    fn tell_manager(&self, telling: Telling) -> BoxFuture<'_, Result<Answer, Failure>> {
        async move { self.program.tell("tell-manager", &telling).await }.boxed()
    }
}
