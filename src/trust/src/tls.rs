//! The installation's certificate authority and the server certificates it issues: X.509, ECDSA P-256, PEM.
//!
//! Invariant: the authority issues server certificates and nothing else (no further authorities), each with a random serial
//! and the names it was asked for. Absent on purpose: reading certificates of others; [`Ca::from_pem`] takes what
//! [`Ca::create`] made.

mod der;

use crate::seal::random_bytes;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName};
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

/// How long an authority lasts.
pub const CA_DAYS: u32 = 3653;
/// How long a server certificate lasts unless there is a reason: clients refuse more than 398 days.
pub const SERVER_DAYS: u32 = 397;
/// Certificates count from this long before they are made, for clients whose clocks are behind.
const BACKDATE_S: u64 = 3600;
const DAY_S: u64 = 24 * 3600;
/// X.520 allows no longer common name.
const NAME_CHARS_MAX: usize = 64;
const SERIAL_BYTES: usize = 16;

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("a certificate authority's name has 1 to {NAME_CHARS_MAX} characters")]
    CaName,
    #[error("a server certificate needs at least one name")]
    NoName,
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Name(String),
    #[error("the time does not fit into a certificate")]
    Time,
    #[error("the certificate authority has expired")]
    CaExpired,
    #[error("is not a certificate in PEM")]
    NotACertificate,
    #[error("is not a certificate authority of Pilothouse")]
    NotOurCa,
    #[error("is not an ECDSA P-256 private key in PEM")]
    Key,
    #[error("the private key does not belong to the certificate")]
    OtherKey,
    #[error("the certificate could not be made")]
    Make(#[source] rcgen::Error),
}

/// The authority with its private key.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    cert_pem: String,
    expires_at: Timestamp,
}

/// A certificate and its private key, both PEM. `key_pem` is a secret.
pub struct IssuedCertificate {
    pub cert_pem: String,
    pub key_pem: String,
}

impl Ca {
    /// A new authority that lasts [`CA_DAYS`].
    pub fn create(name: &str, now: Timestamp) -> Result<Ca, TlsError> {
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
            return Err(TlsError::CaName);
        }
        let key = new_key()?;
        let mut params = ca_params(name);
        set_lifetime(&mut params, now, days_after(now, CA_DAYS)?)?;
        let cert_pem = params.self_signed(&key).map_err(TlsError::Make)?.pem();
        let expires_at = certificate_expiry(&cert_pem)?;
        Ok(Ca { issuer: Issuer::new(params, key), cert_pem, expires_at })
    }

    /// The authority that [`Ca::create`] made, from its certificate and key.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Ca, TlsError> {
        let der = certificate(cert_pem)?;
        let fields = der::read(&der).ok_or(TlsError::NotACertificate)?;
        let name = fields.common_name().ok_or(TlsError::NotOurCa)?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| TlsError::Key)?;
        if !key.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Err(TlsError::Key);
        }
        if fields.public_key != key.subject_public_key_info() {
            return Err(TlsError::OtherKey);
        }
        Ok(Ca {
            issuer: Issuer::new(ca_params(name), key),
            cert_pem: cert_pem.to_owned(),
            expires_at: fields.not_after,
        })
    }

    /// What clients trust.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// PKCS#8. A secret.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// A certificate for a server with these names (DNS, `*.` in front allowed, or IP), `days` from now but never beyond the
    /// authority's own end. The key is new each time.
    pub fn issue_server(&self, names: &[String], now: Timestamp, days: u32) -> Result<IssuedCertificate, TlsError> {
        if names.is_empty() {
            return Err(TlsError::NoName);
        }
        if now >= self.expires_at {
            return Err(TlsError::CaExpired);
        }
        let key = new_key()?;
        let mut params = named("pilothouse server");
        params.subject_alt_names = names.iter().map(|name| alternative_name(name)).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        set_lifetime(&mut params, now, days_after(now, days)?.min(self.expires_at))?;
        let cert = params.signed_by(&key, &self.issuer).map_err(TlsError::Make)?;
        Ok(IssuedCertificate { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }
}

/// When the (first) certificate of a PEM text ends.
pub fn certificate_expiry(cert_pem: &str) -> Result<Timestamp, TlsError> {
    let der = certificate(cert_pem)?;
    der::read(&der).map(|fields| fields.not_after).ok_or(TlsError::NotACertificate)
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| TlsError::NotACertificate)
}

fn new_key() -> Result<KeyPair, TlsError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(TlsError::Make)
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(random_serial());
    params
}

/// The parts of an authority's certificate that its key and name decide.
fn ca_params(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Positive and always of the same length.
fn random_serial() -> SerialNumber {
    let mut bytes: [u8; SERIAL_BYTES] = random_bytes();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn alternative_name(name: &str) -> Result<SanType, TlsError> {
    let wrong = || TlsError::Name(name.to_owned());
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).map_err(|_| wrong())?;
    name.try_into().map(SanType::DnsName).map_err(|_| wrong())
}

fn days_after(now: Timestamp, days: u32) -> Result<Timestamp, TlsError> {
    now.checked_add(Duration::from_secs(DAY_S * u64::from(days))).map_err(|_| TlsError::Time)
}

fn set_lifetime(params: &mut CertificateParams, now: Timestamp, end: Timestamp) -> Result<(), TlsError> {
    let start = now.checked_sub(Duration::from_secs(BACKDATE_S)).map_err(|_| TlsError::Time)?;
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(start)?;
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(end)?;
    Ok(())
}

/// Whole seconds, as certificates have them.
fn since_1970(at: Timestamp) -> Result<Duration, TlsError> {
    u64::try_from(at.as_second()).map(Duration::from_secs).map_err(|_| TlsError::Time)
}

#[cfg(test)]
mod tests;
