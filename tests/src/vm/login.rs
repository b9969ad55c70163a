//! Logging in on a console, for the first time too.

use std::time::Duration;

use super::Console;

/// What the shell waits for a command with.
pub const PROMPT: &str = "\n> ";

/// Of the account `admin`, as delivered.
pub const FACTORY_PASSWORD: &str = "admin";

impl Console {
    /// At the login prompt.
    pub fn log_in(&mut self, password: &str, patience: Duration) {
        self.type_line("admin");
        self.expect("assword: ", patience);
        self.type_line(password);
    }

    /// At the login prompt of an appliance as delivered, up to the shell's prompt: it takes this password, keeps
    /// whatever else it has, and is not restored yet.
    pub fn first_login(&mut self, password: &str, patience: Duration) {
        self.log_in(FACTORY_PASSWORD, patience);
        let asked = [
            "to AGREE to the licence terms: ",
            "new password: ",
            "]: ",
            "now? (y/n): ",
            "--More--",
            "Login incorrect",
            PROMPT,
        ];
        loop {
            match self.expect_any(&asked, patience).0 {
                0 | 2 => self.type_line(""),
                1 => self.type_line(password),
                3 => self.type_line("n"),
                4 => self.send(" "),
                5 => panic!("the factory's password is another one"),
                _ => return,
            }
        }
    }
}
