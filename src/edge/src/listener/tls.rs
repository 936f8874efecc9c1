//! TLS 1.3 only, from PEM files. Tickets let a fleet come back after a restart without full handshakes.
//!
//! The files are looked at again while Pilothouse runs: whoever renews the certificate replaces them, and connections from then on
//! get the new one. Files that cannot be used change nothing but the log.

use super::ListenError;
use crate::config::TlsFiles;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio_rustls::TlsAcceptor;

/// One ticket per handshake is enough for clients that keep one connection.
const TICKETS: usize = 1;
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The certificate that connections get.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    shown: RwLock<Arc<CertifiedKey>>,
    /// The files as they were looked at last.
    seen: Mutex<Seen>,
}

/// What tells that a file was replaced: its length and the time of its change.
type Seen = [Option<(u64, SystemTime)>; 2];

impl Certificate {
    pub fn load(files: &TlsFiles) -> Result<Certificate, ListenError> {
        let provider = Arc::new(ring::default_provider());
        let seen = Mutex::new(look(files));
        let shown = RwLock::new(Arc::new(read(files, &provider)?));
        Ok(Certificate { files: files.clone(), provider, shown, seen })
    }

    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, ListenError> {
        let unusable = |e: rustls::Error| refused(&self.files.private_key, e.to_string());
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(unusable)?;
        config.send_tls13_tickets = TICKETS;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// For as long as the listener is served.
    pub async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look_again();
        }
    }

    /// Takes replaced files over. A pair that does not fit is half a replacement, or a wrong one: it is tried again when it changes.
    fn look_again(&self) {
        let now = look(&self.files);
        if std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), now) == now {
            return;
        }
        let path = self.files.certificate.display();
        match read(&self.files, &self.provider) {
            Ok(read) => {
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                tracing::info!(%path, "the certificate was replaced");
            }
            Err(e) => {
                tracing::warn!(error = &e as &dyn std::error::Error, "the old certificate stays in use");
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn look(files: &TlsFiles) -> Seen {
    [&files.certificate, &files.private_key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    })
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, ListenError> {
    let (certificate, key) = (&files.certificate, &files.private_key);
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|e| refused(certificate, e.to_string()))?;
    if chain.is_empty() {
        return Err(refused(certificate, "the file holds no certificate".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| refused(key, e.to_string()))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|e| refused(key, e.to_string()))
}

fn refused(path: &Path, cause: String) -> ListenError {
    ListenError::Tls { path: path.display().to_string(), cause }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use std::fs::write;
    use trust::tls::Ca;

    #[test]
    fn replaced_files_are_taken_over_once_they_fit() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: dir.path().join("c.pem"), private_key: dir.path().join("k.pem") };
        let ca = Ca::create("test", Timestamp::now()).unwrap();
        let issue = || ca.issue_server(&["localhost".to_owned()], Timestamp::now(), 1).unwrap();
        let (first, second) = (issue(), issue());
        write(&files.certificate, &first.cert_pem).unwrap();
        write(&files.private_key, &first.key_pem).unwrap();
        let certificate = Certificate::load(&files).unwrap();
        let shown = || certificate.shown.read().unwrap().clone();
        let before = shown();
        certificate.look_again();
        assert!(Arc::ptr_eq(&before, &shown()), "nothing has changed");

        // Times of changes are as coarse as the file system has them; a comment makes the length another one as well.
        write(&files.certificate, format!("# new\n{}", second.cert_pem)).unwrap();
        certificate.look_again();
        assert!(Arc::ptr_eq(&before, &shown()), "half of a replacement");
        write(&files.private_key, format!("# new\n{}", second.key_pem)).unwrap();
        certificate.look_again();
        assert_ne!(shown().cert, before.cert);
        std::fs::remove_file(&files.certificate).unwrap();
        let after = shown();
        certificate.look_again();
        assert!(Arc::ptr_eq(&after, &shown()), "a missing file");
    }
}
