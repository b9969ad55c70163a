use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use reinstate_api::{
    BackupDetails, Code, DeviceIdentity, Failure, HardwareIdentity, Registration, Role, Software, one_line,
};
use serde::{Deserialize, Serialize};

use super::names::is_domain_name;
use super::{MANIFEST, invalid, refused, shown};
use crate::tree::Digest;

/// What an archive says of itself, in its first member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`Manifest::FORMAT`]; an archive of a later format is refused before the rest is looked at.
    pub format: u32,
    pub created: Timestamp,
    /// Of the second member.
    pub sha256sums: Digest,
    #[serde(default)]
    pub licence: String,
    pub hardware: HardwareIdentity,
    pub device: DeviceIdentity,
    pub software: Software,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<Registration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ha: Option<HaGroup>,
    #[serde(default)]
    pub domains: Vec<DomainRecord>,
}

/// An HA pair or a cluster, as the device knew it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaGroup {
    pub name: String,
    #[serde(default)]
    pub members: Vec<HaMember>,
}

impl HaGroup {
    /// The most members: 64.
    pub const MAX_MEMBERS: usize = 64;

    /// Why it cannot be one.
    pub fn check(&self) -> Result<(), String> {
        if self.name.is_empty() || one_line(&self.name) != self.name {
            return Err(format!("'{}' is no group's name", one_line(&self.name)));
        }
        if self.members.len() > Self::MAX_MEMBERS {
            return Err(format!("{} members, of at most {}", self.members.len(), Self::MAX_MEMBERS));
        }
        let mut uuids = BTreeSet::new();
        for member in &self.members {
            let name = one_line(&member.hostname);
            if member.uuid.is_empty() || !uuids.insert(&member.uuid) {
                return Err(format!(
                    "the device UUID of {name}, '{}', is none or there twice",
                    one_line(&member.uuid)
                ));
            }
            if let Some(bad) = member.addresses.iter().find(|address| address.parse::<IpAddr>().is_err()) {
                return Err(format!("'{}' of {name} is no IP address", one_line(bad)));
            }
        }
        Ok(())
    }

    pub fn member(&self, uuid: &str) -> Option<&HaMember> {
        self.members.iter().find(|member| member.uuid == uuid)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaMember {
    pub uuid: String,
    pub hostname: String,
    pub role: Role,
    /// Where its agent answers, the failover link first.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Its address on the failover link with prefix length, `192.0.2.1/30`; empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failover: String,
    /// Its agent's key, as a line of `known_hosts` has it: `ssh-ed25519 AAAA…`.
    #[serde(default)]
    pub host_key: String,
}

/// What an archive holds of one domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainRecord {
    /// `[a-z][a-z0-9-]{0,31}`
    pub name: String,
    /// Of the domain's declaration.
    pub version: u32,
    /// Regular files, without folders and links.
    pub files: u64,
    /// Content of the files.
    pub bytes: u64,
    /// May be left out where it is not known.
    #[serde(default)]
    pub optional: bool,
}

/// All that is read of a manifest before its format is known.
#[derive(Deserialize)]
struct Format {
    format: u64,
}

/// Begins the last line, which holds the digest of all before it.
const SEAL: &str = "# sha256 ";

impl Manifest {
    /// The format that this agent writes and reads.
    pub const FORMAT: u32 = 1;

    /// What is shown to an admin before the question.
    pub fn details(&self, file: &str) -> BackupDetails {
        let (bytes, files) = self.totals();
        BackupDetails {
            file: file.to_owned(),
            created: self.created,
            hardware: self.hardware.clone(),
            device: self.device.clone(),
            software: self.software.clone(),
            licence: self.licence.clone(),
            manager: self.manager.clone(),
            bytes,
            files,
        }
    }

    /// Bytes of content and number of files, of all domains.
    pub fn totals(&self) -> (u64, u64) {
        self.domains.iter().fold((0, 0), |(bytes, files), record| {
            (u64::saturating_add(bytes, record.bytes), u64::saturating_add(files, record.files))
        })
    }

    pub fn domain(&self, name: &str) -> Option<&DomainRecord> {
        self.domains.iter().find(|record| record.name == name)
    }

