//! A restart that is asked for and does not come.

use reinstate_tests::container::{BOOT, apart};
use reinstate_tests::donor::ADDRESS;
use reinstate_tests::vm::until;

use crate::donor::donor;
use crate::replacement::Replacement;

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn where_the_restart_does_not_come_the_restore_goes_on_at_the_next_boot() {
    apart("restart", |site| {
        let mut new = Replacement::boot(site);
        let old = new.container.look("reinstated scan");
        new.container.drop_in("reboot.target", "[Unit]\nRefuseManualStart=yes\n");
        new.container.look("systemctl daemon-reload");
        new.restore(&donor().archive);
        let refused =
            "journalctl -b -o cat --no-pager | grep -F 'reboot.target may be requested by dependency only'";
        until("the refusal", BOOT, || new.container.said(refused, "").ok.then_some(()));
        let shown = new.shell("show restore", "").out;
        assert!(!shown.lines().any(|line| line.starts_with("Result ")), "it has not ended: {shown}");
        assert_eq!(new.container.look("reinstated scan"), old, "nothing is live before a boot");

        new.container.mend("reboot.target");
        new.container.reboot();
        new.container.wait_for_ssh(ADDRESS);
        new.wait_for_agent();
        let shown = new.end_of_job();
        assert!(shown.contains(": succeeded"), "{shown}");
    });
}
