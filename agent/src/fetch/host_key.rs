//! Is this the server's key? Judged before anything about the user is sent.

use reinstate_api::{Code, Failure, HostKey};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};

use super::known_hosts::{Known, Recorded};

/// A fingerprint that the admin typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// 43 base64 characters, without padding.
    Sha256(String),
    Md5([u8; 16]),
}

impl Given {
    /// `SHA256:` and 43 base64 characters, padded or not; or MD5 as 32 hex digits, with or without
    /// colons and the word `MD5:`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::new(Code::BadRequest, format!("not a fingerprint of a host key: {text}"))
                .hint("give SHA256: and 43 characters, as ssh-keygen -l prints it, or 32 hex digits for MD5")
        };
        if let Some(base64) = text.strip_prefix("SHA256:") {
            let base64 = base64.strip_suffix('=').unwrap_or(base64);
            let ok = base64.len() == 43
                && base64.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'+' || c == b'/');
            return if ok { Ok(Given::Sha256(base64.to_owned())) } else { Err(wrong()) };
        }
        let hex: Vec<u8> = text.strip_prefix("MD5:").unwrap_or(text).bytes().filter(|&c| c != b':').collect();
        if hex.len() != 32 || !hex.iter().all(u8::is_ascii_hexdigit) {
            return Err(wrong());
        }
        let mut md5 = [0; 16];
        for (byte, pair) in md5.iter_mut().zip(hex.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Given::Md5(md5))
    }

    fn is_of(&self, key: &PublicKey) -> bool {
        match self {
            Given::Sha256(base64) => sha256(key).strip_prefix("SHA256:") == Some(base64),
            Given::Md5(digest) => md5_digest(key) == *digest,
        }
    }
}

/// The key as the admin sees it; `host` as in `known_hosts`.
pub(super) fn describe(host: &str, key: &PublicKey) -> HostKey {
    let md5: Vec<String> = md5_digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    HostKey {
        host: host.to_owned(),
        algorithm: key.algorithm().as_str().to_owned(),
        sha256: sha256(key),
        md5: format!("MD5:{}", md5.join(":")),
    }
}

fn sha256(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn md5_digest(key: &PublicKey) -> [u8; 16] {
    md5::compute(key.to_bytes().expect("a key that was decoded can be encoded")).0
}

/// What a server's key is to us.
pub(super) enum Judgement {
    /// It is the known one.
    Known,
    /// It has the given fingerprint and is to be remembered.
    Given(PublicKey),
    /// Nobody has said anything about it.
    Unknown(PublicKey),
    /// It does not have the given fingerprint; the server's key of another algorithm may have.
    NotGiven(PublicKey),
    Refused(Failure),
}

impl Judgement {
    pub fn accepts(&self) -> bool {
        matches!(self, Judgement::Known | Judgement::Given(_))
    }
}

/// All that is needed to judge one server's key.
pub(super) struct Judge {
    /// As in `known_hosts`.
    pub host: String,
    pub known: Known,
    pub given: Option<Given>,
}

impl Judge {
    pub fn judge(&self, key: &PublicKey) -> Judgement {
        let same = |recorded: &&Recorded| recorded.key.key_data() == key.key_data();
        if let Some(revoked) = self.known.revoked.iter().find(same) {
            return Judgement::Refused(
                Failure::new(
                    Code::HostKeyChanged,
                    format!(
                        "the host key of {} is {}, and {} has {} as revoked",
                        self.host,
                        named(key),
                        revoked.place,
                        sha256(&revoked.key)
                    ),
                )
                .hint("nothing was sent to the server; it must be given a new host key"),
            );
        }
        if self.given.as_ref().is_some_and(|given| !given.is_of(key)) {
            return Judgement::NotGiven(key.clone());
        }
        let kin = |recorded: &&Recorded| family(&recorded.key.algorithm()) == family(&key.algorithm());
        match self.known.keys.iter().find(kin).or(self.known.keys.first()) {
            Some(_) if self.known.keys.iter().any(|recorded| same(&recorded)) => Judgement::Known,
            Some(other) => Judgement::Refused(
                Failure::new(
                    Code::HostKeyChanged,
                    format!(
                        "the host key of {} is {}, but {} has {}",
                        self.host,
                        named(key),
                        other.place,
                        named(&other.key)
                    ),
                )
                .hint(
                    "nothing was sent to the server; if its key was changed on purpose, remove that line and try again",
                ),
            ),
            None if self.given.is_some() => Judgement::Given(key.clone()),
            None => Judgement::Unknown(key.clone()),
        }
    }

    /// Algorithms to ask the server for, those of known keys first, without those of `tried`.
    pub fn algorithms(&self, tried: &[PublicKey]) -> Vec<Algorithm> {
        let mut algorithms = vec![
            Algorithm::Ed25519,
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        ];
        let kin = |key: &PublicKey, algorithm: &Algorithm| family(&key.algorithm()) == family(algorithm);
        algorithms.retain(|algorithm| !tried.iter().any(|key| kin(key, algorithm)));
        algorithms.sort_by_key(|algorithm| !self.known.keys.iter().any(|known| kin(&known.key, algorithm)));
        algorithms
    }

    /// None of the server's keys has the fingerprint that was given.
    pub fn not_the_given(&self, typed: &str, seen: &[PublicKey]) -> Failure {
        let seen: Vec<String> = seen.iter().map(named).collect();
        Failure::new(
            Code::HostKeyChanged,
            format!("the host key of {} is {}, not the given {typed}", self.host, seen.join(" or ")),
        )
        .hint("nothing was sent to the server; compare the fingerprint with what the server's own console prints")
    }
}

fn named(key: &PublicKey) -> String {
    format!("{} ({})", sha256(key), key.algorithm().as_str())
}

/// An RSA key serves several signature algorithms.
fn family(algorithm: &Algorithm) -> &str {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From ssh-keygen -l -E sha256 and -E md5.
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    const SHA256: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";

    #[test]
    fn a_fingerprint_is_accepted_as_openssh_prints_it() {
        let key = PublicKey::from_openssh(KEY).unwrap();
        let shown = describe("fw", &key);
        assert_eq!(shown.sha256, SHA256);
        for text in [
            SHA256.to_owned(),
            format!("{SHA256}="),
            shown.md5.clone(),
            shown.md5.replace(':', "").replace("MD5", ""),
            shown.md5[4..].to_uppercase(),
        ] {
            assert!(Given::parse(&text).unwrap().is_of(&key), "{text}");
        }
        assert!(!Given::parse(&SHA256.replace("DiY", "dIy")).unwrap().is_of(&key), "case matters");
        for text in [
            "",
            "SHA256:",
            "SHA256:short",
            "MD5:00",
            "sha256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
            "zz",
        ] {
            assert_eq!(Given::parse(text).unwrap_err().code, Code::BadRequest, "{text}");
        }
    }
}
