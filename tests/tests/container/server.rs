//! A real SSH server on this machine's address that holds the donor's backup.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use reinstate_tests::container::Site;
use reinstate_tests::sshd::{Account, Sshd, SshdOptions};
use tempfile::TempDir;

use crate::donor::donor;

pub const USER: &str = "vault";
pub const PASSWORD: &str = "Kept-Elsewhere-22";

pub struct Server {
    pub sshd: Sshd,
    served: TempDir,
}

impl Server {
    pub fn start(site: &Site) -> Self {
        let served = tempfile::tempdir().unwrap();
        // Its account is not the one that this runs with.
        fs::set_permissions(served.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(served.path().join(&donor().file), &donor().archive).unwrap();
        let sshd = Sshd::start(&SshdOptions {
            listen: site.address().into(),
            account: Some(Account { name: USER.into(), password: PASSWORD.into() }),
            ..SshdOptions::default()
        });
        Self { sshd, served }
    }

    /// The folder with the backup.
    pub fn folder(&self) -> String {
        self.served.path().display().to_string()
    }
}
