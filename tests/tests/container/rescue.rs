//! The agent's own failure after a restart.

use std::time::{Duration, Instant};

use reinstate_tests::container::apart;
use reinstate_tests::donor::ADDRESS;
use reinstate_tests::vm::FACTORY_ADDRESS;

use crate::donor::donor;
use crate::replacement::Replacement;

/// A daemon that ends at once.
pub const DEAD: &str = "[Service]\nExecStart=\nExecStart=/bin/false\n";

/// The timer without its ten minutes.
const SOON: &str = "[Timer]\nOnActiveSec=\nOnActiveSec=10s\nAccuracySec=1s\n";

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn where_the_agent_does_not_start_any_more_the_old_configuration_comes_back_and_it_is_said_why() {
    apart("rescue", |site| {
        let mut new = Replacement::boot(site);
        let old = new.container.look("reinstated scan");
        new.restore(&donor().archive);
        new.container.wait_until_down();
        new.container.drop_in("reinstated.service", DEAD);
        new.container.drop_in("reinstate-rescue.timer", SOON);
        new.container.start();
        new.container.wait_for_ssh(ADDRESS);
        assert_ne!(new.container.look("reinstated scan"), old, "the donor's is live");
        let asked = Instant::now();
        let said = new.shell("show restore", "");
        assert_eq!(said.status, Some(3), "{said:?}");
        assert!(asked.elapsed() < Duration::from_secs(60), "the shell waited {:?}", asked.elapsed());

        // By the timer.
        new.container.restarts();
        new.container.wait_for_ssh(FACTORY_ADDRESS);
        assert!(!new.container.answers(ADDRESS));
        assert_eq!(new.container.look("reinstated scan"), old);
        new.container.wait_for_boot();
        new.container.mend("reinstated.service");
        new.container.look("systemctl restart reinstated.service");
        let shown = new.end_of_job();
        for word in [": rolled back", "[unhealthy]", "the agent did not run after the restart"] {
            assert!(shown.contains(word), "'{word}' is not in {shown}");
        }
        let lock = shown.lines().find(|line| line.starts_with("Restore lock"));
        assert!(lock.is_some_and(|line| line.ends_with(": not taken")), "{shown}");
        let explained =
            new.container.look("journalctl -x --no-pager MESSAGE_ID=2d1c6f0e6d2b4b6f9a55a7f1d1b1c003");
        assert!(explained.contains("Subject: The appliance was not healthy after a restore"), "{explained}");
    });
}
