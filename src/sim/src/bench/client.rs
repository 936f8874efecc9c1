//! A load generator: kept HTTPS connections, one request in flight on each.

use super::latency::Latencies;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where to send, and what to trust there.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    connector: TlsConnector,
}

/// One request, sent over and over.
#[derive(Clone)]
pub struct Beat {
    pub path: String,
    pub authorization: String,
}

impl Target {
    pub fn new(address: SocketAddr, ca_file: &Path) -> Result<Target> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca_file).context("could not read the CA")?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Target { address, connector: TlsConnector::from(Arc::new(config)) })
    }

    pub async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.connector.connect(ServerName::from(self.address.ip()), stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends when the sender is dropped.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Every connection sends its beats in turn, one after the other, for `time`.
    pub async fn load(&self, beats: &[Vec<Beat>], body: Bytes, time: Duration) -> Result<(f64, Latencies)> {
        let mut connections = Vec::new();
        for beats in beats {
            connections.push((self.connect().await?, beats.clone()));
        }
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for (mut sender, beats) in connections {
            let body = body.clone();
            tasks.spawn(async move {
                let mut latencies = Latencies::default();
                for beat in beats.iter().cycle() {
                    if began.elapsed() >= time {
                        break;
                    }
                    let sent = Instant::now();
                    post(&mut sender, beat, body.clone()).await?;
                    latencies.add(sent.elapsed());
                }
                anyhow::Ok(latencies)
            });
        }
        let mut all = Latencies::default();
        while let Some(latencies) = tasks.join_next().await {
            all.extend(latencies??);
        }
        Ok((all.len() as f64 / began.elapsed().as_secs_f64(), all))
    }
}

/// Sends one beat; anything but 200 is an error.
pub async fn post(sender: &mut SendRequest<Full<Bytes>>, beat: &Beat, body: Bytes) -> Result<()> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(&beat.path)
        .header("host", "127.0.0.1")
        .header("content-type", "application/json")
        .header("authorization", &beat.authorization)
        .body(Full::new(body))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status != StatusCode::OK {
        bail!("a heartbeat was answered {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(())
}
