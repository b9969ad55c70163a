//! One job's hold on the engine: what it records, shows and asks.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reinstate_api::{
    Answer, Code, Failure, HistoryEntry, HostKey, JobView, Overridden, Phase, Question, QuestionKind, Secret,
};
use tokio::sync::{oneshot, watch};

use super::Engine;
use crate::fetch::Ask;
use crate::job::Job;

/// How many notes are kept for whoever watches.
const NOTES: usize = 1000;

/// One job's hold on the engine.
#[derive(Clone)]
pub struct Context {
    pub engine: Engine,
    pub job: Job,
    aborted: watch::Receiver<bool>,
}

impl Context {
    pub fn new(engine: Engine, job: Job, aborted: watch::Receiver<bool>) -> Self {
        Self { engine, job, aborted }
    }

    /// On record first, then in the view.
    pub fn advance(&self, to: Phase) -> Result<(), Failure> {
        self.still_wanted()?;
        self.record(|job| job.advance(to))
    }

    /// Makes a transition of the job, on the disk and in the view.
    pub fn record(&self, transition: impl FnOnce(Job) -> Result<Job, Failure>) -> Result<(), Failure> {
        let phase = self.engine.record(|state| {
            let job = transition(state.running()?)?;
            let phase = job.phase();
            state.job = Some(job);
            Ok(phase)
        })?;
        tracing::info!(id = %self.job.id, %phase, "phase");
        self.show(|view| view.phase = phase);
        Ok(())
    }

    pub fn show(&self, change: impl FnOnce(&mut JobView)) {
        self.engine.inner.view.send_modify(|status| {
            if let Some(view) = &mut status.job {
                change(view);
            }
        });
    }

    pub fn note(&self, note: impl Into<String>) {
        let note = note.into();
        tracing::info!(id = %self.job.id, "{note}");
        self.show(|view| {
            if view.notes.len() < NOTES {
                view.notes.push(note);
            }
        });
    }

    /// A note that stays on record, also with a job that has ended.
    pub fn keep_note(&self, note: impl Into<String>) {
        let note = note.into();
        self.note(note.clone());
        let kept = self.engine.record(|state| {
            let entry = state.history.iter_mut().find(|entry| entry.id == self.job.id);
            let running = state.job.as_mut().filter(|job| job.id == self.job.id);
            let notes = entry.map(|entry| &mut entry.notes).or(running.map(|job| &mut job.notes));
            if let Some(notes) = notes {
                notes.push(note);
            }
            Ok(())
        });
        self.engine.log("a note cannot be kept", kept);
        self.engine.refresh();
    }

    /// An admin goes on against what was found: on record first, then in the view.
    pub fn overridden(&self, overridden: Overridden) -> Result<(), Failure> {
        let note = format!("{}: {}", overridden.what, overridden.why);
        self.record(|job| job.overridden(overridden))?;
        self.note(note);
        Ok(())
    }

    /// An error once an admin has ended the job.
    pub fn still_wanted(&self) -> Result<(), Failure> {
        if *self.aborted.borrow() { Err(aborted()) } else { Ok(()) }
    }

    /// Returns when an admin ends the job, and never otherwise.
    pub async fn aborted(&self) -> Failure {
        let mut changes = self.aborted.clone();
        if changes.wait_for(|aborted| *aborted).await.is_err() {
            std::future::pending::<()>().await;
        }
        aborted()
    }

    /// Asks whoever watches; any admin may answer.
    ///
    /// # Errors
    /// `unanswered` after the profile's time, `aborted` when an admin ends the job.
    pub async fn ask(&self, kind: QuestionKind) -> Result<Answer, Failure> {
        let seconds = self.engine.parts().profile.questions.answer_within;
        let (sender, answer) = oneshot::channel();
        let number = match self.engine.running().as_mut() {
            Some(running) => {
                running.questions += 1;
                running.question = Some((running.questions, sender));
                running.questions
            }
            None => return Err(aborted()),
        };
        let until = Timestamp::now() + jiff::SignedDuration::from_secs(seconds as i64);
        self.show(|view| view.question = Some(Question { number, kind, until }));
        let asked = Asked { context: self, number };
        let answer = tokio::select! {
            answer = answer => answer.map_err(|_| aborted()),
            failure = self.aborted() => Err(failure),
            () = tokio::time::sleep(Duration::from_secs(seconds)) => Err(Failure::new(
                Code::Unanswered,
                format!("the question was not answered within {seconds} s"),
            )
            .hint("nothing was changed; start again when somebody can answer")),
        };
        drop(asked);
        answer
    }

    /// Asks to go on.
    pub async fn confirm(&self) -> Result<(), Failure> {
        match self.ask(QuestionKind::Confirm).await? {
            Answer::Yes => Ok(()),
            _ => {
                Err(Failure::new(Code::Declined, "the question was answered with no")
                    .hint("nothing was changed"))
            }
        }
    }

    /// The job is over: shown, and no longer in the way of the next one.
    pub fn ended(&self, entry: &HistoryEntry) {
        tracing::info!(id = %entry.id, outcome = entry.outcome.as_str(), "job ended");
        for failure in entry.outcome.failures() {
            tracing::warn!(id = %entry.id, code = %failure.code, "{failure}");
        }
        *self.engine.running() = None;
        self.engine.look_at_what_is_owed();
        self.engine.refresh();
        self.show(|view| {
            view.phase = entry.phase;
            view.question = None;
            view.ended = Some(entry.ended);
            view.outcome = Some(entry.outcome.clone());
            for note in &entry.notes {
                if !view.notes.contains(note) {
                    view.notes.push(note.clone());
                }
            }
        });
    }
}

fn aborted() -> Failure {
    Failure::new(Code::Aborted, "an admin ended the job").hint("nothing was changed")
}

/// Withdraws the question, answered or not.
struct Asked<'a> {
    context: &'a Context,
    number: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.context.engine.running().as_mut()
            && running.question.as_ref().is_some_and(|(number, _)| *number == self.number)
        {
            running.question = None;
        }
        let number = self.number;
        self.context.show(|view| {
            if view.question.as_ref().is_some_and(|question| question.number == number) {
                view.question = None;
            }
        });
    }
}

impl Ask for Context {
    fn host_key(&self, key: HostKey) -> BoxFuture<'_, Result<bool, Failure>> {
        async move { Ok(matches!(self.ask(QuestionKind::HostKey(key)).await?, Answer::Yes)) }.boxed()
    }

    fn prompt(&self, prompt: String, echo: bool) -> BoxFuture<'_, Result<Secret, Failure>> {
        async move {
            match self.ask(QuestionKind::Prompt { prompt, echo }).await? {
                Answer::Secret(secret) => Ok(secret),
                _ => Err(Failure::new(Code::Declined, "the server's question was not answered")
                    .hint("nothing was changed")),
            }
        }
        .boxed()
    }

    fn note(&self, note: String) {
        Context::note(self, note);
    }
}
