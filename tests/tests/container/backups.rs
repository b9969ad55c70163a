//! What the agent puts into the backup folder.

use reinstate_tests::container::apart;

use crate::replacement::Replacement;

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_backup_can_be_copied_off_by_administrators_and_by_nobody_else() {
    apart("backup", |site| {
        let new = Replacement::boot(site);
        let made = new.shell("backup create", "");
        assert!(made.ok, "{made:?}");
        let file = new.container.look("stat -c '%a %U %G' /var/sf/backup/*.tar");
        assert_eq!(file, "640 reinstate reinstate-admin\n");
    });
}
