//! What root's short processes ask systemd for.

use std::path::Path;
use std::time::{Duration, Instant};

use reinstate_api::{Code, Failure, one_line};

use crate::program;

/// Those of the units that are not active, each with its state.
pub fn inactive(units: &[String]) -> Result<Vec<String>, Failure> {
    let mut inactive = Vec::new();
    for unit in units {
        check_name(unit)?;
        // Its exit status says the same, and is no error.
        let state = run("systemctl", &["is-active", "--", unit])?.1;
        if state != "active" {
            inactive.push(format!("{unit} ({state})"));
        }
    }
    Ok(inactive)
}

/// Lets running units read their configuration again. One that cannot keeps no other from it.
pub fn reload(units: &[String]) -> Result<(), Failure> {
    let reload = |unit: &String| {
        check_name(unit)?;
        must("systemctl", &["try-reload-or-restart", "--", unit])
    };
    let reloaded: Vec<_> = units.iter().map(reload).collect();
    reloaded.into_iter().collect()
}

/// Has a unit run whatever was done to keep it from that, and read its configuration again where it does.
pub fn resume(unit: &str) -> Result<(), Failure> {
    check_name(unit)?;
    must("systemctl", &["unmask", "--", unit])?;
    // One that is masked until the next boot stays so otherwise.
    must("systemctl", &["unmask", "--runtime", "--", unit])?;
    // It is not loaded where it never failed.
    run("systemctl", &["reset-failed", "--", unit])?;
    must("systemctl", &["reload-or-restart", "--", unit])
}

/// Sends a signal to a unit's main process; false where it has none.
pub fn signal(unit: &str, signal: &str) -> Result<bool, Failure> {
    check_name(unit)?;
    let (known, process) = run("systemctl", &["show", "--property=MainPID", "--value", "--", unit])?;
    if !known || process == "0" {
        return Ok(false);
    }
    must("systemctl", &["kill", "--kill-whom=main", &format!("--signal={signal}"), "--", unit])?;
    Ok(true)
}

/// Reboots by way of logind, which tells every session why.
pub fn reboot(why: &str) -> Result<(), Failure> {
    must("shutdown", &["-r", "now", why])
}

/// Switches off, in the same way.
pub fn power_off(why: &str) -> Result<(), Failure> {
    must("shutdown", &["-P", "now", why])
}

/// What the agent's processes have logged last, oldest first.
pub fn log(count: usize) -> Result<Vec<String>, Failure> {
    let lines = format!("--lines={count}");
    // The name beside the pattern: with nothing that fits a pattern alone journalctl fails.
    let words = ["--unit=reinstated.service", "--unit=reinstate-*"];
    let fixed = ["--no-pager", "--quiet", "--output=short-iso"];
    program::last_lines("journalctl", &[&fixed[..], &words, &[lines.as_str()]].concat(), count)
}

/// The medium with the label REINSTATE, shown read-only for as long as this lives.
pub struct Medium(());

impl Medium {
    const UNIT: &str = "run-reinstate-medium.mount";
    const DEVICE: &str = "/dev/disk/by-label/REINSTATE";
    const KINDS: [&str; 5] = ["iso9660", "udf", "vfat", "exfat", "ext4"];

    /// At a boot a slow drive may be found later than everything else.
    pub fn wait_for(limit: Duration) {
        let until = Instant::now() + limit;
        while !Path::new(Self::DEVICE).exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// # Errors
    /// `not-found` where none is inserted.
    pub fn show() -> Result<Self, Failure> {
        if !Path::new(Self::DEVICE).exists() {
            return Err(Failure::new(Code::NotFound, "there is no medium with the label REINSTATE")
                .hint("insert one, or attach it to the virtual machine"));
        }
        // Nothing else of the kernel reads what somebody plugs in.
        // Where there is no udev, nobody plugs anything in.
        let words = ["info", "--query=property", "--property=ID_FS_TYPE", "--value", Self::DEVICE];
        let (known, kind) = run("udevadm", &words)?;
        if known && !Self::KINDS.contains(&kind.as_str()) {
            let kinds = Self::KINDS.join(", ");
            return Err(Failure::new(
                Code::BadRequest,
                format!("the medium's file system is '{kind}'; those that are read are {kinds}"),
            )
            .hint("copy the backup to a medium with one of them"));
        }
        must("systemctl", &["start", "--", Self::UNIT])?;
        Ok(Self(()))
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        if let Err(failure) = must("systemctl", &["stop", "--", Self::UNIT]) {
            tracing::warn!("{failure}");
        }
    }
}

fn check_name(unit: &str) -> Result<(), Failure> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "@._-:".contains(c);
    match !unit.is_empty() && !unit.starts_with('-') && unit.chars().all(fits) {
        true => Ok(()),
        false => Err(Failure::new(Code::BadRequest, format!("'{}' is no unit's name", one_line(unit)))),
    }
}

fn must(program: &str, words: &[&str]) -> Result<(), Failure> {
    let (success, said) = run(program, words)?;
    match success {
        true => Ok(()),
        false => Err(Failure::new(Code::Internal, format!("`{program} {}`: {said}", words.join(" ")))),
    }
}

fn run(name: &str, words: &[&str]) -> Result<(bool, String), Failure> {
    let output = program::run(name, words)?;
    let said = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    Ok((output.status.success(), one_line(String::from_utf8_lossy(said).trim())))
}
