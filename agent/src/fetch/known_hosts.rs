//! OpenSSH's `known_hosts`: which keys a host is known by, which are revoked.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use reinstate_api::{Code, Failure, TrustedHost, one_line};
use russh::keys::ssh_key::known_hosts::HostPatterns;
use russh::keys::{HashAlg, PublicKey};
use sha1::Sha1;

use crate::files::{Folder, found};

/// A larger file is refused rather than read.
const MAX_FILE: u64 = 16 << 20;

/// More hosts of one file than this are not shown.
const MAX_SHOWN: usize = 1000;

/// Which host keys are trusted, and where accepted ones are kept.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Files in OpenSSH's format; one that is missing is empty. Plain, hashed and negated names,
    /// wildcards, `[host]:port` and `@revoked` are understood; `@cert-authority` is not used.
    pub known_hosts: Vec<PathBuf>,
    /// The folder and the name of the file, of the same format, that accepted keys are appended to.
    /// It is read as well.
    pub remember: (Folder, PathBuf),
}

/// A key in a file, and where: `FILE:LINE`.
pub(super) struct Recorded {
    pub key: PublicKey,
    pub place: String,
}

/// What the files say about one host.
#[derive(Default)]
pub(super) struct Known {
    pub keys: Vec<Recorded>,
    pub revoked: Vec<Recorded>,
    /// Where certificate authorities for the host are named.
    pub authorities: Vec<String>,
}

impl Trust {
    /// What is known about `name`, as [`host_name`] forms it.
    pub(super) fn look_up(&self, name: &str) -> Result<Known, Failure> {
        let mut known = Known::default();
        for path in &self.known_hosts {
            known.add(path, &read(path)?, name);
        }
        let (folder, file) = &self.remember;
        let own = found(folder.read(file, MAX_FILE))?.unwrap_or_default();
        known.add(&folder.path().join(file), &String::from_utf8_lossy(&own), name);
        Ok(known)
    }

    /// Keeps an accepted key, durably.
    pub(super) fn remember(&self, name: &str, key: &PublicKey) -> Result<(), Failure> {
        let (folder, file) = &self.remember;
        let mut content = found(folder.read(file, MAX_FILE))?.unwrap_or_default();
        if content.last().is_some_and(|&last| last != b'\n') {
            content.push(b'\n');
        }
        let mut key = key.clone();
        key.set_comment("");
        let key = key.to_openssh().map_err(|e| Failure::new(Code::Internal, format!("host key: {e}")))?;
        content.extend_from_slice(format!("{} {}\n", name.to_lowercase(), key.trim_end()).as_bytes());
        Ok(folder.replace(file, &content, 0o644)?)
    }

    /// Has an admin accepted a key of this host?
    pub fn accepted(&self, host: &str, port: u16) -> Result<bool, Failure> {
        let (folder, file) = &self.remember;
        let content = found(folder.read(file, MAX_FILE))?.unwrap_or_default();
        Ok(crate::configure::distrust(&String::from_utf8_lossy(&content), host, port).is_some())
    }

    /// An accepted key is accepted no more.
    pub fn forget(&self, host: &str, port: u16) -> Result<(), Failure> {
        let (folder, file) = &self.remember;
        let Some(content) = found(folder.read(file, MAX_FILE))? else { return Ok(()) };
        match crate::configure::distrust(&String::from_utf8_lossy(&content), host, port) {
            Some(content) => Ok(folder.replace(file, content.as_bytes(), 0o644)?),
            None => Ok(()),
        }
    }
}

