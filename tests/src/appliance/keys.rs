//! Keys and certificates, made anew for every appliance.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use russh::keys::ssh_key::{EcdsaCurve, LineEnding};
use russh::keys::{Algorithm, PrivateKey};

use crate::Result;

/// An OpenSSH key pair: the private file and the public one.
pub fn ssh(algorithm: Algorithm, comment: &str) -> Result<(String, String)> {
    let mut key = PrivateKey::random(&mut rand::rng(), algorithm)?;
    key.set_comment(comment);
    let public = key.public_key().to_openssh()?;
    Ok((key.to_openssh(LineEnding::LF)?.to_string(), public + "\n"))
}

/// The private half, as OpenSSH writes it.
pub fn openssh(key: &PrivateKey) -> String {
    key.to_openssh(LineEnding::LF).expect("a key that was just made can be written").to_string()
}

pub fn ecdsa() -> Algorithm {
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }
}

/// A certificate in PEM and its key, signed by an authority.
pub struct Certificate {
    pub pem: String,
    pub key: String,
}

/// An authority for certificates.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = named(name, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Self { pem, issuer })
    }

    pub fn certificate(&self, name: &str) -> Result<Certificate> {
        let key = KeyPair::generate()?;
        let params = named(name, vec![name.to_owned()])?;
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Certificate { pem, key: key.serialize_pem() })
    }
}

fn named(name: &str, names: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
