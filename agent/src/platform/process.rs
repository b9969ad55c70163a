//! The short processes that do what needs rights.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use reinstate_api::{Code, Failure, one_line};
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// What one may answer: an index of the largest configuration fits.
pub(super) const MAX_ANSWER: u64 = 64 << 20;

/// Longer than the largest configuration takes to be copied.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// How the agent starts its own verbs: the program and the words before the verb.
#[derive(Clone, Debug)]
pub struct Program {
    pub prefix: Vec<OsString>,
    pub root: PathBuf,
}

impl Program {
    /// Runs a verb to its end. It answers with JSON on its standard output: the value, which may be
    /// left out where there is none to give, or the failure and a non-zero status.
    pub async fn run<T: DeserializeOwned>(&self, verb: &str, values: &[String]) -> Result<T, Failure> {
        let broken = |why: String| Failure::new(Code::Internal, format!("`reinstated {verb}` {why}"));
        let (program, words) = self.prefix.split_first().ok_or_else(|| broken("has no program".into()))?;
        let mut child = Command::new(program)
            .args(words)
            .arg("--root")
            .arg(&self.root)
            .arg(verb)
            .args(values)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Failure::io(format_args!("cannot start `reinstated {verb}`"), &e))?;
        let stdout = child.stdout.take().ok_or_else(|| broken("has no output".into()))?;
        let mut answer = Vec::new();
        let run = async {
            stdout.take(MAX_ANSWER).read_to_end(&mut answer).await?;
            child.wait().await
        };
        let status = tokio::time::timeout(TIME_LIMIT, run)
            .await
            .map_err(|_| broken(format!("did not end within {} s", TIME_LIMIT.as_secs())))?
            .map_err(|e| Failure::io(format_args!("`reinstated {verb}`"), &e))?;
        if status.success() {
            let answer = if answer.is_empty() { b"null" } else { &answer[..] };
            return serde_json::from_slice(answer).map_err(|e| broken(format!("answered with no JSON: {e}")));
        }
        Err(serde_json::from_slice::<Failure>(&answer)
            .unwrap_or_else(|_| broken(one_line(&format!("ended with {status}")))))
    }
}
