//! A restore that has to be confirmed.

use std::io::Read;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reinstate_tests::container::apart;
use reinstate_tests::donor::ADDRESS;

use crate::donor::donor;
use crate::replacement::Replacement;

/// Longer than until the second warning, with a minute left.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_restore_that_has_to_be_confirmed_warns_every_session_until_it_is() {
    apart("confirm", |site| {
        let mut new = Replacement::boot(site);
        let file = &donor().file;
        new.put(file, &donor().archive);
        let said = new.shell(&format!("restore remote-manager-backup {file} confirm-within 2"), "Y\n");
        assert!(said.ok && said.out.contains("within 2 min,"), "{said:?}");
        new.container.restarts();
        new.container.wait_for_ssh(ADDRESS);
        let mut session = new.container.ssh(ADDRESS).session();
        let (heard, hearing) = mpsc::channel();
        let mut output = session.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut piece) {
                if heard.send(piece[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        let (mut said, end) = (Vec::new(), Instant::now() + PATIENCE);
        let warned = |said: &[u8]| String::from_utf8_lossy(said).contains("Type `restore confirm` within");
        while !warned(&said) {
            let left = end.saturating_duration_since(Instant::now());
            let piece = hearing.recv_timeout(left);
            said.extend(piece.unwrap_or_else(|_| panic!("no warning: {}", String::from_utf8_lossy(&said))));
        }
        let _ = session.kill();
        let _ = session.wait();
        let confirmed = new.shell("restore confirm", "");
        assert!(confirmed.ok && confirmed.out.contains("What is active stays."), "{confirmed:?}");
        let shown = new.end_of_job();
        assert!(shown.contains(": succeeded") && shown.contains("confirmed by "), "{shown}");
        let console = new.container.console().tail();
        assert!(console.contains("is not confirmed"), "the console is warned too: {console}");
    });
}
