//! The lines that a user has typed, without secrets; kept in the user's home, or where nobody sees the others'.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::{User, getuid};

use crate::parse;

/// Lines that are kept.
const LINES: usize = 100;
const FILE: &str = ".reinstate_history";
/// For users without a home; each makes a file in it, and nobody lists it.
const WITHOUT_HOME: &str = "/var/lib/reinstate-history";
const SIZE: u64 = 512 << 10;

/// The lines typed, oldest first.
#[derive(Default)]
pub struct History {
    lines: Vec<String>,
    file: Option<PathBuf>,
}

impl History {
    /// With what this user typed in earlier sessions.
    pub fn of_this_user() -> Self {
        let Ok(Some(User { name, uid, dir, .. })) = User::from_uid(getuid()) else { return Self::default() };
        let own = dir.metadata().is_ok_and(|is| is.is_dir() && is.uid() == uid.as_raw());
        // After a restore the number may be another user's.
        let named = || PathBuf::from(WITHOUT_HOME).join(format!("{uid}-{}", name.replace('/', "_")));
        Self::at(Some(if own { dir.join(FILE) } else { named() }))
    }

    fn at(file: Option<PathBuf>) -> Self {
        let mut history = Self { lines: Vec::new(), file };
        for line in history.read().unwrap_or_default().lines() {
            history.add(line);
        }
        history
    }

    fn read(&self) -> Option<String> {
        let flags = O_NOFOLLOW | O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.file.as_ref()?).ok()?;
        let known = file.metadata().ok()?;
        if !known.is_file() || known.uid() != getuid().as_raw() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(SIZE).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Adds a line; one like the last, an empty one and one that may hold a secret are left out.
    pub fn add(&mut self, line: &str) {
        let Some(line) = parse::without_secrets(line.trim()) else { return };
        let plain = line == reinstate_api::one_line(&line);
        if line.is_empty()
            || !plain
            || line.contains(char::REPLACEMENT_CHARACTER)
            || self.lines.last() == Some(&line)
        {
            return;
        }
        if self.lines.len() == LINES {
            self.lines.remove(0);
        }
        self.lines.push(line);
    }

    /// The line so many before the next one.
    pub fn back(&self, count: usize) -> Option<&str> {
        let at = self.lines.len().checked_sub(count)?;
        self.lines.get(at).map(String::as_str)
    }

    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Writes the lines for the next session. A folder that cannot be written has none.
    pub fn keep(&self) {
        let Some(file) = &self.file else { return };
        let new = file.with_extension(format!("new{}", std::process::id()));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let text = self.lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let write = |mut file: File| file.write_all(text.as_bytes());
        if written.and_then(write).and_then(|()| std::fs::rename(&new, file)).is_err() {
            let _ = std::fs::remove_file(&new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_there_in_the_next_session_and_secrets_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join(FILE);
        let mut history = History::at(Some(place.clone()));
        for line in [
            "show version",
            "  ",
            "show version",
            "configure manager add 192.0.2.1 geheim nat",
            "conf man add 192.0.2.1 geheim2",
            "configure manger add 192.0.2.1 geheim3",
            "cnfigure manager add 192.0.2.1 geheim4",
            "\"configure\" manager add 192.0.2.1 geheim5",
            "configure network hostname fw",
            "frobnicate",
            "show frobnicate",
        ] {
            history.add(line);
        }
        history.keep();
        let text = std::fs::read_to_string(&place).unwrap();
        assert!(!text.contains("geheim"), "{text}");
        assert_eq!(place.metadata().unwrap().mode() & 0o777, 0o600);
        let later = History::at(Some(place.clone()));
        assert_eq!(
            later.lines(),
            [
                "show version",
                "configure manager add 192.0.2.1 *** nat",
                "conf man add 192.0.2.1 ***",
                "configure network hostname fw",
                "show frobnicate"
            ]
        );
        assert_eq!(later.back(1), Some("show frobnicate"));
        assert_eq!(later.back(6), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_history_that_is_a_link_or_a_pipe_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("other"), "secret line\n").unwrap();
        let place = folder.path().join(FILE);
        std::os::unix::fs::symlink(folder.path().join("other"), &place).unwrap();
        assert!(History::at(Some(place.clone())).lines().is_empty());
        std::fs::remove_file(&place).unwrap();
        nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(History::at(Some(place)).lines().is_empty());
    }

    #[test]
    fn only_the_last_hundred_lines_are_kept() {
        let mut history = History::default();
        (0..150).for_each(|i| history.add(&format!("show {i}")));
        assert_eq!((history.lines().len(), history.back(100)), (LINES, Some("show 50")));
    }
}
