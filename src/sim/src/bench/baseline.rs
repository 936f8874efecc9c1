//! The baseline of the heartbeat row: the same axum, hyper and rustls with a handler that reads the body and answers. No
//! authentication, no parsing, no store.

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const ANSWER: &str = r#"{"status":"ok","node_id":"00000000-0000-7000-8000-000000000000","last_seen_at":"2026-01-01T00:00:00Z","next_heartbeat_s":30}"#;

#[derive(clap::Args)]
pub struct Options {
    /// Where to write the CA that signed the server's certificate
    #[arg(long)]
    ca_file: PathBuf,
}

/// Prints its address, then serves until it is killed.
pub async fn serve(options: Options) -> Result<()> {
    let ca = trust::tls::Ca::create("baseline", Timestamp::now())?;
    let issued = ca.issue_server(&["127.0.0.1".to_owned()], Timestamp::now(), 1)?;
    std::fs::write(&options.ca_file, ca.cert_pem()).context("could not write the CA")?;
    let chain = vec![CertificateDer::from_pem_slice(issued.cert_pem.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    let config = config.with_no_client_auth().with_single_cert(chain, key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let router = Router::new().route("/api/v1/nodes/{id}/heartbeat", post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let mut http = hyper::server::conn::http1::Builder::new();
            // Ends with the client; its error is the client's to see.
            let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(body: Bytes) -> ([(axum::http::HeaderName, &'static str); 1], &'static str) {
    std::hint::black_box(body);
    ([(CONTENT_TYPE, "application/json")], ANSWER)
}
