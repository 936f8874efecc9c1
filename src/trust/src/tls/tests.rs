//! Handshakes in memory between a server with an issued certificate and clients that trust some authority.
#![allow(clippy::unwrap_used)]

use super::*;
use rustls::client::{ClientConnection, danger::ServerCertVerifier};
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion, version};
use std::sync::Arc;

const NOW_S: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW_S).unwrap()
}

fn ca() -> Ca {
    Ca::create("Test CA", now()).unwrap()
}

fn names() -> Vec<String> {
    ["localhost", "*.fleet.example.com", "127.0.0.1", "::1"].map(String::from).to_vec()
}

fn days(days: i64) -> i64 {
    NOW_S + days * 24 * 3600
}

#[derive(Debug)]
struct FixedTime(i64);

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.try_into().unwrap())))
    }
}

/// What a client is like.
struct Client<'a> {
    trusts: &'a str,
    name: &'a str,
    at: i64,
    version: &'static SupportedProtocolVersion,
}

impl Client<'_> {
    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(self.trusts).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_details(provider, Arc::new(FixedTime(self.at)))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

fn client(ca: &Ca) -> Client<'_> {
    Client { trusts: ca.cert_pem(), name: "localhost", at: NOW_S, version: &version::TLS13 }
}

/// Runs the handshake and sends one byte each way.
fn handshake(client: &Client<'_>, issued: &IssuedCertificate) -> Result<(), rustls::Error> {
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let server_config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[client.version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate(&issued.cert_pem).unwrap()], key)?;
    let mut server = ServerConnection::new(Arc::new(server_config))?;
    let name = ServerName::try_from(client.name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client.config()), name)?;
    for _ in 0..10 {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
    }
    panic!("the handshake does not end");
}

#[test]
fn a_client_that_trusts_the_authority_connects() {
    let ca = ca();
    let issued = ca.issue_server(&names(), now(), SERVER_DAYS).unwrap();
    for version in [&version::TLS12, &version::TLS13] {
        for name in ["localhost", "edge-1.fleet.example.com", "127.0.0.1", "::1"] {
            assert_eq!(handshake(&Client { name, version, ..client(&ca) }, &issued), Ok(()), "{name}");
        }
    }
}

#[test]
fn another_authority_or_name_is_refused() {
    let ca = ca();
    let issued = ca.issue_server(&names(), now(), SERVER_DAYS).unwrap();
    // The same name and another key.
    let other = self::ca();
    assert!(handshake(&client(&other), &issued).is_err());
    for name in ["example.com", "a.b.fleet.example.com", "fleet.example.com", "127.0.0.2"] {
        assert!(handshake(&Client { name, ..client(&ca) }, &issued).is_err(), "{name}");
    }
}

#[test]
fn certificates_count_from_an_hour_before_until_they_end() {
    let ca = ca();
    let issued = ca.issue_server(&names(), now(), SERVER_DAYS).unwrap();
    let at = |at| handshake(&Client { at, ..client(&ca) }, &issued).is_ok();
    assert!(at(NOW_S - 3600));
    assert!(!at(NOW_S - 3601));
    assert!(at(days(397)));
    assert!(!at(days(397) + 1));
    assert_eq!(certificate_expiry(&issued.cert_pem).unwrap().as_second(), days(397));
    assert_eq!(ca.expires_at().as_second(), days(3653));
    assert_eq!(certificate_expiry(ca.cert_pem()).unwrap(), ca.expires_at());
}

#[test]
fn no_certificate_outlives_the_authority() {
    let ca = ca();
    let late = Timestamp::from_second(days(3600)).unwrap();
    let issued = ca.issue_server(&names(), late, SERVER_DAYS).unwrap();
    assert_eq!(certificate_expiry(&issued.cert_pem).unwrap(), ca.expires_at());
    assert!(matches!(ca.issue_server(&names(), ca.expires_at(), 1), Err(TlsError::CaExpired)));
}

