//! Sealing: private keys on the disk are readable only with their generation's own key.

use std::io::{self, Read, Write};

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use reinstate_api::{Code, Failure};

use crate::files::Folder;
use crate::tree::TreePath;

/// A generation's key, made at random with it and deleted with it.
pub struct SealKey(Identity);

impl SealKey {
    pub fn random() -> Self {
        Self(Identity::generate())
    }

    /// Durable with the generation: its draft syncs everything when it is finished.
    pub fn store(&self, folder: &Folder, name: &str) -> Result<(), Failure> {
        let text = self.0.to_string();
        let mut file = folder.create(name, 0o600)?;
        file.write_all(text.expose_secret().as_bytes())
            .map_err(|e| Failure::io("cannot write the sealing key", &e))
    }

    pub fn load(folder: &Folder, name: &str) -> Result<Self, Failure> {
        let text =
            reinstate_api::Secret::new(String::from_utf8_lossy(&folder.read(name, 1024)?).into_owned());
        text.expose().trim().parse().map(Self).map_err(|why: &str| {
            Failure::new(
                Code::ActivationFailed,
                format!("the generation's sealing key cannot be read: {why}"),
            )
        })
    }

    /// Everything written to the result is sealed into `out`; `finish` it.
    pub fn seal<W: Write>(&self, out: W) -> io::Result<age::stream::StreamWriter<W>> {
        let recipient = self.0.to_public();
        age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            .map_err(io::Error::other)?
            .wrap_output(out)
    }

    pub fn unseal(&self, path: &TreePath, sealed: impl Read + 'static) -> Result<Box<dyn Read>, Failure> {
        let cannot =
            |why: String| Failure::new(Code::ActivationFailed, format!("{path} cannot be unsealed: {why}"));
        let opened = age::Decryptor::new(sealed)
            .and_then(|decryptor| decryptor.decrypt(std::iter::once(&self.0 as &dyn age::Identity)))
            .map_err(|e| cannot(e.to_string()))?;
        Ok(Box::new(opened))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &SealKey, clear: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = key.seal(&mut out).unwrap();
        writer.write_all(clear).unwrap();
        writer.finish().unwrap();
        out
    }

    #[test]
    fn a_sealed_file_opens_with_its_own_key_only() {
        let (key, other) = (SealKey::random(), SealKey::random());
        let bytes = sealed(&key, b"PRIVATE");
        assert!(!bytes.windows(7).any(|w| w == b"PRIVATE"));
        let path: TreePath = "a".parse().unwrap();
        let mut clear = String::new();
        key.unseal(&path, io::Cursor::new(bytes.clone())).unwrap().read_to_string(&mut clear).unwrap();
        assert_eq!(clear, "PRIVATE");
        assert!(other.unseal(&path, io::Cursor::new(bytes)).is_err());
    }
}
