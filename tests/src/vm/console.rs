//! A terminal that a test reads and types on: a serial line, or a session.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How much of the end is shown when something does not come.
const TAIL: usize = 3000;

/// A terminal. A thread reads all the time, because a guest waits for a full line to be drained.
pub struct Console {
    heard: Arc<Heard>,
    transcript: File,
    keyboard: Option<Box<dyn Write + Send>>,
    /// Up to here it was expected.
    read: usize,
}

#[derive(Default)]
struct Heard {
    text: Mutex<(Vec<u8>, bool)>,
    more: Condvar,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, (Vec<u8>, bool)> {
        self.text.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Console {
    /// All that it says goes to the file too.
    pub fn new(transcript: &Path) -> Self {
        let transcript = File::options().create(true).append(true).open(transcript).unwrap();
        Self { heard: Arc::default(), transcript, keyboard: None, read: 0 }
    }

    /// Plugs it into the next machine or session; what was heard of the last one stays.
    pub fn attach(&mut self, mut screen: impl Read + Send + 'static, keyboard: impl Write + Send + 'static) {
        self.keyboard = Some(Box::new(keyboard));
        self.heard.lock().1 = false;
        let (heard, mut transcript) = (self.heard.clone(), self.transcript.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                let count = screen.read(&mut chunk).unwrap_or(0);
                let mut text = heard.lock();
                text.0.extend_from_slice(&chunk[..count]);
                text.1 = count == 0;
                heard.more.notify_all();
                let _ = transcript.write_all(&chunk[..count]);
                if count == 0 {
                    return;
                }
            }
        });
    }

    /// Types, as it is.
    pub fn send(&mut self, text: &str) {
        let keyboard = self.keyboard.as_mut().expect("the console is plugged in");
        keyboard.write_all(text.as_bytes()).and_then(|()| keyboard.flush()).unwrap();
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        self.send(&format!("{line}\r"));
    }

    /// Waits for a text after what was expected before; gives everything up to its end.
    pub fn expect(&mut self, text: &str, within: Duration) -> String {
        self.expect_any(&[text], within).1
    }

    /// Waits for the first of some texts; gives which, and everything up to its end.
    pub fn expect_any(&mut self, texts: &[&str], within: Duration) -> (usize, String) {
        match self.hear(texts, within) {
            Some(heard) => heard,
            None => {
                panic!("{texts:?} did not come within {} s; the end is\n{}", within.as_secs(), self.tail())
            }
        }
    }

    /// As [`Console::expect_any`]; None where none of them comes in time, or the session ends.
    pub fn hear(&mut self, texts: &[&str], within: Duration) -> Option<(usize, String)> {
        let end = Instant::now() + within;
        let mut heard = self.heard.lock();
        loop {
            let new = &heard.0[self.read..];
            let found = texts.iter().enumerate().filter_map(|(number, text)| {
                let at = new.windows(text.len()).position(|window| window == text.as_bytes())?;
                Some((at, at + text.len(), number))
            });
            if let Some((_, length, number)) = found.min() {
                let passed = String::from_utf8_lossy(&new[..length]).into_owned();
                self.read += length;
                return Some((number, passed));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || heard.1 {
                return None;
            }
            heard = self.heard.more.wait_timeout(heard, left).unwrap_or_else(|p| p.into_inner()).0;
        }
    }

    /// What comes from now on is all that will be expected.
    pub fn skip(&mut self) {
        self.read = self.heard.lock().0.len();
    }

    /// Everything that it ever said.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().0).into_owned()
    }

    pub fn tail(&self) -> String {
        let heard = self.heard.lock();
        String::from_utf8_lossy(&heard.0[heard.0.len().saturating_sub(TAIL)..]).into_owned()
    }
}
