//! The domains' own checkers, run on a tree that is not live yet.

mod confine;

use std::process::Stdio;
use std::time::Duration;

use reinstate_api::{Code, Failure, one_line};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

pub use confine::{Tree, confine, confined};

use crate::domain::{Domain, Domains};
use crate::platform::Program;
use crate::profile::Profile;

/// What a checker may say that is shown: 4 KiB.
const MAX_OUTPUT: u64 = 4 << 10;

/// Runs the checker of every domain that has one; answers with what they refuse.
pub async fn validate(
    program: &Program,
    profile: &Profile,
    domains: &Domains,
    tree: Tree,
) -> Result<Vec<(String, Failure)>, Failure> {
    let mut refused = Vec::new();
    for domain in domains.stored().filter(|domain| !domain.validate.is_empty()) {
        if let Err(failure) = check(program, profile, domain, tree).await? {
            refused.push((domain.name.clone(), failure));
        }
    }
    Ok(refused)
}

async fn check(
    program: &Program,
    profile: &Profile,
    domain: &Domain,
    tree: Tree,
) -> Result<Result<(), Failure>, Failure> {
    let (name, checker) = (&domain.name, &domain.validate[0]);
    let (first, words) = program
        .prefix
        .split_first()
        .ok_or_else(|| Failure::new(Code::Internal, "the agent does not know its own program"))?;
    let cannot = |e: std::io::Error| Failure::io(format_args!("cannot run {checker}"), &e);
    let mut child = Command::new(first)
        .args(words)
        .arg("--root")
        .arg(&program.root)
        .args(["confine", &tree.to_string(), name])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(cannot)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let run = async {
        let (said, complained) = tokio::join!(drain(stdout), drain(stderr));
        let status = child.wait().await?;
        Ok::<_, std::io::Error>((status, if complained.trim().is_empty() { said } else { complained }))
    };
    let refuse = |why: String| {
        Failure::new(Code::ValidationFailed, format!("domain '{name}': {checker} {why}")).hint(
            "the configuration in the backup is not one that this software accepts; nothing was changed",
        )
    };
    let limit = profile.validators.time_limit;
    match tokio::time::timeout(Duration::from_secs(limit), run).await {
        Err(_) => Ok(Err(refuse(format!("did not end within {limit} s")))),
        Ok(Err(error)) => Err(cannot(error)),
        Ok(Ok((status, _))) if status.success() => Ok(Ok(())),
        Ok(Ok((status, said))) => Ok(Err(refuse(format!("does not accept it ({status}): {}", said.trim())))),
    }
}

/// The first of what a checker says; the rest is read and thrown away, so that it never waits.
async fn drain(from: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut said = Vec::new();
    let read = (&mut from).take(MAX_OUTPUT).read_to_end(&mut said).await;
    if read.is_ok() {
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    let lines: Vec<_> = String::from_utf8_lossy(&said).lines().map(|line| one_line(line.trim())).collect();
    lines.join("; ")
}