#[test]
fn an_authority_that_was_stored_issues_as_before() {
    for name in ["Test CA", "Prüfstelle Nürnberg"] {
        let made = Ca::create(name, now()).unwrap();
        let read = Ca::from_pem(made.cert_pem(), &made.key_pem()).unwrap();
        assert_eq!(read.expires_at(), made.expires_at());
        assert_eq!(read.key_pem(), made.key_pem());
        let issued = read.issue_server(&names(), now(), SERVER_DAYS).unwrap();
        assert_eq!(handshake(&client(&made), &issued), Ok(()), "{name}");
    }
}

#[test]
fn what_is_not_our_authority_is_refused() {
    let (ca, other) = (ca(), ca());
    let refused = |cert: &str, key: &str| Ca::from_pem(cert, key).err().map(|e| e.to_string());
    let not_a_certificate = Some(TlsError::NotACertificate.to_string());
    assert_eq!(refused(ca.cert_pem(), &other.key_pem()), Some(TlsError::OtherKey.to_string()));
    assert_eq!(refused(&ca.key_pem(), &ca.key_pem()), not_a_certificate);
    assert_eq!(refused("", &ca.key_pem()), not_a_certificate);
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(refused(empty, &ca.key_pem()), not_a_certificate);
    assert_eq!(refused(ca.cert_pem(), ca.cert_pem()), Some(TlsError::Key.to_string()));
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    assert_eq!(refused(ca.cert_pem(), &ed25519), Some(TlsError::Key.to_string()));
    let der = certificate(ca.cert_pem()).unwrap();
    assert!((0..der.len()).all(|length| der::read(&der[..length]).is_none()), "a certificate that is cut off");
}

#[test]
fn names_are_checked() {
    let ca = ca();
    assert!(matches!(ca.issue_server(&[], now(), 1), Err(TlsError::NoName)));
    for name in ["", "a b", "http://a", "a..b", "*.", "*", "a.*.b", "exämple.com", "127.0.0.1:80"] {
        assert!(matches!(ca.issue_server(&[name.into()], now(), 1), Err(TlsError::Name(_))), "{name}");
    }
    assert!(matches!(Ca::create("", now()), Err(TlsError::CaName)));
    assert!(matches!(Ca::create(&"x".repeat(65), now()), Err(TlsError::CaName)));
    assert!(matches!(Ca::create("x", Timestamp::MAX), Err(TlsError::Time)));
    assert!(matches!(Ca::create("x", Timestamp::UNIX_EPOCH), Err(TlsError::Time)));
}

#[test]
fn serials_and_keys_are_never_the_same() {
    let ca = ca();
    let issue = || ca.issue_server(&names(), now(), 1).unwrap();
    let (first, second) = (issue(), issue());
    assert_ne!(first.cert_pem, second.cert_pem);
    assert_ne!(first.key_pem, second.key_pem);
    assert_ne!(random_serial().to_bytes(), random_serial().to_bytes());
    assert!((0..100).all(|_| (0x40..0x80).contains(&random_serial().to_bytes()[0])));
}

/// A server certificate cannot act as an authority.
#[test]
fn a_server_certificate_issues_nothing() {
    let ca = ca();
    let issued = ca.issue_server(&names(), now(), SERVER_DAYS).unwrap();
    let usurper = Ca::from_pem(&issued.cert_pem, &issued.key_pem).unwrap();
    let forged = usurper.issue_server(&names(), now(), 1).unwrap();
    let roots = {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(ca.cert_pem()).unwrap()).unwrap();
        Arc::new(roots)
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots, provider).build().unwrap();
    let chain = [certificate(&issued.cert_pem).unwrap()];
    let at = FixedTime(NOW_S).current_time().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let verdict = verifier.verify_server_cert(&certificate(&forged.cert_pem).unwrap(), &chain, &name, &[], at);
    assert!(verdict.is_err(), "{verdict:?}");
    assert!(verifier.verify_server_cert(&chain[0], &[], &name, &[], at).is_ok());
}
