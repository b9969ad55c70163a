//! Logging in: the device's key, then what the server asks for, then a password.

use reinstate_api::{Code, Failure, Secret};
use russh::client::{AuthResult, KeyboardInteractiveAuthResponse as Reply, Prompt};
use russh::keys::PrivateKeyWithHashAlg;
use russh::{MethodKind, MethodSet};
use tokio::time::timeout;

use super::link::excerpt;
use super::ssh::Session;
use super::{Ask, DeviceKey, Options};

/// Answers that a person may get wrong before we stop; servers allow six attempts, the key's included.
const TRIES: u8 = 3;
const MAX_ROUNDS: usize = 8;
const MAX_PROMPTS: usize = 8;
const MAX_PROMPT_CHARS: usize = 200;

/// What a person has answered, across connections: a server closes one whose owner thinks for too
/// long, and nobody should have to answer twice for that.
pub(super) struct Answers<'a> {
    ask: &'a dyn Ask,
    /// Sent, and neither accepted nor rejected yet.
    pending: Vec<(String, Secret)>,
    unused: Vec<(String, Secret)>,
    rejected: u8,
    asked: bool,
}

impl<'a> Answers<'a> {
    pub fn new(ask: &'a dyn Ask) -> Self {
        Self { ask, pending: Vec::new(), unused: Vec::new(), rejected: 0, asked: false }
    }

    /// The connection broke off: is another one worth it, with answers that this one did not hear?
    pub fn again(&mut self) -> bool {
        self.unused = std::mem::take(&mut self.pending);
        std::mem::take(&mut self.asked)
    }

    async fn to(&mut self, prompt: String, echo: bool) -> Result<Secret, Failure> {
        let answer = match self.unused.iter().position(|(asked, _)| *asked == prompt) {
            Some(place) => self.unused.swap_remove(place).1,
            None => {
                self.asked = true;
                self.ask.prompt(prompt.clone(), echo).await?
            }
        };
        self.pending.push((prompt, answer.clone()));
        Ok(answer)
    }
}

/// How one method ended.
enum Ended {
    In,
    /// Rejected, and what the server would still take.
    Out {
        offers: MethodSet,
        partly: bool,
    },
}

impl From<AuthResult> for Ended {
    fn from(result: AuthResult) -> Self {
        match result {
            AuthResult::Success => Ended::In,
            AuthResult::Failure { remaining_methods, partial_success } => {
                Ended::Out { offers: remaining_methods, partly: partial_success }
            }
        }
    }
}

pub(super) struct Login<'a, 'b> {
    pub session: &'a mut Session,
    pub user: &'a str,
    pub host: &'a str,
    pub answers: &'a mut Answers<'b>,
    pub options: &'a Options,
}

impl Login<'_, '_> {
    pub async fn log_in(mut self, key: &DeviceKey) -> Result<(), Failure> {
        let key = PrivateKeyWithHashAlg::new(key.private(), None);
        let limit = self.options.connect_timeout;
        let result = timeout(limit, self.session.handle.authenticate_publickey(self.user, key)).await;
        let mut ended: Ended = self.heard(result)?.into();
        let mut interactive = true;
        // A server may want several methods, one after the other; but not without end.
        for _ in 0..TRIES * 3 {
            self.show_banners();
            let (offers, partly) = match ended {
                Ended::In => return Ok(()),
                Ended::Out { offers, partly } => (offers, partly),
            };
            // On a dead connection every method reads as rejected, with none left.
            if offers.is_empty() && self.session.handle.is_closed() {
                return Err(self.hung_up());
            }
            let answered = !self.answers.pending.is_empty();
            self.answers.pending.clear();
            if partly {
                (self.answers.rejected, interactive) = (0, true);
            } else if answered {
                self.answers.rejected += 1;
            }
            let ask = self.answers.rejected < TRIES;
            if answered && !partly && ask {
                self.answers.ask.note(format!("{} did not accept that", self.session.link.server));
            }
            ended = if ask && interactive && offers.contains(&MethodKind::KeyboardInteractive) {
                let ended = self.keyboard_interactive().await?;
                // Where it asked for nothing, the next method is worth a try.
                interactive = !self.answers.pending.is_empty();
                ended
            } else if ask && offers.contains(&MethodKind::Password) {
                self.password().await?
            } else {
                return Err(self.rejected(&offers));
            };
        }
        Err(self.session.link.wrong("asks for more and more authentication"))
    }

