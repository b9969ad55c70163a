//! QEMU's control socket: a line of JSON each way.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::until;

/// The socket, with the events that came between answers.
pub struct Qmp {
    socket: BufReader<UnixStream>,
    events: Vec<String>,
    partial: String,
}

impl Qmp {
    pub fn new(socket: UnixStream) -> Self {
        let mut qmp = Self { socket: BufReader::new(socket), events: Vec::new(), partial: String::new() };
        qmp.next(Duration::from_secs(60)).expect("QEMU greets");
        qmp.call("qmp_capabilities", Value::Null);
        qmp
    }

    /// Runs a command; what it returns.
    pub fn call(&mut self, command: &str, arguments: Value) -> Value {
        let mut request = json!({ "execute": command });
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        self.write(&request);
        loop {
            let answer =
                self.next(Duration::from_secs(120)).unwrap_or_else(|| panic!("no answer to {command}"));
            assert!(answer.get("error").is_none(), "{command}: {}", answer["error"]);
            match answer.get("return") {
                Some(value) => return value.clone(),
                None => self.note(&answer),
            }
        }
    }

    /// A command that may not be answered any more.
    pub fn send(&mut self, command: &str) {
        self.write(&json!({ "execute": command }));
    }

    /// Waits for an event that has not been waited for yet.
    pub fn expect(&mut self, event: &str, within: Duration) {
        let end = Instant::now() + within;
        loop {
            if let Some(at) = self.events.iter().position(|known| known == event) {
                self.events.drain(..=at);
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the event {event} did not come within {} s", within.as_secs());
            if let Some(message) = self.next(left) {
                self.note(&message);
            }
        }
    }

    /// Events that have come and were not waited for are forgotten.
    pub fn forget(&mut self) {
        self.call("query-status", Value::Null);
        self.events.clear();
    }

    /// Waits until a saved state is loaded.
    pub(super) fn wait_until_running_can_go_on(&mut self) {
        until("the loading of the saved state", Duration::from_secs(120), || {
            let status = self.call("query-status", Value::Null);
            (status["status"] != "inmigrate").then_some(())
        });
    }

    fn write(&mut self, request: &Value) {
        // QEMU may have been asked to end just before.
        let _ = self.socket.get_mut().write_all(format!("{request}\n").as_bytes());
    }

    fn note(&mut self, message: &Value) {
        if let Some(event) = message["event"].as_str() {
            self.events.push(event.to_owned());
        }
    }

    fn next(&mut self, within: Duration) -> Option<Value> {
        self.socket.get_ref().set_read_timeout(Some(within.max(Duration::from_millis(1)))).unwrap();
        // A line that has come in part is kept for the next time.
        let read = self.socket.read_line(&mut self.partial);
        if !read.is_ok_and(|count| count > 0) || !self.partial.ends_with('\n') {
            return None;
        }
        serde_json::from_str(&std::mem::take(&mut self.partial)).ok()
    }
}
