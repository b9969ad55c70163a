//! An appliance that people log in to, held open for clients that are no part of these tests: a fresh replacement behind
//! the shipped SSH server, and a backup server with the backup of its donor.
//!
//! Says in one line of JSON where everything is. For a line `restarted` on its input it waits until the appliance has
//! restarted, and says what came of its job. It ends with its input.
#![allow(clippy::unwrap_used, reason = "a harness that fails is a test that fails")]

use std::io::{BufRead, Write};

use reinstate_api::Created;
use reinstate_tests::appliance::Appliance;
use reinstate_tests::login::{self, ADMIN, Login};
use reinstate_tests::machine::Machine;
use reinstate_tests::server::{self, BackupServer};
use serde_json::{Value, json};

/// The donor's, another one than the replacement's.
const RESTORED: &str = "of the donor: 4711";

fn main() {
    let program = std::env::current_exe().unwrap().with_file_name("sandbox");
    let program = program.to_str().unwrap();
    let place = tempfile::tempdir().unwrap();
    let (donor, backups) = (place.path().join("donor"), place.path().join("backups"));
    Appliance::donor("fw-a").build(&donor).unwrap();
    login::set_password(&donor, ADMIN, RESTORED);
    let mut machine = Machine::new(program, &donor);
    machine.start().unwrap();
    let made: Created = machine.client().post("/v1/backups", &json!({})).unwrap();
    machine.stop();
    std::fs::create_dir(&backups).unwrap();
    let kept = donor.join(reinstate_api::BACKUP_FOLDER).join(&made.file);
    std::fs::rename(kept, backups.join(&made.file)).unwrap();
    let server = BackupServer::start(backups).unwrap();
    let mut login = Login::new(program, &Appliance::replacement());

    say(&json!({
        "host": login.door().ip(),
        "port": login.door().port(),
        "user": ADMIN,
        "password": login.password(ADMIN),
        "restored_password": RESTORED,
        "key": login.key(),
        "known_hosts": login.known_hosts(),
        "server": server.address(),
        "server_user": server::USER,
        "server_password": server.password(),
        "fingerprint": server.fingerprint(),
        "folder": server::FOLDER,
        "file": made.file,
    }));
    let mut restarts = 0;
    for line in std::io::stdin().lock().lines() {
        assert_eq!(line.unwrap(), "restarted");
        restarts += 1;
        login.machine.wait_for_reboot(restarts).unwrap();
        login.restarted();
        let status = login.machine.wait_until_idle().unwrap();
        say(&json!({ "outcome": status.last.map(|last| last.outcome) }));
    }
}

fn say(value: &Value) {
    let mut out = std::io::stdout();
    writeln!(out, "{value}").and_then(|()| out.flush()).unwrap();
}
