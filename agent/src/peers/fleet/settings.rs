//! Where a configuration has its lock service.

use reinstate_api::{Code, Failure};
use serde::{Deserialize, Serialize};

use super::{Service, Url};
use crate::facts;
use crate::files::{Folder, found};
use crate::https::Fault;
use crate::profile::{Profile, Reading};

pub(super) const CORRECT: &str = "correct the lock service in the configuration";

/// The largest file of authorities.
const MAX_BYTES: u64 = 256 << 10;

/// As they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub url: String,
    pub group: String,
    /// PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

impl Service {
    /// `ca` is the authority, in PEM, that the service's certificate must be of. `http://` is for loopback
    /// addresses alone, and needs none.
    ///
    /// # Errors
    /// `lock-service`, naming which of the three cannot be used, and why.
    pub fn new(url: &str, group: &str, ca: Option<String>) -> Result<Self, Failure> {
        Settings { url: url.to_owned(), group: group.to_owned(), ca }.try_into()
    }

    /// As a configuration has it: none where the profile knows of none, or there is neither URL nor group.
    ///
    /// # Errors
    /// `lock-service` where it is there and cannot be used: its group must not restore without it.
    pub fn read(root: &Folder, profile: &Profile) -> Result<Option<Self>, Failure> {
        let Some(places) = profile.ha.as_ref().and_then(|ha| ha.lock_service.as_ref()) else {
            return Ok(None);
        };
        let value = |reading: &Reading| {
            Ok::<_, Failure>(facts::read(root, reading)?.into_iter().find(|value| !value.is_empty()))
        };
        let (url, group) = match (value(&places.url)?, value(&places.group)?) {
            (None, None) => return Ok(None),
            (Some(url), Some(group)) => (url, group),
            (Some(url), None) => return Err(unusable(format!("the lock service is {url}, without a group"))),
            (None, Some(group)) => {
                return Err(unusable(format!("the lock service's group is '{group}', without a URL")));
            }
        };
        let ca = found(root.read_in_root(&places.ca, MAX_BYTES))?
            .map(|pem| String::from_utf8_lossy(&pem).into_owned());
        let places = [places.url.path(), places.group.path(), &places.ca].map(ToString::to_string);
        Self::new(&url, &group, ca)
            .map(Some)
            .map_err(|why| why.hint(format!("{CORRECT}: {}", places.join(", "))))
    }
}

impl TryFrom<Settings> for Service {
    type Error = Failure;

    fn try_from(settings: Settings) -> Result<Self, Failure> {
        let Settings { url: text, group, ca } = &settings;
        let url = Url::parse(text)
            .map_err(|why| unusable(format!("the lock service's URL '{text}' cannot be used: it {why}")))?;
        if group.is_empty() || !group.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)) {
            let form = "a group has letters, digits, '.' and '-' only";
            return Err(unusable(format!("the lock service's group is '{group}': {form}")));
        }
        match ca {
            Some(ca) if url.tls => url.server().authorities(ca).map(drop).map_err(|fault| match fault {
                Fault::Unusable(why) | Fault::Untrusted(why) | Fault::Unaccepted(why) => unusable(why),
                Fault::Failed(failure) => failure,
            })?,
            None if url.tls => {
                return Err(unusable(format!(
                    "the lock service {text} has no authority to be verified with"
                )));
            }
            _ => {}
        }
        Ok(Self { settings, url })
    }
}

impl From<Service> for Settings {
    fn from(service: Service) -> Self {
        service.settings
    }
}

fn unusable(why: String) -> Failure {
    Failure::new(Code::LockService, why).hint(CORRECT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_half_configured_or_wrong_is_refused_with_the_thing_that_is() {
        let ca = Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned());
        for (url, group, ca, says) in [
            ("http://locks.example", "fw", None, "'http://locks.example' cannot be used: it is not https"),
            ("https://locks.example", "fw", None, "https://locks.example has no authority"),
            ("https://locks.example", "fw", Some("none".to_owned()), "authority cannot be used: it holds no"),
            ("https://locks.example", "fw", ca, "the lock service's authority cannot be used"),
            ("http://127.0.0.1:1", "", None, "group is ''"),
            ("http://127.0.0.1:1", "a b", None, "group is 'a b'"),
            ("http://127.0.0.1:1", "fw_1", None, "group is 'fw_1'"),
        ] {
            let refused = Service::new(url, group, ca).unwrap_err();
            assert_eq!(refused.code, Code::LockService);
            assert!(refused.message.contains(says), "{refused}");
            assert_eq!(refused.hint, CORRECT);
        }
    }

    #[test]
    fn a_service_that_was_written_down_is_the_same_and_is_checked_again() {
        let service = Service::new("http://127.0.0.1:3333/base/", "fw.a-1", None).unwrap();
        let text = toml::to_string(&service).unwrap();
        assert_eq!(toml::from_str::<Service>(&text).unwrap(), service);
        let stranger = text.replace("127.0.0.1", "192.0.2.1");
        assert!(toml::from_str::<Service>(&stranger).unwrap_err().message().contains("is not https"));
    }
}
