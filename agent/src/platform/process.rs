//! The short processes that do what needs rights.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use reinstate_api::{Code, Failure, one_line};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use zeroize::Zeroizing;

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
        self.run_with(verb, values, &[]).await
    }

    /// Like `run`, for a verb that reads a value on its standard input: it may hold secrets.
    pub async fn tell<T: DeserializeOwned>(&self, verb: &str, value: &impl Serialize) -> Result<T, Failure> {
        // Large enough for most, so that no copy stays behind where the buffer grew.
        let mut input = Zeroizing::new(Vec::with_capacity(64 << 10));
        serde_json::to_writer(&mut *input, value)
            .map_err(|e| Failure::new(Code::Internal, format!("`reinstated {verb}` cannot be asked: {e}")))?;
        self.run_with(verb, &[], &input).await
    }

    async fn run_with<T: DeserializeOwned>(
        &self,
        verb: &str,
        values: &[String],
        input: &[u8],
    ) -> Result<T, Failure> {
        let broken = |why: String| Failure::new(Code::Internal, format!("`reinstated {verb}` {why}"));
        let (program, words) = self.prefix.split_first().ok_or_else(|| broken("has no program".into()))?;
        let mut child = Command::new(program)
            .args(words)
            .arg("--root")
            .arg(&self.root)
            .arg(verb)
            .args(values)
            .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Failure::io(format_args!("cannot start `reinstated {verb}`"), &e))?;
        let stdout = child.stdout.take().ok_or_else(|| broken("has no output".into()))?;
        let stdin = child.stdin.take();
        let mut answer = Vec::new();
        let run = async {
            if let Some(mut stdin) = stdin {
                stdin.write_all(input).await?;
            }
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
