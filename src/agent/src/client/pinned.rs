//! Trust in one key, named by its fingerprint, where no CA file can be brought to a host beforehand.
//!
//! Invariant: a server is accepted only if its certificate is of the pinned key, or leads to a certificate of the pinned key
//! that came along, and bears the server's name either way. Absent on purpose: a first use that is believed. A pinned server
//! key counts beyond its certificate's end, which is its operator's reminder and nobody's protection.

use data_encoding::HEXLOWER_PERMISSIVE;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error as ThisError;

const SCHEME: &str = "sha256:";
/// More certificates than any chain has.
const CHAIN_MAX: usize = 16;

/// SHA-256 of a public key as certificates hold it (`SubjectPublicKeyInfo`, DER). Text: `sha256:` and 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

#[derive(Debug, ThisError)]
#[error("must be {SCHEME} and 64 hex digits")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Fingerprint, FingerprintError> {
        let digits = text.trim().strip_prefix(SCHEME).ok_or(FingerprintError)?;
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| FingerprintError)?;
        bytes.try_into().map(Fingerprint).map_err(|_| FingerprintError)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl Fingerprint {
    /// None: not a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Fingerprint> {
        let key = ParsedCertificate::try_from(certificate).ok()?.subject_public_key_info();
        Some(Fingerprint(Sha256::digest(key.as_ref()).into()))
    }
}

#[derive(Debug)]
pub struct Pinned {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    pub fn new(fingerprint: Fingerprint, provider: Arc<CryptoProvider>) -> Pinned {
        Pinned { fingerprint, provider }
    }

    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        Fingerprint::of(certificate) == Some(self.fingerprint)
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is_pinned(end_entity) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let pinned = intermediates.iter().take(CHAIN_MAX).find(|certificate| self.is_pinned(certificate));
        let pinned = pinned.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone()).build();
        let verifier = verifier.map_err(|e| Error::General(e.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fingerprints_are_read_strictly() {
        let text = format!("sha256:{}", "0f".repeat(32));
        assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().replace("SHA", "sha").parse::<Fingerprint>().unwrap().to_string(), text);
        for wrong in ["", "sha256:", &text[7..], &text[..70], &format!("{text}0"), &text.replace("sha256", "sha1")] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
        assert_eq!(Fingerprint::of(&CertificateDer::from(vec![0x30, 0])), None);
    }
}
