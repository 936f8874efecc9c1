//! Over sockets: what hyper, TLS and the listeners add.

use super::bench::{Bench, PATIENCE};
use crate::{EdgeConfig, ListenConfig, Listeners, TlsFiles, serve};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const ON_THIS_HOST: &str = "127.0.0.1:0";
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n";

pub(super) struct Server {
    pub bench: Bench,
    http: SocketAddr,
    https: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    pub serving: JoinHandle<()>,
}

impl Server {
    pub async fn start(listen: ListenConfig) -> Server {
        Server::with(listen, EdgeConfig::default()).await
    }

    pub async fn with(listen: ListenConfig, config: EdgeConfig) -> Server {
        Server::over(Bench::with(config).await, listen).await
    }

    pub async fn over(bench: Bench, listen: ListenConfig) -> Server {
        let listeners = Listeners::bind(&ListenConfig { http: ON_THIS_HOST.to_owned(), ..listen }).await.unwrap();
        let (http, https) = (listeners.http_address().unwrap(), listeners.https_address());
        let (stop, stopped) = oneshot::channel::<()>();
        let edge = bench.edge.clone();
        let serving = tokio::spawn(async move { serve(edge, listeners, async { drop(stopped.await) }).await });
        Server { bench, http, https, stop: Some(stop), serving }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.http).await.unwrap()
    }

    pub fn stop(&mut self) {
        drop(self.stop.take());
    }
}

/// Reads one answer: its head and as many bytes of body as it announces.
pub(super) async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut got = Vec::new();
    let mut piece = [0; 4096];
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&got).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.and_then(|n| n.parse().ok()).unwrap_or(0) {
                    return text;
                }
            }
            match stream.read(&mut piece).await {
                Ok(n) if n > 0 => got.extend_from_slice(&piece[..n]),
                _ => return text,
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap()
}

pub(super) async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

pub(super) async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    answer(stream).await
}