/// The hosts that a file knows, each of a line's names by itself; those that are hashed have none to show.
pub fn trusted_hosts(text: &str, configured: bool) -> Vec<TrustedHost> {
    let mut hosts = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', '@'])) {
        let mut fields = line.split_whitespace();
        let (Some(names), Some(kind), Some(base64)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Ok(key) = PublicKey::from_openssh(&format!("{kind} {base64}")) else { continue };
        let names: Vec<&str> =
            if names.starts_with('|') { vec!["(hashed)"] } else { names.split(',').collect() };
        hosts.extend(names.into_iter().take(MAX_SHOWN - hosts.len()).map(|name| TrustedHost {
            host: one_line(name),
            algorithm: key.algorithm().to_string(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            configured,
        }));
    }
    hosts
}

/// The name that a host has in these files: `host`, or `[host]:port` where the port is not 22.
pub fn host_name(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
}

/// Only a file that is not there is empty: one that cannot be read could hold the key that differs.
fn read(path: &Path) -> Result<String, Failure> {
    let doing = format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() as u64 > MAX_FILE => {
            Err(Failure::new(Code::Io, format!("{doing}: it is larger than {MAX_FILE} bytes")))
        }
        Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Failure::io(doing, &error)),
    }
}

impl Known {
    fn add(&mut self, path: &Path, text: &str, name: &str) {
        let name = name.to_lowercase();
        for (number, line) in text.lines().enumerate() {
            let mut fields = line.split_whitespace().peekable();
            let marker = fields.next_if(|field| field.starts_with('@'));
            let (Some(hosts), Some(kind), Some(base64)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if hosts.starts_with('#') || !names_host(hosts, &name) {
                continue;
            }
            // Like OpenSSH, a line of a key type that we do not know is passed over.
            let Ok(key) = PublicKey::from_openssh(&format!("{kind} {base64}")) else {
                continue;
            };
            let place = format!("{}:{}", path.display(), number + 1);
            match marker {
                None => self.keys.push(Recorded { key, place }),
                Some("@revoked") => self.revoked.push(Recorded { key, place }),
                Some("@cert-authority") => self.authorities.push(place),
                Some(_) => {}
            }
        }
    }
}

/// Does the first field of a line mean the host? A negated pattern that matches rules the line out.
pub fn names_host(hosts: &str, name: &str) -> bool {
    match HostPatterns::from_str(hosts) {
        Ok(HostPatterns::HashedName { salt, hash }) => Hmac::<Sha1>::new_from_slice(&salt)
            .is_ok_and(|mac| mac.chain_update(name).verify_slice(&hash).is_ok()),
        Ok(HostPatterns::Patterns(patterns)) => {
            let mut named = false;
            for pattern in patterns {
                let pattern = pattern.to_lowercase();
                match pattern.strip_prefix('!') {
                    Some(not) if matches(not, name) => return false,
                    Some(_) => {}
                    None => named |= matches(&pattern, name),
                }
            }
            named
        }
        Err(_) => false,
    }
}

/// OpenSSH's patterns: `*` is any run of characters, `?` any one.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match retry {
                Some((after_star, from)) => {
                    retry = Some((after_star, from + 1));
                    (p, n) = (after_star, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_openssh() {
        for (hosts, name, expected) in [
            ("fw.example", "fw.example", true),
            ("FW.example", "fw.example", true),
            ("fw.example", "[fw.example]:2222", false),
            ("*", "[fw.example]:2222", true),
            ("[*.example]:2222", "[fw.example]:2222", true),
            ("[*.example]:2222", "fw.example", false),
            ("192.0.2.?", "192.0.2.7", true),
            ("192.0.2.?", "192.0.2.77", false),
            ("*.example,!fw.example", "fw.example", false),
            ("!fw.example,*.example", "other.example", true),
            ("!other.example", "fw.example", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyyd", false),
            ("2001:db8::1", "2001:db8::1", true),
            // As ssh-keygen -H writes them.
            ("|1|izHizXpXFWTzlR/Cdk/o3w5areo=|lE6ccPQsoXEmWzTItkHJATH/xUo=", "192.0.2.61", true),
            ("|1|izHizXpXFWTzlR/Cdk/o3w5areo=|lE6ccPQsoXEmWzTItkHJATH/xUo=", "192.0.2.62", false),
            ("|1|AAECAwQFBgcICQoLDA0ODxAREhM=|garbage", "192.0.2.61", false),
        ] {
            assert_eq!(names_host(hosts, name), expected, "{hosts} {name}");
        }
    }
}
