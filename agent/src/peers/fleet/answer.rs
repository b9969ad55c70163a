//! What a lock service answers. Only 200 is a success, and servers differ in all the rest: a lock that is
//! held is 500 at airlock, as a store that is down, and 423 at poseidon. So the status alone decides, and
//! the words are only shown.

use std::fmt;

use reinstate_api::{Code, Failure};
use serde::Deserialize;

use crate::https::Reply;

/// What the service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// One line: the status, and the beginning of the service's own words.
    pub text: String,
}

impl Answer {
    /// The lock is this device's, or is not any more: what it asked for.
    pub fn is_success(&self) -> bool {
        self.status == 200
    }

    /// Asking again may get another answer.
    pub(super) fn may_change(&self) -> bool {
        matches!(self.status, 423 | 429 | 500..=599)
    }

    /// `what` the service does not do.
    pub(super) fn refusal(&self, what: &str) -> Failure {
        let (code, hint) = match self.status {
            423 => {
                (Code::LockHeld, "another device holds it: wait for it, or release it at the lock service")
            }
            500 => (
                Code::LockHeld,
                "its words tell whether another device holds it or its store is down: wait, or look there",
            ),
            429 | 501..=599 => {
                (Code::LockService, "look at the lock service, which does not work as it should")
            }
            400..=499 => (
                Code::LockService,
                "check URL and group of the lock service in the configuration, and whether it has the group",
            ),
            _ => (Code::LockService, "200 alone is a yes: check the lock service's URL in the configuration"),
        };
        Failure::new(code, format!("{what}: {self}")).hint(hint)
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        /// The protocol's form for errors, whatever type the server gives it.
        #[derive(Deserialize)]
        struct Said {
            kind: String,
            value: String,
        }
        let said = match serde_json::from_slice(&reply.body) {
            Ok(Said { kind, value }) => format!("{kind}: {value}"),
            Err(_) => String::from_utf8_lossy(&reply.body).into_owned(),
        };
        Self { status: reply.status.as_u16(), text: reply.line(&said) }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        let status = hyper::StatusCode::from_u16(status).unwrap();
        Answer::from(Reply { status, body: body.into() })
    }

    #[test]
    fn the_status_alone_decides_whatever_the_body_says() {
        use Code::{LockHeld, LockService};
        let held = r#"{"kind":"lock_held","value":"held by b"}"#;
        for (status, code, may_change) in [
            (201, LockService, false),
            (204, LockService, false),
            (302, LockService, false),
            (400, LockService, false),
            (403, LockService, false),
            (404, LockService, false),
            (408, LockService, false),
            (423, LockHeld, true),
            (429, LockService, true),
            (500, LockHeld, true),
            (501, LockService, true),
            (502, LockService, true),
            (503, LockService, true),
            (504, LockService, true),
            (600, LockService, false),
        ] {
            for body in [held, "", "obtained reboot lease"] {
                let answer = answer(status, body);
                assert!(!answer.is_success(), "{status}");
                assert_eq!((answer.refusal("it").code, answer.may_change()), (code, may_change), "{status}");
                assert!(!answer.refusal("it").hint.is_empty(), "{status}");
            }
        }
        assert!(answer(200, held).is_success());
    }

    #[test]
    fn the_services_words_are_shown_in_one_line() {
        let json = "{\"kind\":\"failed_lock\",\"value\":\"all 1\\nslots locked\"}\n";
        assert_eq!(answer(500, json).text, "500 Internal Server Error: failed_lock: all 1\\u{a}slots locked");
        assert_eq!(answer(423, " a\x1b[2Jb ").text, "423 Locked: a\\u{1b}[2Jb");
        assert_eq!(answer(503, "").text, "503 Service Unavailable");
    }
}