fn quick() -> ListenConfig {
    ListenConfig { header_timeout: Duration::from_millis(200), ..ListenConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_outlives_the_head_timeout_and_a_slow_head_does_not() {
    let server = Server::start(quick()).await;
    let mut kept = server.connect().await;
    assert!(exchange(&mut kept, HEALTH).await.starts_with("HTTP/1.1 200"));

    let begun = Instant::now();
    let mut silent = server.connect().await;
    assert!(is_closed(&mut silent).await);
    let mut slow = server.connect().await;
    let told = exchange(&mut slow, b"GET /health HTTP/1.1\r\nx: ").await;
    assert!(told.starts_with("HTTP/1.1 408") && told.contains(r#""code":"request_timeout""#), "{told}");
    assert!(is_closed(&mut slow).await);
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert!(exchange(&mut kept, HEALTH).await.starts_with("HTTP/1.1 200"), "idle for longer than a head may take");

    kept.write_all(b"GET /hea").await.unwrap();
    assert!(is_closed(&mut kept).await, "a second head may not take longer than the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends() {
    let server = Server::start(ListenConfig { idle_timeout: Duration::from_millis(100), ..quick() }).await;
    let mut stream = server.connect().await;
    assert!(exchange(&mut stream, HEALTH).await.starts_with("HTTP/1.1 200"));
    assert!(is_closed(&mut stream).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_dropped_and_a_slow_one_is_not() {
    let impatient = Duration::from_millis(300);
    let listen = ListenConfig { idle_timeout: impatient, write_timeout: impatient, ..quick() };
    let server = Server::start(listen).await;
    // More than the buffers of both sockets can hold.
    let size = 32 << 20;
    let path = server.bench.archive(vec![7; size].into()).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");

    let begun = Instant::now();
    let mut stalled = server.connect().await;
    stalled.write_all(request.as_bytes()).await.unwrap();
    stalled.readable().await.unwrap();
    let open = || server.bench.edge.shared.metrics.text().contains("pilothouse_http_open_connections 1\n");
    while open() {
        assert!(begun.elapsed() < PATIENCE, "the stalled connection is kept");
        tokio::task::yield_now().await;
    }
    assert!(begun.elapsed() >= impatient);

    let mut slow = server.connect().await;
    slow.write_all(request.as_bytes()).await.unwrap();
    let (begun, mut got, mut piece) = (Instant::now(), 0, vec![0; 1 << 20]);
    let mut pace = tokio::time::interval(Duration::from_millis(30));
    loop {
        pace.tick().await;
        match slow.read(&mut piece).await.unwrap() {
            0 => break,
            n => got += n,
        }
    }
    assert!(got > size, "cut off after {got} bytes");
    assert!(begun.elapsed() > impatient, "too fast to tell");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_told_so() {
    let config = EdgeConfig { request_timeout: Duration::from_millis(200), ..EdgeConfig::default() };
    let server = Server::with(quick(), config).await;
    let mut stream = server.connect().await;
    let head = format!(
        "POST /api/v1/projects HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{",
        server.bench.api_key
    );
    let answered = exchange(&mut stream, head.as_bytes()).await;
    assert!(answered.starts_with("HTTP/1.1 408"), "{answered}");
    assert!(answered.contains(r#""code":"request_timeout""#), "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_reaches_a_client_that_is_still_sending() {
    let server = Server::start(ListenConfig::default()).await;
    let bytes = 8 << 20;
    let mut stream = server.connect().await;
    let head = format!(
        "POST /api/v1/projects HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {bytes}\r\n\r\n",
        server.bench.api_key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; bytes]).await.unwrap();
    let answered = answer(&mut stream).await;
    assert!(answered.starts_with("HTTP/1.1 413"), "{answered}");
    assert!(answered.contains(r#""code":"payload_too_large""#), "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_refused_and_the_server_lives() {
    let server = Server::start(quick()).await;
    let long = format!("GET /health HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    for bad in [
        "garbage\r\n\r\n",
        "GET / HTTP/3.7\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET /health HTTP/1.1\r\nx: y\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /\u{1}\u{2} HTTP/1.1\r\nhost: x\r\n\r\n",
        &long,
    ] {
        let mut stream = server.connect().await;
        stream.write_all(bad.as_bytes()).await.unwrap();
        let answered = answer(&mut stream).await;
        let refused = answered.starts_with("HTTP/1.1 400") && answered.contains(r#""code":"malformed_request""#);
        assert!(refused || (bad.starts_with("PRI") && answered.is_empty()), "{bad:.40}: {answered}");
    }
    let text = server.bench.edge.shared.metrics.text();
    assert!(text.contains(r#"pilothouse_http_connections_dropped_total{reason="large_head"} 1"#), "{text}");
    let mut stream = server.connect().await;
    assert!(exchange(&mut stream, HEALTH).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_request_on_its_connection_is_judged_by_itself() {
    let server = Server::start(quick()).await;
    let mut stream = server.connect().await;
    stream.write_all(&[HEALTH, HEALTH, b"garbage\r\n\r\n"].concat()).await.unwrap();
    let mut all = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut all)).await.unwrap().unwrap();
    let statuses: Vec<&str> = all.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "200", "400"], "{all}");
    assert!(all.ends_with(r#""code":"malformed_request"}"#), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait() {
    let server = Server::start(ListenConfig { connections_max: 1, ..ListenConfig::default() }).await;
    let mut first = server.connect().await;
    assert!(exchange(&mut first, HEALTH).await.starts_with("HTTP/1.1 200"));
    let mut second = server.connect().await;
    second.write_all(HEALTH).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.readable()).await;
    assert!(early.is_err(), "served although there was no room");
    drop(first);
    assert!(answer(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_began_and_closes_the_rest() {
    let mut server = Server::start(ListenConfig::default()).await;
    let mut idle = server.connect().await;
    assert!(exchange(&mut idle, HEALTH).await.starts_with("HTTP/1.1 200"));
    let mut busy = server.connect().await;
    let head = format!(
        "POST /api/v1/projects HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 15\r\nexpect: 100-continue\r\n\r\n",
        server.bench.api_key
    );
    // The answer to `Expect` proves that the request has begun.
    assert!(exchange(&mut busy, head.as_bytes()).await.starts_with("HTTP/1.1 100"));
    server.stop();
    assert!(is_closed(&mut idle).await);
    let answered = exchange(&mut busy, br#"{"slug":"late"}"#).await;
    assert!(answered.starts_with("HTTP/1.1 201"), "{answered}");
    assert!(answered.contains("connection: close"), "{answered}");
    drop(busy);
    tokio::time::timeout(PATIENCE, server.serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.http).await.is_err(), "the port is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_ever() {
    let listen = ListenConfig { shutdown_timeout: Duration::from_millis(100), ..ListenConfig::default() };
    let mut server = Server::start(listen).await;
    let mut stuck = server.connect().await;
    let head = format!(
        "POST /api/v1/projects HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 15\r\nexpect: 100-continue\r\n\r\n",
        server.bench.api_key
    );
    assert!(exchange(&mut stuck, head.as_bytes()).await.starts_with("HTTP/1.1 100"));
    server.stop();
    tokio::time::timeout(PATIENCE, server.serving).await.unwrap().unwrap();
    assert!(is_closed(&mut stuck).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_names_the_setting() {
    let taken = std::net::TcpListener::bind(ON_THIS_HOST).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = ListenConfig { http: address.clone(), ..ListenConfig::default() };
    let error = Listeners::bind(&config).await.err().unwrap().to_string();
    assert!(error.contains("http.listen") && error.contains(&address), "{error}");
    let config = ListenConfig { https: ON_THIS_HOST.to_owned(), ..ListenConfig::default() };
    assert!(Listeners::bind(&config).await.err().unwrap().to_string().contains("https.certificate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tls_1_3_is_spoken() {
    let dir = tempfile::tempdir().unwrap();
    let now = jiff::Timestamp::now();
    let ca = trust::tls::Ca::create("test", now).unwrap();
    let issued = ca.issue_server(&["localhost".to_owned()], now, 1).unwrap();
    let files = TlsFiles { certificate: dir.path().join("server.pem"), private_key: dir.path().join("server.key") };
    std::fs::write(&files.certificate, issued.cert_pem).unwrap();
    std::fs::write(&files.private_key, issued.key_pem).unwrap();
    let listen = ListenConfig { https: ON_THIS_HOST.to_owned(), tls: Some(files.clone()), ..ListenConfig::default() };
    let server = Server::start(listen).await;
    let https = server.https.unwrap();

    let connect = async |version: &'static SupportedProtocolVersion| {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.cert_pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, TcpStream::connect(https).await.unwrap()).await
    };
    assert!(connect(&rustls::version::TLS12).await.is_err());
    let mut stream = connect(&rustls::version::TLS13).await.unwrap();
    let body = format!("{:?}", exchange(&mut stream, HEALTH).await);
    assert!(body.contains("200 OK"), "{body}");
    let mut plain = TcpStream::connect(https).await.unwrap();
    let refused = exchange(&mut plain, HEALTH).await;
    assert!(!refused.contains("200 OK"), "plain HTTP on the TLS port: {refused}");

    std::fs::write(&files.private_key, "nothing").unwrap();
    let listen = ListenConfig { https: ON_THIS_HOST.to_owned(), tls: Some(files), ..ListenConfig::default() };
    let error = Listeners::bind(&listen).await.err().unwrap().to_string();
    assert!(error.contains("server.key"), "{error}");
}
