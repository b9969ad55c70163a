//! Networks for a trial: each thread has one of its own, and what it runs is in it too.

use std::net::IpAddr;
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use reinstate_api::{Code, Failure, one_line};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// This thread leaves its network for an empty one.
pub(super) fn leave() -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| {
        Failure::io("a network to try the firewall in cannot be made", &e.into())
            .hint("the kernel must allow network namespaces to the agent")
    })
}

/// Has `ip` carry out lines.
pub(super) async fn ip(lines: &[String], limit: Duration) -> Result<(), Failure> {
    let cannot = |why: String| {
        Failure::new(Code::Internal, format!("the network to try the firewall in cannot be made: {why}"))
            .hint("the image must have iproute2")
    };
    let done = run("ip", &["-batch", "-"], lines.join("\n").into_bytes(), limit).await.map_err(cannot)?;
    match done.status.success() {
        true => Ok(()),
        false => Err(cannot(complaint(&done))),
    }
}

/// Runs one of the image's programs to its end.
pub(super) async fn run(
    program: &str,
    args: &[&str],
    input: Vec<u8>,
    limit: Duration,
) -> Result<Output, String> {
    let cannot = |e: std::io::Error| format!("cannot run {program}: {e}");
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(cannot)?;
    let stdin = child.stdin.take();
    let run = async {
        if let Some(mut stdin) = stdin {
            // One that has ended already says why.
            let _ = stdin.write_all(&input).await;
        }
        child.wait_with_output().await
    };
    let ended = tokio::time::timeout(limit, run).await;
    ended.map_err(|_| format!("{program} did not end within {} s", limit.as_secs()))?.map_err(cannot)
}

/// What a program that failed has said: one line.
pub(super) fn complaint(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.map(one_line).collect();
    format!("{} ({})", lines.join("; "), output.status)
}

/// An address alone, whatever network it is of: `198.51.100.2/32`.
pub(super) fn alone(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

/// Lines by which an interface has these addresses, and reaches those.
pub(super) fn placing<'a>(
    interface: &'a str,
    here: impl Iterator<Item = IpAddr> + 'a,
    there: impl Iterator<Item = IpAddr> + 'a,
) -> impl Iterator<Item = String> + 'a {
    // Nobody else can have the address: that need not be waited for.
    let has = here.map(move |address| {
        let at_once = if address.is_ipv4() { "" } else { " nodad" };
        format!("address add {} dev {interface}{at_once}", alone(address))
    });
    let up = std::iter::once(format!("link set {interface} up"));
    has.chain(up).chain(there.map(move |address| format!("route add {} dev {interface}", alone(address))))
}
