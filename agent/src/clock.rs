//! The time here, and how far it is to be trusted.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use reinstate_api::{Failure, Time, one_line};

use crate::files::{Folder, Kind, found};

/// The link that says which zone it is.
const ZONE: &str = "etc/localtime";

/// What comes before a zone's name in that link.
const ZONES: &str = "zoneinfo/";

/// systemd-timesyncd's folder while it runs, and what it makes there once a server has set the clock.
const SYNCHRONIZER: &str = "run/systemd/timesync";
const SYNCHRONIZED: &str = "run/systemd/timesync/synchronized";

/// The longest name of a zone that is shown.
const MAX_ZONE: usize = 100;

/// Seconds since the kernel's start.
pub fn uptime() -> Result<u64, Failure> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_err(|errno| Failure::io("cannot read the clock", &errno.into()))?;
    Ok(now.tv_sec().unsigned_abs())
}

pub fn read(root: &Folder) -> Result<Time, Failure> {
    let synchronized = match found(root.stat(SYNCHRONIZED))? {
        Some(_) => Some(true),
        None => found(root.stat(SYNCHRONIZER))?.map(|_| false),
    };
    Ok(Time { now: Timestamp::now(), zone: zone(root)?, synchronized, uptime: uptime()? })
}

fn zone(root: &Folder) -> Result<String, Failure> {
    // A copy in the link's place has no name.
    let target = match found(root.stat(ZONE))?.map(|stat| stat.kind) {
        Some(Kind::Link) => root.read_link(ZONE)?,
        _ => return Ok("UTC".into()),
    };
    let target = target.to_string_lossy();
    let name = target.rsplit_once(ZONES).map_or("", |(_, name)| name);
    Ok(match name {
        "" => "UTC".into(),
        name => one_line(&name.chars().take(MAX_ZONE).collect::<String>()),
    })
}
