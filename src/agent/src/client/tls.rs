//! Which servers are trusted: those whose certificate leads to what the operator named, over TLS 1.3.

use super::pinned::{Fingerprint, Pinned};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

const CA_BYTES_MAX: u64 = 1024 * 1024;

/// What a server's certificate must lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The CA certificates in this PEM file.
    File(PathBuf),
    /// The CAs that this host's system trusts.
    System,
    /// A certificate with this key: the server's own, or a CA's that the server sends along.
    Pinned(Fingerprint),
}

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("could not read the CA certificates in {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} holds no CA certificate in PEM form", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} holds a certificate that cannot be used: {message}", path.display())]
    Unusable { path: PathBuf, message: String },
    #[error("the system has no CA certificates that can be used{}{causes}", if causes.is_empty() { "" } else { ": " })]
    NoSystemRoots { causes: String },
    #[error("TLS could not be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Without a `trust` nobody is trusted, and every https connection fails.
pub fn client_config(trust: Option<&Trust>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let roots = match trust {
        None => RootCertStore::empty(),
        Some(Trust::File(path)) => roots(path)?,
        Some(Trust::System) => system_roots()?,
        Some(Trust::Pinned(fingerprint)) => {
            let verifier = Arc::new(Pinned::new(*fingerprint, provider));
            return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
        }
    };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let causes: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoSystemRoots { causes: causes.join("; ") });
    }
    Ok(roots)
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let read = |source| TlsError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(read)?.len() > CA_BYTES_MAX {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    let pem = std::fs::read(path).map_err(read)?;
    let unusable = |message: String| TlsError::Unusable { path: path.to_owned(), message };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
        roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(roots)
}
