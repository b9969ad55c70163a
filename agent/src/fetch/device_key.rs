//! The appliance's own SSH key, with which it logs in on servers.

use std::path::Path;
use std::sync::Arc;

use reinstate_api::{Code, Failure};
use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

use crate::files::{Folder, found};

const MAX_FILE: u64 = 16 << 10;

/// An Ed25519 key that the appliance made itself.
#[derive(Clone)]
pub struct DeviceKey(Arc<PrivateKey>);

impl DeviceKey {
    /// Loads the key from `folder`/`name`, or makes it there (mode 0600). `host` becomes the comment of
    /// the public key.
    pub fn load_or_create(folder: &Folder, name: &Path, host: &str) -> Result<Self, Failure> {
        let mut key = match found(folder.read(name, MAX_FILE))? {
            Some(file) => PrivateKey::from_openssh(file).map_err(|error| {
                let path = folder.path().join(name);
                Failure::new(Code::StateUnreadable, format!("{} is not an SSH key: {error}", path.display()))
                    .hint("remove that file to have a new key made")
            })?,
            None => {
                let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).map_err(internal)?;
                let file = key.to_openssh(LineEnding::LF).map_err(internal)?;
                folder.publish(name, file.as_bytes(), 0o600)?;
                key
            }
        };
        key.set_comment(host);
        Ok(Self(Arc::new(key)))
    }

    /// The line for a server's `authorized_keys`.
    pub fn public_line(&self) -> String {
        self.0.public_key().to_openssh().expect("a public key of our own can be written")
    }

    pub(super) fn private(&self) -> Arc<PrivateKey> {
        self.0.clone()
    }
}

fn internal(error: russh::keys::ssh_key::Error) -> Failure {
    Failure::new(Code::Internal, format!("cannot make an SSH key: {error}"))
}
