//! A lock service in place of lock files: the FleetLock protocol, over TLS.

mod answer;
mod settings;
mod url;

use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use reinstate_api::{Code, Failure};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::backoff::Backoff;
use crate::https::Fault;
use settings::Settings;
use url::Url;

pub use answer::Answer;

/// What one attempt may take, from the name to the answer.
const ATTEMPT: Duration = Duration::from_secs(15);

/// A lock service, and the group whose lock is meant. It can be written down: a lock is released at the
/// service that granted it, whatever is configured by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
pub struct Service {
    settings: Settings,
    url: Url,
}

/// What is asked for, in the protocol's own words.
#[derive(Clone, Copy)]
enum Step {
    PreReboot,
    SteadyState,
}

impl Step {
    fn path(self) -> &'static str {
        match self {
            Self::PreReboot => "/v1/pre-reboot",
            Self::SteadyState => "/v1/steady-state",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::PreReboot => "grant",
            Self::SteadyState => "release",
        }
    }
}

/// An attempt in vain.
struct Unsettled {
    why: Failure,
    /// Asking again may end otherwise.
    may_change: bool,
}

impl Service {
    /// Asks once for the lock, which `id` may hold already: the device UUID of the member that restores, the
    /// same before and after its restart.
    ///
    /// # Errors
    /// `lock-service` where there is no answer within 15 s.
    pub async fn pre_reboot(&self, id: &str) -> Result<Answer, Failure> {
        self.ask(Step::PreReboot, id).await.map_err(|unsettled| unsettled.why)
    }

    /// Asks once for the release of the lock, which `id` may not hold any more. Another device's stays.
    ///
    /// # Errors
    /// `lock-service` where there is no answer within 15 s.
    pub async fn steady_state(&self, id: &str) -> Result<Answer, Failure> {
        self.ask(Step::SteadyState, id).await.map_err(|unsettled| unsettled.why)
    }

    /// Takes the lock. What may pass is asked again after the pauses of [`Backoff`], each told to `note`,
    /// and for the last time when `patience` is over; an attempt may take 15 s.
    ///
    /// # Errors
    /// `lock-held` where the service does not grant it (423 or 500), with its own words; `lock-service`
    /// where it does not answer, or anything else. Only the answer may be lost: the lock has to be released
    /// after either.
    pub async fn acquire(
        &self,
        id: &str,
        patience: Duration,
        note: &(dyn Fn(String) + Sync),
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let Unsettled { why, may_change } = match self.settle(Step::PreReboot, id).await {
                Ok(()) => return Ok(()),
                Err(unsettled) => unsettled,
            };
            let left = patience.saturating_sub(begun.elapsed());
            if !may_change || left.is_zero() {
                return Err(why);
            }
            let pause = backoff.pause().min(left);
            note(format!("{why}; it is asked again in {} s", pause.as_secs_f64().ceil()));
            tokio::time::sleep(pause).await;
        }
    }

    /// Releases the lock, in one attempt. Whoever owes a release repeats it, with the pauses of [`Backoff`],
    /// until it succeeds; not beside an attempt of the same device to take the lock.
    ///
    /// # Errors
    /// `lock-held` where another device holds the lock (some services say so), or the service's store is
    /// down; `lock-service` for the rest.
    pub async fn release(&self, id: &str) -> Result<(), Failure> {
        self.settle(Step::SteadyState, id).await.map_err(|unsettled| unsettled.why)
    }

    async fn settle(&self, step: Step, id: &str) -> Result<(), Unsettled> {
        let answer = self.ask(step, id).await?;
        if answer.is_success() {
            return Ok(());
        }
        let Settings { url, group, .. } = &self.settings;
        let what = format!("the lock service {url} does not {} the lock of group {group} to", step.verb());
        Err(Unsettled { why: answer.refusal(&format!("{what} {id}")), may_change: answer.may_change() })
    }

    async fn ask(&self, step: Step, id: &str) -> Result<Answer, Unsettled> {
        let server = self.url.server();
        let tls = match &self.settings.ca {
            Some(ca) if self.url.tls => Some(server.tls(ca, None).map_err(unanswered)?),
            _ => None,
        };
        let body = json!({ "client_params": { "id": id, "group": self.settings.group } });
        let request = Request::post(format!("{}{}", self.url.base, step.path()))
            .header("fleet-lock-protocol", "true")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|e| unanswered(Fault::Unusable(format!("the lock service's URL: {e}"))))?;
        let reply = server.ask(tls, request, ATTEMPT).await.map_err(unanswered)?;
        let answer = Answer::from(reply);
        let Settings { url, group, .. } = &self.settings;
        tracing::info!(url, group, id, "lock service: {}: {answer}", step.path());
        Ok(answer)
    }
}

fn unanswered(fault: Fault) -> Unsettled {
    let clock = "check this appliance's clock and the lock service's authority in the configuration";
    let (why, hint, may_change) = match fault {
        Fault::Unusable(why) | Fault::Unaccepted(why) => (why, settings::CORRECT, false),
        Fault::Untrusted(why) => (why, clock, false),
        Fault::Failed(why) => (why.message, "check the lock service, and the way to it", true),
    };
    Unsettled { why: Failure::new(Code::LockService, why).hint(hint), may_change }
}
