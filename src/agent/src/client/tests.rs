#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::archive;
use crate::testing::plane::Plane;
use contract::ErrorCode;
use serde_json::{Value, json};

fn client(url: &str) -> Client {
    Client::new(url.parse().unwrap(), None).unwrap()
}

async fn get(client: &Client, path: &str, auth: Auth<'_>) -> Result<Value, CallError> {
    client.call(Call { method: Method::GET, path, auth, idempotency_key: None, body: None }).await
}

#[tokio::test]
async fn credentials_travel_in_their_headers_alone() {
    let plane = Plane::start().await;
    let client = client(&plane.url());
    get(&client, "/api/v1/nodes/n/bundles/latest", Auth::Key("the-key")).await.unwrap();
    get(&client, "/api/v1/nodes/n/bundles/latest", Auth::Token("token-1")).await.unwrap();
    let told = plane.told();
    let headers = |n: usize| {
        let names = ["x-zentinel-node-key", "authorization", "x-pilothouse-join-token"];
        names.map(|name| told.seen[n].header(name).map(str::to_owned))
    };
    assert_eq!(headers(0), [Some("the-key".into()), None, None]);
    assert_eq!(headers(1), [None, Some("Bearer token-1".into()), None]);
}

#[tokio::test]
async fn answers_of_every_kind_become_one_of_three_errors() {
    let plane = Plane::start().await;
    let client = client(&plane.url());
    let answers = vec![
        (429, json!({"error": "slow down", "code": "rate_limited"}), Some(17)),
        (302, json!({}), None),
        (200, json!({"long": "x".repeat(ANSWER_BYTES_MAX)}), None),
        (500, json!({"error": "x".repeat(ERROR_BYTES_MAX)}), None),
        (200, json!("eyJ-a-token"), None),
    ];
    plane.told().answers.insert("latest", answers);
    let mut errors = Vec::new();
    for _ in 0..4 {
        errors.push(get(&client, "/api/v1/nodes/n/bundles/latest", Auth::Key("the-key")).await.unwrap_err());
    }
    assert!(errors[0].is_code(ErrorCode::RateLimited) && !errors[0].is_final());
    assert_eq!(errors[0].retry_after(), Some(Duration::from_secs(17)));
    assert!(errors[1].is_final(), "redirects are not followed");
    assert!(matches!(&errors[2], CallError::Malformed(why) if why.contains("longer than")), "{:?}", errors[2]);
    assert!(matches!(&errors[3], CallError::Refused { status: 500, .. }));
    let call =
        Call { method: Method::GET, path: "/latest", auth: Auth::Key("the-key"), idempotency_key: None, body: None };
    let strange = client.call::<contract::TokenAnswer>(call).await.err().unwrap();
    assert!(matches!(&strange, CallError::Malformed(why) if !why.contains("a-token")), "{strange:?}");
    assert_eq!(plane.told().seen.len(), 5);
    let url = plane.url();
    drop(plane);
    // The port of a listener that ended refuses connections.
    let refused = get(&self::client(&url), "/x", Auth::Key("the-key")).await;
    assert!(matches!(&refused, Err(CallError::Unreachable(why)) if !why.contains("the-key")), "{refused:?}");
    let line = get(&self::client(&url), "/x", Auth::Key("a\nb")).await;
    assert!(matches!(line, Err(CallError::Malformed(_))));
}

/// Downloads bundle 9, whose file already holds `there`.
async fn download(plane: &Plane, there: &[u8], size: u64) -> (Result<(), DownloadError>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("part");
    std::fs::write(&path, there).unwrap();
    let url = format!("{}/api/v1/downloads/{}", plane.url(), archive(9).1);
    let result = client(&plane.url()).download(&url, size, &path).await;
    (result, std::fs::read(&path).unwrap())
}

