//! The shell's own walls: an empty environment, no core dump, nobody looks into it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// Where programs of the image are.
pub const PATH: &str = "/usr/sbin:/usr/bin";

/// What stays of the environment: which terminal this is, and whether it is far away.
const KEPT: [&str; 3] = ["TERM", "SSH_CONNECTION", "PATH"];

/// Starts this program once more where its environment holds anything else: an environment is read by
/// libraries too, and can only be emptied before a program starts.
///
/// # Errors
/// The program cannot be started again.
pub fn scrub() -> std::io::Result<()> {
    let is_kept = |name: &OsString| KEPT.iter().any(|kept| name == kept);
    let path_is_ours = std::env::var_os("PATH").is_none_or(|path| path == PATH);
    if path_is_ours && std::env::vars_os().all(|(name, _)| is_kept(&name)) {
        return Ok(());
    }
    let mut again = Command::new("/proc/self/exe");
    again.env_clear().env("PATH", PATH);
    again.envs(std::env::vars_os().filter(|(name, _)| is_kept(name) && name != "PATH"));
    // All of them, also those that a program of several names has taken before.
    let mut args = std::env::args_os();
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    again.args(args);
    Err(again.exec())
}

/// No core dump holds what was typed, and no process of the same user reads it.
///
/// # Errors
/// The kernel refuses.
pub fn close() -> nix::Result<()> {
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}

/// No program that this one starts gains rights.
pub fn no_new_rights() {
    // Refused only by kernels before 3.5.
    let _ = prctl::set_no_new_privs();
}
