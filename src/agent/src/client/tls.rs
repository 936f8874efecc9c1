//! Which servers are trusted: those whose certificate leads to the operator's CA, over TLS 1.3.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

const CA_BYTES_MAX: u64 = 1024 * 1024;

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
    #[error("TLS could not be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Without a file nobody is trusted, and every https connection fails.
pub fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let roots = ca_file.map(roots).transpose()?.unwrap_or_else(RootCertStore::empty);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
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
