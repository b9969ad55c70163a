//! What differs between a real appliance and a sandbox.
//!
//! File code is the same in both: a sandbox is a folder that stands for `/`. What needs rights is
//! done by a short process of its own, which gets a verb and checked values and nothing else.

pub mod keepalived;
mod linux;
mod process;
pub mod request;
mod sandbox;
pub mod sessions;
pub mod systemd;

use futures_util::future::BoxFuture;
use reinstate_api::{Created, Failure, HaState, InterfaceView, JobKind, UserView};

pub use linux::Linux;
pub use process::Program;
pub use request::Requests;
pub use sandbox::Sandbox;

use crate::checkin::{Answer, Credentials, Telling};
use crate::facts::Facts;
use crate::failover_address::FailoverAddress;
use crate::firewall::{Connection, Trial};
use crate::peers::Membership;
use crate::peers::fleet::Service;
use crate::probe::{Found, Probe};
use crate::tree::Index;
use crate::validate::Tree;

/// What differs between a real appliance and a sandbox.
pub trait Platform: Send + Sync + 'static {
    /// What the appliance is at this moment.
    fn facts(&self) -> BoxFuture<'_, Result<Facts, Failure>>;

    /// The live configuration, listed and hashed.
    fn scan(&self) -> BoxFuture<'_, Result<Index, Failure>>;

    /// The live configuration becomes a generation.
    fn snapshot(&self, number: u64, origin: String) -> BoxFuture<'_, Result<(), Failure>>;

    /// Runs the validators of every domain of a generation; each failure names its domain.
    fn validate(&self, number: u64) -> BoxFuture<'_, Result<Vec<Failure>, Failure>>;

    /// Which of the connections that members of the HA group make the firewall of a tree does not let in.
    fn admits(&self, tree: Tree, connections: &[Connection]) -> BoxFuture<'_, Result<Trial, Failure>>;

    /// Makes the pending generation live without a reboot, and restarts what reads it.
    fn activate_now(&self) -> BoxFuture<'_, Result<(), Failure>>;

    /// Copies a backup from the medium into the backup folder.
    fn import(&self, file: Option<String>) -> BoxFuture<'_, Result<Created, Failure>>;

    /// Asks for a reboot and returns; the agent is ended by it.
    fn reboot(&self) -> BoxFuture<'_, Result<(), Failure>>;

    /// Asks for a restart that an admin wants, and returns; the agent is ended by it.
    fn restart(&self) -> BoxFuture<'_, Result<(), Failure>>;

    /// Asks for the power to be switched off, and returns; the agent is ended by it.
    fn power_off(&self) -> BoxFuture<'_, Result<(), Failure>>;

    /// Tells every session that so many seconds are left to confirm what such a job has changed.
    fn warn(&self, seconds: u64, kind: JobKind) -> BoxFuture<'_, Result<(), Failure>>;

    /// Critical units that are not active.
    fn inactive_units(&self, units: &[String]) -> BoxFuture<'_, Result<Vec<String>, Failure>>;

    /// The addresses that the management interface has.
    fn management_addresses(&self) -> BoxFuture<'_, Result<Vec<String>, Failure>>;

    /// The addresses that an interface has at this moment, with prefix lengths.
    fn addresses(&self, interface: &InterfaceView) -> Result<Vec<String>, Failure>;

    /// The people with an account.
    fn people(&self) -> BoxFuture<'_, Result<Vec<UserView>, Failure>>;

    /// The last lines that the agent has logged, oldest first.
    fn log(&self, lines: usize) -> BoxFuture<'_, Result<Vec<String>, Failure>>;

    /// The group that this appliance is a member of, with its keys; none where it is in none.
    fn membership(&self) -> BoxFuture<'_, Result<Option<Membership>, Failure>>;

    /// The lock service that is configured in place of lock files.
    fn lock_service(&self) -> BoxFuture<'_, Result<Option<Service>, Failure>>;

    /// What the HA engine says of this appliance.
    fn ha_state(&self) -> BoxFuture<'_, Result<HaState, Failure>>;
    /// Looks whether other devices on a link answer at addresses; takes some seconds.
    fn probe(&self, wanted: Probe) -> BoxFuture<'_, Result<Vec<Found>, Failure>>;

    /// Gives an interface an address for the time of a restore, or takes it away.
    fn failover_address(&self, change: FailoverAddress) -> BoxFuture<'_, Result<(), Failure>>;

    /// Has the HA engine run again, with the configuration that is live.
    fn resume_ha(&self) -> BoxFuture<'_, Result<(), Failure>>;

    /// With what the manager is spoken to; none where there is no manager that is told.
    fn manager_credentials(&self) -> BoxFuture<'_, Result<Option<Credentials>, Failure>>;

    /// One attempt to tell the manager, in a process with the daemon's own rights.
    fn tell_manager(&self, telling: Telling) -> BoxFuture<'_, Result<Answer, Failure>>;
}
