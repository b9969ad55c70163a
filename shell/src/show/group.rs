//! The HA pair or the cluster that this appliance is a member of.

use reinstate_api::{GroupView, HaState, Role, Status};

use super::{DONE, Shown, field, lines};
use crate::Shell;
use crate::text::time;

pub fn pair(shell: &mut Shell) -> Shown {
    show(shell, false, "This appliance is in no high-availability pair.")
}

pub fn cluster(shell: &mut Shell) -> Shown {
    show(shell, true, "This appliance is in no cluster.")
}

fn show(shell: &mut Shell, cluster: bool, none: &str) -> Shown {
    let status: Status = shell.client.get("/v1/status")?;
    let is_cluster = |group: &GroupView| matches!(group.role, Role::Control | Role::Data);
    let Some(group) = status.group.filter(|group| is_cluster(group) == cluster) else {
        shell.console.line(none);
        return DONE;
    };
    field(shell, if cluster { "Cluster" } else { "Pair" }, &group.name);
    field(shell, "Role", group.role.as_str());
    field(shell, "State", group.state.as_str());
    let mut rows = vec![["Member", "Role", "State", "Addresses", "Asked"].map(str::to_owned).to_vec()];
    for member in group.members {
        let state = member.state.map_or("no answer", HaState::as_str).to_owned();
        let role = member.role.as_str().to_owned();
        rows.push(vec![member.hostname, role, state, member.addresses.join(", "), time(member.at)]);
    }
    lines(shell, &rows, &[])
}
