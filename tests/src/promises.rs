//! What a restore promises, on whatever it runs: the same bodies for sandbox, container and virtual machine.

use std::fmt::Debug;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use crate::forge::Forge;
use crate::vm::{Console, Said, until};

/// Longer than a restore takes on the slowest of them.
const PATIENCE: Duration = Duration::from_secs(600);

/// A replacement that runs; its donor has failed and left a backup.
pub trait Replacement {
    /// What is seen of an appliance: identity, address, policy, host keys, accounts.
    type Picture: Debug + PartialEq;

    /// Whether `/run` is in memory.
    const HAS_MEMORY: bool;

    /// What was seen of the donor.
    fn donor(&self) -> Self::Picture;

    /// Name and content of its backup.
    fn backup(&self) -> (String, Vec<u8>);

    /// What is seen of this one now.
    fn picture(&self) -> Self::Picture;

    /// Puts a file into the backup folder.
    fn keep(&self, name: &str, content: &[u8]);

    /// One command of the admin's shell with all of its input; errors come with the output.
    fn say(&self, command: &str, answers: &str) -> Said;

    /// The same with its input and output open.
    fn spawn(&self, command: &str) -> Child;

    /// What a shell says in the appliance's root folder; it has to succeed.
    fn look(&self, command: &str) -> String;

    /// What the agent reads of the configuration.
    fn scan(&self) -> String;

    /// Something that is another one after each restart.
    fn boot(&self) -> String;

    /// Waits until it has restarted, and answers.
    fn restarts(&mut self);
}

/// The name that the backup has in the backup folder where it is another one's.
const OTHER: &str = "other_20260105080000.tar";

/// A replacement takes identity, address, policy, host keys and accounts of its donor; its VPN is gone and listed, its keys
/// are only in memory, and the restore is on record.
pub fn a_replacement_becomes_its_donor(new: &mut impl Replacement) {
    let (file, archive) = new.backup();
    new.keep(&file, &archive);
    let (scan, boot) = (new.scan(), new.boot());
    let said = new.say(&format!("restore remote-manager-backup {file}"), "Y\n");
    assert!(said.ok, "{said:?}");
    new.restarts();
    let shown = end_of_job(new);
    assert_eq!(value(&shown, "Result"), "succeeded", "{shown}");
    assert_eq!(value(&shown, "Restore lock"), "not taken", "{shown}");
    assert_ne!(new.scan(), scan);
    assert_ne!(new.boot(), boot);
    assert_eq!(new.picture(), new.donor());
    vpn_is_gone(new, &archive, &shown);
    keys_are_in_memory(new);
}

/// Refused with both values, and nothing is other than before.
pub fn a_backup_of_another_model_is_refused(new: &impl Replacement) {
    let (_, archive) = new.backup();
    let mut archive = Forge::open(&archive).unwrap();
    let own = archive.manifest.hardware.model.clone();
    archive.manifest.hardware.model = "Another model".into();
    new.keep(OTHER, &archive.write().unwrap());
    unchanged(new, |new| {
        let said = new.say(&format!("restore remote-manager-backup {OTHER}"), "Y\n");
        assert_eq!(said.status, Some(1), "{said:?}");
        for word in ["Another model", &own, "[model-mismatch]", "Nothing was changed."] {
            assert!(said.out.contains(word), "'{word}' is not in {said:?}");
        }
    });
}

/// Ended at its question by another session, and nothing is other than before.
pub fn an_abort_changes_nothing(new: &impl Replacement) {
    let (file, archive) = new.backup();
    new.keep(&file, &archive);
    unchanged(new, |new| {
        let mut shell = new.spawn(&format!("restore remote-manager-backup {file}"));
        let mut console = Console::new(Path::new("/dev/null"));
        console.attach(shell.stdout.take().unwrap(), shell.stdin.take().unwrap());
        console.expect("Are you sure you want to continue (Y/N): ", PATIENCE);
        let said = new.say("restore abort", "Y\n");
        assert!(said.ok, "{said:?}");
        let ended = until("the end of the shell", PATIENCE, || shell.try_wait().unwrap());
        assert_eq!(ended.code(), Some(1), "{}", console.text());
        assert!(console.text().contains("[aborted]"), "{}", console.text());
    });
}

/// Runs what has to leave the appliance as it is, without a restart and without a lock.
fn unchanged<R: Replacement>(new: &R, attempt: impl FnOnce(&R)) {
    let (scan, boot) = (new.scan(), new.boot());
    attempt(new);
    let shown = end_of_job(new);
    assert!(value(&shown, "Result").starts_with("failed"), "{shown}");
    assert_eq!(value(&shown, "Restore lock"), "not taken", "{shown}");
    assert_eq!(new.look("ls var/lib/reinstate/generations; ls var/lib/reinstate/drafts"), "0\n");
    assert_eq!((new.scan(), new.boot()), (scan, boot));
}

fn vpn_is_gone(new: &impl Replacement, archive: &[u8], shown: &str) {
    let left = new.look("find etc/swanctl -type f ! -name swanctl.conf");
    assert_eq!(left, "", "VPN configuration of the donor");
    let archive = Forge::open(archive).unwrap();
    let connections = ["site-b", "site-c"];
    for name in connections {
        let path = format!("etc/swanctl/conf.d/{name}.conf");
        assert_ne!(archive.text("vpn", &path).unwrap(), "", "{path} is in the backup");
        assert!(shown.contains(name), "{name} is not listed: {shown}");
    }
}

fn keys_are_in_memory<R: Replacement>(new: &R) {
    for key in ["etc/ssh/ssh_host_ed25519_key", "etc/appliance/manager.key"] {
        let place = new.look(&format!("test -s {key} && readlink {key}"));
        assert!(place.trim().ends_with(&format!("run/reinstate/secrets/{key}")), "{key} is at {place}");
        if R::HAS_MEMORY {
            assert_eq!(new.look(&format!("findmnt -nro FSTYPE -T $(readlink -f {key})")), "tmpfs\n");
        }
    }
}

/// Waits for the end of the job that runs; what `show restore` says then.
fn end_of_job(new: &impl Replacement) -> String {
    until("the end of the restore", PATIENCE, || {
        let said = new.say("show restore", "");
        (said.ok && said.out.lines().any(|line| line.starts_with("Result "))).then_some(said.out)
    })
}

/// Behind the colon of the line that begins so.
fn value<'a>(shown: &'a str, key: &str) -> &'a str {
    let line = shown.lines().find(|line| line.starts_with(key));
    line.and_then(|line| line.split_once(": ")).map(|(_, value)| value).unwrap_or_default()
}
