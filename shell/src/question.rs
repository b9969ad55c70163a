//! The questions of a job: a host key, what the server asks for, and whether to go on.

use reinstate_api::{Answer, AnswerRequest, HostKey, JobView, Question, QuestionKind, Secret, Status, Texts};
use serde::de::IgnoredAny;

use crate::client::{Event, Events};
use crate::terminal::Heard;
use crate::text::time;
use crate::watch::agent_ended;
use crate::{Exit, Flow, Shell, details};

/// Answers that are none may be given this often.
const TRIES: usize = 3;

pub enum Answered {
    Yes,
    /// The question is not the job's any more; this is how the job stands.
    Elsewhere(Box<Status>),
    /// There is no answer to be had here.
    Stop(Flow),
    /// Ctrl-C.
    Interrupt,
}

/// Shows what the question is about, asks it, and gives the agent the answer. The job goes on
/// meanwhile: it may end, and another admin may answer.
pub fn ask(shell: &mut Shell, events: &mut Events, job: &JobView, question: &Question) -> Answered {
    match &question.kind {
        QuestionKind::HostKey(key) => {
            let HostKey { host, algorithm, sha256, .. } = key;
            shell.console.line(format!("The authenticity of host '{host}' can't be established."));
            // On a line of its own a fingerprint fits 80 columns and is easy to copy.
            shell.console.line(format!("The fingerprint of its {algorithm} key is"));
            shell.console.line(format!("  {sha256}"));
        }
        QuestionKind::Prompt { .. } => {}
        QuestionKind::Confirm => {
            let texts: Texts = match shell.client.get("/v1/texts") {
                Ok(texts) => texts,
                Err(failures) => return Answered::Stop(shell.refused(&failures)),
            };
            details::before_question(&mut shell.console, job, &texts);
        }
        QuestionKind::Override { what, why } => {
            why.iter().for_each(|why| shell.console.line(why));
            shell.console.line(format!("Going on all the same is kept on record as {what}."));
        }
    }
    for _ in 0..TRIES {
        let line = match hear(shell, events, job, question) {
            Ok(line) => line,
            Err(answered) => return answered,
        };
        if let Some(answer) = line.and_then(|line| understand(shell, &question.kind, line)) {
            return give(shell, question, answer);
        }
    }
    Answered::Stop(unanswered(shell, question))
}

/// One line; None where it cannot be an answer.
fn hear(
    shell: &mut Shell,
    events: &mut Events,
    job: &JobView,
    question: &Question,
) -> Result<Option<Secret>, Answered> {
    let (insisting, prompted);
    let (words, echo) = match &question.kind {
        QuestionKind::HostKey(_) => ("Are you sure you want to continue connecting (yes/no/md5)? ", true),
        QuestionKind::Prompt { prompt, echo } => {
            // Scripts wait for `assword: `.
            prompted = format!("{} ", prompt.trim_end());
            (prompted.as_str(), *echo)
        }
        QuestionKind::Confirm => ("Are you sure you want to continue (Y/N): ", true),
        QuestionKind::Override { what, .. } => {
            insisting = format!("Type {what} to go on, or N: ");
            (insisting.as_str(), true)
        }
    };
    let mut asking = shell.console.ask(words, echo);
    loop {
        if !events.is_here() {
            match shell.console.hear(&mut asking, Some(events.fd())) {
                Heard::Line(line) => return Ok(Some(line)),
                Heard::Unusable => return Ok(None),
                Heard::End => return Err(Answered::Stop(unanswered(shell, question))),
                Heard::Interrupt => return Err(Answered::Interrupt),
                Heard::Hangup => return Err(Answered::Stop(Flow::Leave(Exit::Failed))),
                Heard::Idle => {
                    let _ = unanswered(shell, question);
                    return Err(Answered::Stop(Flow::Leave(Exit::Failed)));
                }
                Heard::Other => {}
                // Keys for lines of commands only.
                Heard::Help | Heard::Complete | Heard::Space | Heard::Earlier | Heard::Later => continue,
            }
        }
        let event = events.next();
        if let Event::Status(status) = &event
            && still_asks(status, job, question)
        {
            continue;
        }
        shell.console.withdraw(asking);
        return Err(match event {
            Event::Status(status) => {
                shell.console.line("The question needs no answer any more.");
                Answered::Elsewhere(status)
            }
            Event::Interrupt => Answered::Interrupt,
            Event::Hangup => Answered::Stop(Flow::Leave(Exit::Failed)),
            Event::Failed(failures) => Answered::Stop(shell.refused(&failures)),
            Event::End => Answered::Stop(agent_ended(shell)),
        });
    }
}

