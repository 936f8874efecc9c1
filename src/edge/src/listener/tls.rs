//! TLS 1.3 only, from PEM files. Tickets let a fleet come back after a restart without full handshakes.

use super::ListenError;
use crate::config::TlsFiles;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// One ticket per handshake is enough for clients that keep one connection.
const TICKETS: usize = 1;

pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ListenError> {
    let refused = |path: &Path, cause: String| ListenError::Tls { path: path.display().to_string(), cause };
    let (certificate, key) = (&files.certificate, &files.private_key);
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|e| refused(certificate, e.to_string()))?;
    if chain.is_empty() {
        return Err(refused(certificate, "the file holds no certificate".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| refused(key, e.to_string()))?;
    let unusable = |e: rustls::Error| refused(key, e.to_string());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new().map_err(unusable)?;
    config.send_tls13_tickets = TICKETS;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
