//! A sandbox: a folder as root, a restart as reboot.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reinstate_api::{Created, Failure, HaState, InterfaceView, JobKind, UserView};

use super::{Platform, Program};
use crate::checkin::{Answer, Credentials, Telling};
use crate::facts::Facts;
use crate::failover_address::FailoverAddress;
use crate::files::Folder;
use crate::firewall::{self, Connection, Trial};
use crate::peers::Membership;
use crate::peers::fleet::Service;
use crate::probe::{Found, Probe};
use crate::tree::{Entry, Index};
use crate::validate::Tree;

/// The file by which a sandbox's agent asks whoever started it for a restart.
pub const REBOOT: &str = "run/reinstate/reboot";

/// The file by which it asks to be switched off.
pub const POWER_OFF: &str = "run/reinstate/power-off";

/// A folder as root, a restart as reboot.
///
/// There is no kernel to ask for addresses and no systemd to ask for units here. A unit counts as
/// active if the validators of the domains that name it accept the live configuration, and the
/// management interface has the addresses that the live configuration gives it; both can fail. Links are asked where
/// this machine has an interface of the name and the MAC address that the sandbox's has.
pub struct Sandbox {
    program: Program,
    root: Folder,
}

impl Sandbox {
    pub fn new(program: Program, root: Folder) -> Self {
        Self { program, root }
    }

    async fn ask(&self, file: &str) -> Result<(), Failure> {
        self.root.make_folders("run/reinstate", 0o755)?;
        Ok(self.root.replace(file, b"", 0o644)?)
    }
}

impl Platform for Sandbox {
    fn facts(&self) -> BoxFuture<'_, Result<Facts, Failure>> {
        self.program.run("facts", &[]).boxed()
    }

    fn scan(&self) -> BoxFuture<'_, Result<Index, Failure>> {
        async {
            let lines: Vec<(String, Entry)> = self.program.run("scan", &[]).await?;
            Ok(Index::from_lines(lines))
        }
        .boxed()
    }

    fn snapshot(&self, number: u64, origin: String) -> BoxFuture<'_, Result<(), Failure>> {
        async move { self.program.run("snapshot", &[number.to_string(), origin]).await }.boxed()
    }

    fn validate(&self, number: u64) -> BoxFuture<'_, Result<Vec<Failure>, Failure>> {
        async move { self.program.run("validate", &[number.to_string()]).await }.boxed()
    }

    fn admits(&self, tree: Tree, connections: &[Connection]) -> BoxFuture<'_, Result<Trial, Failure>> {
        let values = firewall::words(tree, connections);
        async move { self.program.run("admits", &values).await }.boxed()
    }

    fn activate_now(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.program.run("activate", &[]).boxed()
    }

    fn import(&self, file: Option<String>) -> BoxFuture<'_, Result<Created, Failure>> {
        async move { self.program.run("import", &Vec::from_iter(file)).await }.boxed()
    }

    fn reboot(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.ask(REBOOT).boxed()
    }

    fn restart(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.ask(REBOOT).boxed()
    }

    fn power_off(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.ask(POWER_OFF).boxed()
    }

    /// A folder has no sessions.
    fn warn(&self, _: u64, _: JobKind) -> BoxFuture<'_, Result<(), Failure>> {
        async { Ok(()) }.boxed()
    }

    fn inactive_units(&self, units: &[String]) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        let wanted: BTreeSet<String> = units.iter().cloned().collect();
        async move {
            let failed: Vec<(String, Failure)> = self.program.run("units", &[]).await?;
            let inactive = failed.into_iter().filter(|(unit, _)| wanted.contains(unit));
            Ok(inactive.map(|(unit, why)| format!("{unit} ({why})")).collect())
        }
        .boxed()
    }

    fn management_addresses(&self) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        async { Ok(self.facts().await?.device.management) }.boxed()
    }

    /// Those that it is configured with: there is no server to give any.
    fn addresses(&self, interface: &InterfaceView) -> Result<Vec<String>, Failure> {
        let InterfaceView { kernel, ipv4, ipv6, .. } = interface;
        let there = [ipv4, ipv6].into_iter().filter(|_| !kernel.is_empty());
        Ok(there.flat_map(|addressing| addressing.addresses.clone()).collect())
    }

    fn people(&self) -> BoxFuture<'_, Result<Vec<UserView>, Failure>> {
        self.program.run("people", &[]).boxed()
    }

    fn log(&self, lines: usize) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        async move { self.program.run("log", &[lines.to_string()]).await }.boxed()
    }

    fn membership(&self) -> BoxFuture<'_, Result<Option<Membership>, Failure>> {
        self.program.run("membership", &[]).boxed()
    }

    fn lock_service(&self) -> BoxFuture<'_, Result<Option<Service>, Failure>> {
        self.program.run("lock-service", &[]).boxed()
    }

    fn ha_state(&self) -> BoxFuture<'_, Result<HaState, Failure>> {
        self.program.run("ha-state", &[]).boxed()
    }

    fn probe(&self, wanted: Probe) -> BoxFuture<'_, Result<Vec<Found>, Failure>> {
        async move { self.program.run("probe", &wanted.words()).await }.boxed()
    }

    fn failover_address(&self, change: FailoverAddress) -> BoxFuture<'_, Result<(), Failure>> {
        async move { self.program.run("failover-address", &change.words()).await }.boxed()
    }

    fn resume_ha(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.program.run("ha-resume", &[]).boxed()
    }

    fn manager_credentials(&self) -> BoxFuture<'_, Result<Option<Credentials>, Failure>> {
        self.program.run("manager-credentials", &[]).boxed()
    }

    fn tell_manager(&self, telling: Telling) -> BoxFuture<'_, Result<Answer, Failure>> {
        async move { self.program.tell("tell-manager", &telling).await }.boxed()
    }
}