    async fn password(&mut self) -> Result<Ended, Failure> {
        let prompt = format!("{}@{}'s password: ", self.user, self.host);
        let answer = self.answers.to(prompt, false).await?;
        let attempt = self.session.handle.authenticate_password(self.user, answer.expose());
        let result = timeout(self.options.connect_timeout, attempt).await;
        Ok(self.heard(result)?.into())
    }

    async fn keyboard_interactive(&mut self) -> Result<Ended, Failure> {
        let limit = self.options.connect_timeout;
        let start = self.session.handle.authenticate_keyboard_interactive_start(self.user, None);
        let result = timeout(limit, start).await;
        let mut reply = self.heard(result)?;
        for _ in 0..MAX_ROUNDS {
            let (name, instructions, prompts) = match reply {
                Reply::Success => return Ok(Ended::In),
                Reply::Failure { remaining_methods: offers, partial_success: partly } => {
                    return Ok(Ended::Out { offers, partly });
                }
                Reply::InfoRequest { name, instructions, prompts } => (name, instructions, prompts),
            };
            if prompts.len() > MAX_PROMPTS {
                let how = format!("asks {} questions at once, more than {MAX_PROMPTS}", prompts.len());
                return Err(self.session.link.wrong(how));
            }
            self.show_banners();
            for text in [name, instructions] {
                let text = excerpt(&text, MAX_PROMPT_CHARS);
                if !text.is_empty() {
                    self.answers.ask.note(text);
                }
            }
            let mut responses = Vec::new();
            for Prompt { prompt, echo } in prompts {
                // With our own words first: a server's prompt must not pass for one of the appliance's.
                let prompt = format!("{}@{}: {}", self.user, self.host, excerpt(&prompt, MAX_PROMPT_CHARS));
                responses.push(self.answers.to(prompt, echo).await?.expose().to_owned());
            }
            let respond = self.session.handle.authenticate_keyboard_interactive_respond(responses);
            let result = timeout(limit, respond).await;
            reply = self.heard(result)?;
        }
        Err(self.session.link.wrong(format_args!("asks more than {MAX_ROUNDS} rounds of questions")))
    }

    fn heard<T>(
        &self,
        result: Result<Result<T, russh::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, Failure> {
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(self.hung_up()),
            Err(_) => Err(self.session.link.stalled(self.options.connect_timeout)),
        }
    }

    fn show_banners(&self) {
        self.session.link.banners().into_iter().for_each(|line| self.answers.ask.note(line));
    }

    /// The server closed the connection: with words after a rejection it meant the credentials.
    fn hung_up(&self) -> Failure {
        self.show_banners();
        match self.session.link.farewell() {
            Some(words) if self.answers.rejected > 0 || !self.answers.pending.is_empty() => {
                self.failed(format!("it says {words}"))
            }
            _ => self.session.link.lost(),
        }
    }

    fn rejected(&self, offers: &MethodSet) -> Failure {
        let offers: Vec<&str> = offers.iter().map(<&str>::from).collect();
        self.failed(match offers.len() {
            0 => "it offers no method".to_owned(),
            _ => format!("it offers {}", offers.join(", ")),
        })
    }

    fn failed(&self, more: String) -> Failure {
        let server = &self.session.link.server;
        let user = self.user;
        let what = match self.answers.rejected {
            0 => "the appliance's key".to_owned(),
            1 => "the appliance's key and one answer".to_owned(),
            answers => format!("the appliance's key and {answers} answers"),
        };
        Failure::new(Code::AuthenticationFailed, format!("{server} rejects user {user} with {what}; {more}")).hint(
            "check the user and the password, or add the line that `show public-key` prints to that user's authorized_keys",
        )
    }
}
