//! Where the manager is, and with what it is spoken to.

use reinstate_api::{Code, Failure, Secret};
use serde::{Deserialize, Serialize};

use crate::facts;
use crate::files::{Folder, found};
use crate::profile::Profile;
use crate::tree::TreePath;

const HTTPS: u16 = 443;

/// The largest of the files: a chain of certificates.
const MAX_BYTES: u64 = 256 << 10;

/// Read by a root process, because only root reads the key; from there to the daemon by a pipe.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    /// The URL's path, the device included.
    pub path: String,
    /// PEM, all three.
    pub ca: String,
    pub certificate: String,
    pub key: Secret,
}

impl Credentials {
    /// None where there is no manager, or none that is told.
    pub fn read(root: &Folder, profile: &Profile) -> Result<Option<Self>, Failure> {
        let Some(how) = profile.manager.as_ref().and_then(|manager| manager.check_in.as_ref()) else {
            return Ok(None);
        };
        let Some(registration) = facts::registration(root, profile)? else {
            return Ok(None);
        };
        let port = match &how.port {
            Some(reading) => facts::read(root, reading)?.into_iter().find(|port| !port.is_empty()),
            None => None,
        };
        let port = match port {
            None => HTTPS,
            Some(text) => text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
                unusable(format!("the manager's port is '{text}', which is none of 1 to 65535"))
            })?,
        };
        let host = registration.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let pem = |what: &str, path: &TreePath| {
            let bytes = found(root.read_in_root(path, MAX_BYTES))?
                .ok_or_else(|| unusable(format!("{what} is expected at {path}, where there is nothing")))?;
            String::from_utf8(bytes).map_err(|_| unusable(format!("{what} at {path} is not in PEM")))
        };
        Ok(Some(Self {
            host,
            port,
            path: format!("{}/{}", how.path, encoded(&registration.device_uuid)),
            ca: pem("the manager's authority", &how.ca)?,
            certificate: pem("the certificate for the manager", &how.certificate)?,
            key: Secret::new(pem("the key for the manager", &how.key)?),
        }))
    }
}

pub(super) fn unusable(why: String) -> Failure {
    Failure::new(Code::ManagerCredentials, why)
        .hint("register this appliance with its manager again; until then the manager is not told")
}

/// One segment of a path.
fn encoded(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => segment.push(byte.into()),
            byte => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_uuid_stays_one_segment_of_the_path() {
        assert_eq!(encoded("0a1B-_.~"), "0a1B-_.~");
        assert_eq!(encoded("../x?y z\r\n"), "..%2Fx%3Fy%20z%0D%0A");
    }
}