fn still_asks(status: &Status, job: &JobView, question: &Question) -> bool {
    let asked = status.job.as_ref().filter(|now| now.id == job.id).and_then(|now| now.question.as_ref());
    asked.is_some_and(|asked| asked.number == question.number)
}

/// What a line means as an answer; None where it means nothing, which the admin is told.
fn understand(shell: &mut Shell, kind: &QuestionKind, line: Secret) -> Option<Answer> {
    if let QuestionKind::Prompt { .. } = kind {
        return Some(Answer::Secret(line));
    }
    let word = line.expose().trim().to_ascii_lowercase();
    match (kind, word.as_str()) {
        (QuestionKind::Confirm, "y" | "yes") => Some(Answer::Yes),
        (QuestionKind::Confirm, "n" | "no") => Some(Answer::No),
        (QuestionKind::Confirm, _) => {
            shell.console.line("Please answer Y or N.");
            None
        }
        // A script that answers Y to whatever it is asked does not go on against what was found.
        (QuestionKind::Override { what, .. }, word) if word == what.as_str() => Some(Answer::Yes),
        (QuestionKind::Override { .. }, "n" | "no") => Some(Answer::No),
        (QuestionKind::Override { what, .. }, _) => {
            shell.console.line(format!("Please answer {what} or N."));
            None
        }
        // A script that answers Y to whatever it is asked does not accept a server's key by that.
        (QuestionKind::HostKey(_), "yes") => Some(Answer::Yes),
        (QuestionKind::HostKey(_), "no") => Some(Answer::No),
        (QuestionKind::HostKey(key), _) if line.expose().trim() == key.sha256 => Some(Answer::Yes),
        (QuestionKind::HostKey(key), "md5") => {
            shell.console.line(format!("  {}", key.md5));
            shell.console.line("MD5 is weak: compare the SHA256 fingerprint where you can.");
            None
        }
        _ => {
            shell.console.line("Please answer yes, no, md5 or the fingerprint that you expect.");
            None
        }
    }
}

fn give(shell: &mut Shell, question: &Question, answer: Answer) -> Answered {
    let request = AnswerRequest { question: question.number, answer };
    match shell.client.post::<IgnoredAny>("/v1/answer", &request) {
        Ok(_) => {}
        // Somebody else was faster, or the job has ended: the next event tells.
        Err(failures) => {
            if let Flow::Next(Exit::Unreachable) = shell.refused(&failures) {
                return Answered::Stop(Flow::Next(Exit::Unreachable));
            }
        }
    }
    Answered::Yes
}

fn unanswered(shell: &mut Shell, question: &Question) -> Flow {
    shell.console.text(format!(
        "No answer was given: the job waits for one until {}. `show restore` returns to the question.",
        time(question.until)
    ));
    Flow::Next(Exit::Failed)
}

/// Yes or no, asked again where it is neither; no answer is a no.
pub fn agreed(shell: &mut Shell, question: &str) -> bool {
    for _ in 0..TRIES {
        match heard(shell, question).map(|line| line.to_ascii_lowercase()).as_deref() {
            Some("y" | "yes") => return true,
            Some("n" | "no") | None => return false,
            Some(_) => shell.console.line("Please answer yes or no."),
        }
    }
    false
}

/// The answer to a question; None where there will be none.
pub fn heard(shell: &mut Shell, question: &str) -> Option<String> {
    let mut asking = shell.console.ask(question, true);
    loop {
        match shell.console.hear(&mut asking, None) {
            Heard::Line(line) => return Some(line.expose().trim().to_owned()),
            // No value takes it.
            Heard::Unusable => return Some(char::REPLACEMENT_CHARACTER.to_string()),
            Heard::End | Heard::Interrupt | Heard::Hangup | Heard::Idle => return None,
            _ => {}
        }
    }
}
