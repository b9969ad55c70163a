//! What an admin types on the console, with a server of this machine in reach.

use std::time::Duration;

use reinstate_tests::container::apart;
use reinstate_tests::donor::{ACCOUNTS, ADDRESS};
use reinstate_tests::vm::Console;

use crate::donor::donor;
use crate::replacement::Replacement;
use crate::server::{PASSWORD, Server, USER};

const ANSWER: Duration = Duration::from_secs(60);

const PROMPT: &str = "\x1b[K> ";

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_replacement_becomes_its_donor_by_one_line_on_the_console() {
    apart("console", |site| {
        let donor = donor();
        let server = Server::start(site);
        let mut new = Replacement::boot(site);
        let console = new.container.console();
        console.expect("login: ", ANSWER);
        first_login(console);
        console.type_line(&format!(
            "restore remote-manager-backup location {} {USER} {} {} fingerprint {}",
            server.sshd.address(),
            server.folder(),
            donor.file,
            server.sshd.fingerprint()
        ));
        console.expect("password:", ANSWER);
        console.type_line(PASSWORD);
        console.expect("Hostname = fw-a", ANSWER);
        console.expect("Are you sure you want to continue (Y/N): ", ANSWER);
        console.type_line("Y");
        // systemd writes on the same console, at times into the middle of what the shell says.
        new.container.restarts();
        new.container.wait_for_ssh(ADDRESS);
        // The donor's password holds, and what happened is shown.
        let console = new.container.console();
        console.expect("fw-a login: ", ANSWER);
        log_in(console, ACCOUNTS[0].1);
        console.expect(PROMPT, ANSWER);
        console.type_line("show restore");
        console.expect("succeeded", ANSWER);
    });
}

fn log_in(console: &mut Console, password: &str) {
    console.type_line("admin");
    console.expect("assword: ", ANSWER);
    console.type_line(password);
}

/// With the factory's password, which has to be changed.
fn first_login(console: &mut Console) {
    log_in(console, "admin");
    loop {
        match console.expect_any(&["urrent password: ", "ew password: ", "Login incorrect", PROMPT], ANSWER).0
        {
            0 => console.type_line("admin"),
            1 => console.type_line(ACCOUNTS[2].1),
            2 => panic!("the factory's password is another one"),
            _ => return,
        }
    }
}
