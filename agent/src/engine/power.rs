//! Restart and shutdown, as an admin wants them: never into a job.

use futures_util::future::BoxFuture;
use reinstate_api::Failure;

use super::flow::{FAREWELL, RESTART};
use super::{Engine, busy_with};
use crate::job::Stage;
use crate::platform::Platform;

impl Engine {
    /// # Errors
    /// `busy` while a job runs or waits for an answer, a confirmation or its own restart.
    pub fn restart(&self, by: &str) -> Result<(), Failure> {
        self.go_down(by, "restart", |platform| platform.restart())
    }

    /// # Errors
    /// As [`Engine::restart`].
    pub fn power_off(&self, by: &str) -> Result<(), Failure> {
        self.go_down(by, "shutdown", |platform| platform.power_off())
    }

    fn go_down(
        &self,
        by: &str,
        what: &'static str,
        ask: for<'p> fn(&'p dyn Platform) -> BoxFuture<'p, Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let alone = match self.parts().state.read()?.job {
            // Where neither configuration could be made whole, the next boot tries again.
            Some(job) if matches!(job.stage, Stage::Broken(_)) => None,
            Some(job) => return Err(busy_with(job.kind, job.id, job.phase())),
            None => Some(self.reserve()?),
        };
        tracing::warn!(by, "{what} asked for");
        let engine = self.clone();
        tokio::spawn(async move {
            // The answer is out before this process is ended.
            tokio::time::sleep(FAREWELL).await;
            let asked = ask(&*engine.parts().platform).await;
            // No job begins that the end of this process would break off.
            if asked.is_ok() && alone.is_some() {
                tokio::time::sleep(RESTART).await;
            }
            engine.log(&format!("the {what} that an admin asked for has not come"), asked);
            drop(alone);
        });
        Ok(())
    }
}
