//! What an admin types on the console, with a server of this machine in reach.

use std::time::Duration;

use reinstate_tests::container::apart;
use reinstate_tests::donor::{ACCOUNTS, ADDRESS};
use reinstate_tests::vm::PROMPT;

use crate::donor::donor;
use crate::replacement::Replacement;
use crate::server::{PASSWORD, Server, USER};

const ANSWER: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_replacement_becomes_its_donor_by_one_line_on_the_console() {
    apart("console", |site| {
        let donor = donor();
        let server = Server::start(site);
        let mut new = Replacement::boot(site);
        let console = new.container.console();
        console.expect("login: ", ANSWER);
        console.first_login(ACCOUNTS[2].1, ANSWER);
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
        console.log_in(ACCOUNTS[0].1, ANSWER);
        console.expect(PROMPT, ANSWER);
        console.type_line("show restore");
        console.expect("succeeded", ANSWER);
    });
}
