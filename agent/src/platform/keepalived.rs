//! keepalived as the HA engine: asked by a signal, it writes what it knows of its VRRP instances to a file.

use std::time::{Duration, Instant};

use reinstate_api::{Code, Failure, HaState};
use serde::Deserialize;

use super::systemd;
use crate::files::{Folder, found};
use crate::tree::TreePath;

/// What `keepalived --signum=JSON` says.
const SIGNAL: &str = "RTMIN+2";

/// It writes about 1 KiB for each instance.
const MAX_BYTES: u64 = 4 << 20;

/// For the file to be there and whole, and between two looks.
const ANSWERING: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(20);

/// VRRP's states, as keepalived numbers them.
const BACKUP: i64 = 1;
const MASTER: i64 = 2;
const FAULT: i64 = 3;

/// With `json_version 2` it is a list in an object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    List(Vec<Instance>),
    Named { vrrp: Vec<Instance> },
}

#[derive(Deserialize)]
struct Instance {
    data: InstanceData,
}

#[derive(Deserialize)]
struct InstanceData {
    state: i64,
}

/// Asks the keepalived of this unit, which writes to `data`. Unknown where it does not run.
///
/// # Errors
/// `unhealthy` where it runs and does not say.
pub fn state(root: &Folder, unit: &str, data: &TreePath) -> Result<HaState, Failure> {
    // Only what is written after the signal counts.
    root.remove_if_there(data)?;
    if !systemd::signal(unit, SIGNAL)? {
        return Ok(HaState::Unknown);
    }
    let until = Instant::now() + ANSWERING;
    loop {
        let said = found(root.read_in_root(data, MAX_BYTES))?;
        if let Some(state) = said.and_then(|bytes| parse(&bytes)) {
            return Ok(state);
        }
        if Instant::now() > until {
            let waited = ANSWERING.as_secs();
            return Err(Failure::new(
                Code::Unhealthy,
                format!("{unit} runs, and has not written its state to {data} within {waited} s"),
            )
            .hint("it needs a VRRP instance, and TMPDIR in its environment must be that file's folder"));
        }
        std::thread::sleep(LOOK);
    }
}

/// Of all instances together; none while the file is not whole.
fn parse(bytes: &[u8]) -> Option<HaState> {
    let (Data::List(instances) | Data::Named { vrrp: instances }) = serde_json::from_slice(bytes).ok()?;
    let any = |state| instances.iter().any(|instance| instance.data.state == state);
    Some(match () {
        () if any(MASTER) => HaState::Active,
        () if any(FAULT) => HaState::Fault,
        () if any(BACKUP) => HaState::Standby,
        () => HaState::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(states: &[i64]) -> String {
        let instance = |state: &i64| format!(r#"{{"data":{{"iname":"x","state":{state}}},"stats":{{}}}}"#);
        format!("[{}]", states.iter().map(instance).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn a_member_is_active_by_one_instance_and_standby_only_without_a_fault() {
        for (states, expected) in [
            (&[1, 2, 3][..], HaState::Active),
            (&[1, 3], HaState::Fault),
            (&[0, 1], HaState::Standby),
            (&[0], HaState::Unknown),
            (&[], HaState::Unknown),
        ] {
            let list = written(states);
            assert_eq!(parse(list.as_bytes()), Some(expected), "{states:?}");
            assert_eq!(parse(format!(r#"{{"vrrp":{list}}}"#).as_bytes()), Some(expected), "{states:?}");
        }
    }

    #[test]
    fn what_is_not_written_to_its_end_says_nothing() {
        let whole = written(&[2]);
        for end in 0..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..end]), None, "{end} bytes");
        }
    }
}
