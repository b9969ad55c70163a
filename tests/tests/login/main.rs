//! Logins by stock clients: through the shipped SSH server's configuration, to a running agent.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod doors;
mod files;
mod packets;
mod refused;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reinstate_tests::appliance::Appliance;
use reinstate_tests::login::{ADMIN, Client, Login};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

fn login() -> (Login, Client) {
    login_to(&Appliance::replacement())
}

fn login_to(appliance: &Appliance) -> (Login, Client) {
    let login = Login::new(PROGRAM, appliance);
    let client = login.client(ADMIN);
    (login, client)
}

/// A file of so many bytes that do not repeat.
fn file(folder: &Path, name: &str, bytes: usize) -> (PathBuf, Vec<u8>) {
    let content: Vec<u8> = (0..bytes as u64).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let path = folder.join(name);
    std::fs::write(&path, &content).unwrap();
    (path, content)
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen within 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What is in the appliance's backup folder, hidden files too.
fn names(login: &Login) -> Vec<String> {
    let entries = std::fs::read_dir(login.backups()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