fn ranges(plane: &Plane) -> Vec<String> {
    plane.told().seen.iter().map(|seen| seen.header("range").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let plane = Plane::start().await;
    let (bytes, _) = archive(9);
    plane.told().cuts = vec![50, 30];
    let (result, got) = download(&plane, &bytes[..10], bytes.len() as u64).await;
    result.unwrap();
    assert_eq!(got, bytes);
    assert_eq!(ranges(&plane), ["bytes=10-", "bytes=60-", "bytes=90-"]);
    let sent: Vec<bool> = plane.told().seen.iter().map(|seen| seen.header("x-zentinel-node-key").is_some()).collect();
    assert_eq!(sent, [false; 3], "no credential");
}

#[tokio::test]
async fn a_server_without_ranges_starts_again() {
    let plane = Plane::start().await;
    let (bytes, _) = archive(9);
    plane.told().ignores_ranges = true;
    let (result, got) = download(&plane, b"something else", bytes.len() as u64).await;
    result.unwrap();
    assert_eq!(got, bytes);
}

#[tokio::test]
async fn a_download_never_grows_beyond_what_was_announced() {
    let plane = Plane::start().await;
    let (bytes, _) = archive(9);
    let (result, got) = download(&plane, b"", 40).await;
    assert!(matches!(result, Err(DownloadError::TooLong(40))), "{result:?}");
    assert!(got.len() <= 40);
    let (result, got) = download(&plane, &vec![0; bytes.len() + 1], bytes.len() as u64).await;
    result.unwrap();
    assert_eq!(got, bytes, "what was too long was thrown away");
}

#[tokio::test]
async fn a_download_that_brings_nothing_ends() {
    let plane = Plane::start().await;
    plane.told().cuts = vec![0; 10];
    let (result, _) = download(&plane, b"", 100).await;
    assert!(matches!(result, Err(DownloadError::Broken { have: 0, size: 100, .. })), "{result:?}");
    let path = tempfile::tempdir().unwrap();
    let url = format!("{}/api/v1/downloads/unknown", plane.url());
    let result = client(&plane.url()).download(&url, 100, &path.path().join("part")).await;
    assert!(matches!(result, Err(DownloadError::Call(CallError::Refused { status: 404, .. }))), "{result:?}");
}

/// Answers one call after another over TLS.
async fn serve_tls(
    certificate: &trust::tls::IssuedCertificate,
    version: &'static rustls::SupportedProtocolVersion,
) -> String {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(certificate.cert_pem.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that goes away is what some tests are about.
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = hyper::service::service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(Bytes::from_static(b"{}"))))
            });
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
        }
    });
    url
}

#[tokio::test]
async fn only_the_named_ca_and_only_tls_1_3_are_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let now = jiff::Timestamp::now();
    let (ours, theirs) = (trust::tls::Ca::create("ours", now).unwrap(), trust::tls::Ca::create("theirs", now).unwrap());
    let name = |name: &str| [name.to_owned()];
    let call = async |certificate, version| {
        let url = serve_tls(certificate, version).await;
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, ours.cert_pem()).unwrap();
        let client = Client::new(url.parse().unwrap(), Some(&Trust::File(path))).unwrap();
        get(&client, "/", Auth::Key("the-key")).await
    };
    let good = ours.issue_server(&name("127.0.0.1"), now, 30).unwrap();
    call(&good, &rustls::version::TLS13).await.unwrap();
    let foreign = theirs.issue_server(&name("127.0.0.1"), now, 30).unwrap();
    let misnamed = ours.issue_server(&name("other.example.net"), now, 30).unwrap();
    for (certificate, version) in
        [(&foreign, &rustls::version::TLS13), (&misnamed, &rustls::version::TLS13), (&good, &rustls::version::TLS12)]
    {
        let refused = call(certificate, version).await;
        assert!(matches!(refused, Err(CallError::Unreachable(_))), "{refused:?}");
    }
    // To an https server nothing is ever fetched in the clear.
    let plane = Plane::start().await;
    let path = dir.path().join("ca.pem");
    let client = Client::new("https://127.0.0.1:1".parse().unwrap(), Some(&Trust::File(path))).unwrap();
    let url = format!("{}/api/v1/downloads/{}", plane.url(), archive(9).1);
    assert!(client.download(&url, 10, &dir.path().join("part")).await.is_err());
    assert!(plane.told().seen.is_empty());
}

#[test]
fn ca_files_that_name_nobody_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let new = || Client::new("https://localhost".parse().unwrap(), Some(&Trust::File(path.clone()))).err().unwrap();
    assert!(matches!(new(), TlsError::Read { .. }));
    std::fs::write(&path, "no certificate").unwrap();
    assert!(matches!(new(), TlsError::NoCertificate { .. }));
    std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(matches!(new(), TlsError::Unusable { .. }));
}