    /// From the first member, whose last line must be the digest of all before it.
    ///
    /// # Errors
    ///
    /// `digest-mismatch`, `archive-format`, `archive-invalid`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| invalid(format!("{MANIFEST} is not UTF-8 at byte {}", error.valid_up_to())))?;
        let seal = Seal::of(text);
        if let Seal::Broken { says, has } = seal {
            return Err(refused(
                Code::DigestMismatch,
                format!("{MANIFEST} has SHA-256 {has}, its last line says {says}"),
            ));
        }
        let format = toml::from_str::<Format>(text).map_err(|error| unreadable(text, &error))?.format;
        if format != u64::from(Self::FORMAT) {
            return Err(Failure::new(
                Code::ArchiveFormat,
                format!("the archive has format {format}, this software reads format {}", Self::FORMAT),
            )
            .hint("install the software version that made the archive, or a later one"));
        }
        if seal == Seal::Missing {
            return Err(invalid(format!("the last line of {MANIFEST} is not '{SEAL}<digest>'")));
        }
        let manifest: Self = toml::from_str(text).map_err(|error| unreadable(text, &error))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// As the first member has it.
    ///
    /// # Errors
    ///
    /// Where it is one that [`Manifest::parse`] would refuse.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        self.check()?;
        let mut text = toml::to_string(self).map_err(|error| {
            Failure::new(Code::Internal, format!("{MANIFEST} cannot be written: {error}"))
        })?;
        let seal = format!("{SEAL}{}\n", Digest::of(text.as_bytes()));
        text.push_str(&seal);
        Ok(text.into_bytes())
    }

    fn check(&self) -> Result<(), Failure> {
        let mut names = BTreeSet::new();
        for record in &self.domains {
            if !is_domain_name(&record.name) {
                return Err(invalid(format!("{MANIFEST}: {} is no domain's name", shown(&record.name))));
            }
            if !names.insert(&record.name) {
                return Err(invalid(format!("{MANIFEST} holds the domain {} twice", shown(&record.name))));
            }
        }
        if let Some(group) = &self.ha {
            group.check().map_err(|why| invalid(format!("{MANIFEST}, the HA group: {why}")))?;
        }
        Ok(())
    }
}

fn unreadable(text: &str, error: &toml::de::Error) -> Failure {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    invalid(format!("{MANIFEST}, line {line}: {}", error.message()))
}

#[derive(PartialEq)]
enum Seal {
    Missing,
    Broken { says: Digest, has: Digest },
    Whole,
}

impl Seal {
    fn of(text: &str) -> Self {
        let Some(body) = text.strip_suffix('\n') else {
            return Self::Missing;
        };
        let start = body.rfind('\n').map_or(0, |at| at + 1);
        let Some(Ok(says)) = body[start..].strip_prefix(SEAL).map(str::parse) else {
            return Self::Missing;
        };
        let has = Digest::of(&text.as_bytes()[..start]);
        if has == says { Self::Whole } else { Self::Broken { says, has } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(text: &str) -> Vec<u8> {
        format!("{text}{SEAL}{}\n", Digest::of(text.as_bytes())).into_bytes()
    }

    fn code(bytes: &[u8]) -> (Code, String) {
        let failure = Manifest::parse(bytes).unwrap_err();
        (failure.code, failure.message)
    }

    #[test]
    fn a_later_format_is_told_as_one_even_if_nothing_else_is_understood() {
        let (code_, message) = code(&sealed("format = 2\nnew = [1]\n"));
        assert_eq!(code_, Code::ArchiveFormat);
        assert!(message.contains("format 2") && message.contains("format 1"), "{message}");
        assert_eq!(code(b"format = 7\n").0, Code::ArchiveFormat);
    }

    #[test]
    fn a_changed_byte_of_the_manifest_is_damage_not_another_format() {
        let mut bytes = sealed("format = 1\n");
        bytes[9] = b'3';
        assert_eq!(code(&bytes).0, Code::DigestMismatch);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let (code, message) = code(&sealed("format = 1\n\ncreatd = \"2025-01-01T00:00:00Z\"\n"));
        assert_eq!(code, Code::ArchiveInvalid);
        assert!(message.contains("line 3") && message.contains("creatd"), "{message}");
    }

    #[test]
    fn a_manifest_without_its_seal_is_refused() {
        for text in ["format = 1\n", "format = 1", "", "format = 1\n# sha256 12\n"] {
            assert_eq!(code(text.as_bytes()).0, Code::ArchiveInvalid, "{text:?}");
        }
    }
}
