//! The enrollment routes on a loopback port over TLS: as the documents have them, or as a test tells.

use super::until;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use trust::nats::{Body as Claims, KeyKind, Mint, NatsKey, UserClaims, curve_public_key, sign};
use trust::tls::Ca;

pub const ENROLLMENT: &str = "enr-2JFKABCD1234567890abcdefghi";
const DAY_S: i64 = 86_400;

/// Instead of what the documents say.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status, text of the error, Retry-After.
    Error(u16, &'static str, Option<u32>),
    /// Status, type, body.
    Raw(u16, &'static str, String),
    /// Done as documented, but the connection breaks before the answer.
    Lost,
    /// A stream of this, for ever.
    Endless(&'static str),
}

#[derive(Debug)]
pub struct Seen {
    pub route: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

pub struct Told {
    pub seen: Vec<Seen>,
    /// By the last word of the path, used up one by one.
    pub replies: BTreeMap<&'static str, VecDeque<Reply>>,
    /// A reply for each call of a word, for ever.
    pub always: BTreeMap<&'static str, Reply>,
    challenges: BTreeMap<String, (Vec<u8>, String, String)>,
    /// Who enrolled: id, public key.
    pub host: Option<(String, String)>,
    /// The state of a new enrollment.
    pub begins: &'static str,
    issued_for: Option<String>,
    /// The JWT's subject instead of the host's key.
    pub foreign: Option<String>,
    pub lifetime_s: i64,
    /// The node that the approval makes the host.
    pub node: Value,
    account: NatsKey,
    state: watch::Sender<&'static str>,
}

impl Told {
    pub fn count(&self, word: &str) -> usize {
        self.seen.iter().filter(|seen| seen.word() == word).count()
    }

    pub fn newest(&self, word: &str) -> &Seen {
        self.seen.iter().rfind(|seen| seen.word() == word).unwrap()
    }

    pub fn reply(&mut self, word: &'static str, reply: Reply) {
        self.replies.entry(word).or_default().push_back(reply);
    }
}

impl Seen {
    fn word(&self) -> &str {
        self.route.rsplit('/').next().unwrap_or_default()
    }
}

pub struct Server {
    pub url: String,
    pub ca_pem: String,
    pub ca_fingerprint: String,
    pub own_fingerprint: String,
    told: Arc<Mutex<Told>>,
    accept: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    crate::client::Fingerprint::of(certificate).unwrap().to_string()
}

impl Server {
    pub async fn start() -> Server {
        let now = Timestamp::now();
        let ca = Ca::create("test", now).unwrap();
        let issued = ca.issue_server(&["127.0.0.1".to_owned()], now, 30).unwrap();
        let pem = issued.cert_pem.clone() + ca.cert_pem();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
        let (own_fingerprint, ca_fingerprint) = (fingerprint(&chain[0]), fingerprint(&chain[1]));
        let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider);
        let config = config.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let told = Arc::new(Mutex::new(Told {
            seen: Vec::new(),
            replies: BTreeMap::new(),
            always: BTreeMap::new(),
            challenges: BTreeMap::new(),
            host: None,
            begins: "pending",
            issued_for: None,
            foreign: None,
            lifetime_s: 180 * DAY_S,
            node: Value::Null,
            account: NatsKey::generate(KeyKind::Account),
            state: watch::channel("none").0,
        }));
        let shared = told.clone();
        let accept = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A client that does not trust us is what some tests are about.
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let told = shared.clone();
                let service = service_fn(move |request| answer(told.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Server { url, ca_pem: ca.cert_pem().to_owned(), ca_fingerprint, own_fingerprint, told, accept }
    }

    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    /// What an operator, or time, makes of the enrollment.
    pub fn becomes(&self, state: &'static str) {
        self.told().state.send_replace(state);
    }

    pub fn state(&self) -> &'static str {
        *self.told().state.borrow()
    }

    pub async fn until(&self, done: impl Fn(&Told) -> bool) {
        until(|| done(&self.told()), || format!("{:#?}", self.told().seen)).await;
    }
}

/// Pieces of a body, as they come.
struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn whole(status: u16, kind: &str, body: String) -> Response<Pieces> {
    let (sender, pieces) = mpsc::channel(1);
    sender.try_send(body.into()).unwrap();
    Response::builder().status(status).header("content-type", kind).body(Pieces(pieces)).unwrap()
}

fn json_answer(status: u16, body: &Value) -> Response<Pieces> {
    whole(status, "application/json", body.to_string())
}

fn refused(status: u16, text: &str, retry_after_s: Option<u32>) -> Response<Pieces> {
    let mut answer = json_answer(status, &json!({ "error": text }));
    if let Some(seconds) = retry_after_s {
        answer.headers_mut().insert("retry-after", seconds.into());
    }
    answer
}

async fn answer(told: Arc<Mutex<Told>>, request: Request<Incoming>) -> io::Result<Response<Pieces>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let seen = Seen {
        route: format!("{} {}", head.method, head.uri.path()),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let mut told = told.lock().unwrap();
    let word = seen.word().to_owned();
    let scripted = told.replies.get_mut(word.as_str()).and_then(VecDeque::pop_front);
    let scripted = scripted.or_else(|| told.always.get(word.as_str()).cloned());
    let answer = match scripted {
        Some(Reply::Error(status, text, retry_after_s)) => Ok(refused(status, text, retry_after_s)),
        Some(Reply::Raw(status, kind, body)) => Ok(whole(status, kind, body)),
        Some(Reply::Endless(piece)) => Ok(endless(piece)),
        Some(Reply::Lost) => {
            documented(&mut told, &word, head.uri.query().unwrap_or_default(), &seen);
            Err(io::Error::other("lost"))
        }
        None => Ok(documented(&mut told, &word, head.uri.query().unwrap_or_default(), &seen)),
    };
    told.seen.push(seen);
    answer
}

fn endless(piece: &'static str) -> Response<Pieces> {
    let (sender, pieces) = mpsc::channel(8);
    tokio::spawn(async move { while sender.send(Bytes::from_static(piece.as_bytes())).await.is_ok() {} });
    Response::builder().header("content-type", "text/event-stream").body(Pieces(pieces)).unwrap()
}

fn documented(told: &mut Told, word: &str, query: &str, seen: &Seen) -> Response<Pieces> {
    match word {
        "nonce" => nonce(told, query),
        "enroll" => enroll(told, &seen.body),
        "status" => json_answer(200, &state(told, *told.state.borrow())),
        "stream" => stream(told),
        "creds" => creds(told, seen),
        _ => refused(404, "enrollment not found", None),
    }
}

fn state(told: &Told, state: &str) -> Value {
    let host = told.host.as_ref().map(|(id, _)| id.clone()).unwrap_or_default();
    json!({"id": ENROLLMENT, "peel_id": host, "state": state})
}

fn nonce(told: &mut Told, query: &str) -> Response<Pieces> {
    let value =
        |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap().to_owned();
    let (id, bytes) = (format!("chl-{}", told.challenges.len()), trust::random_bytes::<32>().to_vec());
    let body =
        json!({"challenge_id": id, "challenge": BASE64_STANDARD.encode(&bytes), "expires_at": "2026-02-10T15:05:00Z"});
    told.challenges.insert(id, (bytes, value("peel_id"), value("public_key")));
    json_answer(200, &body)
}

fn enroll(told: &mut Told, body: &Value) -> Response<Pieces> {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let Some((bytes, host, key)) = told.challenges.remove(&text("challenge_id")) else {
        return refused(401, "challenge verification failed", None);
    };
    let signed = [bytes, text("curve_public_key").into_bytes()].concat();
    let signature = BASE64_STANDARD.decode(text("signature")).unwrap();
    let pair = nkeys::KeyPair::from_public_key(&key).unwrap();
    if (host.clone(), key.clone()) != (text("peel_id"), text("public_key")) || pair.verify(&signed, &signature).is_err()
    {
        return refused(401, "signature verification failed", None);
    }
    told.host = Some((host, key));
    told.issued_for = None;
    let begins = told.begins;
    told.state.send_replace(begins);
    json_answer(201, &state(told, begins))
}

fn stream(told: &Told) -> Response<Pieces> {
    let mut states = told.state.subscribe();
    let (sender, pieces) = mpsc::channel(1);
    let frame = |told: &Value| Bytes::from(format!("event: state\ndata: {told}\n\n"));
    let mut body = state(told, "");
    tokio::spawn(async move {
        loop {
            let now = *states.borrow_and_update();
            body["state"] = now.into();
            if sender.send(frame(&body)).await.is_err() || now != "pending" || states.changed().await.is_err() {
                return;
            }
        }
    });
    Response::builder().header("content-type", "text/event-stream").body(Pieces(pieces)).unwrap()
}

fn creds(told: &mut Told, seen: &Seen) -> Response<Pieces> {
    let (host, key) = told.host.clone().unwrap();
    let header = seen.headers.get("authorization").and_then(|header| header.strip_prefix("Nkey ")?.split_once(':'));
    let signature = header.map(|(_, signature)| BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap());
    let pair = nkeys::KeyPair::from_public_key(&key).unwrap();
    if header.map(|(of, _)| of) != Some(key.as_str())
        || pair.verify(ENROLLMENT.as_bytes(), &signature.unwrap_or_default()).is_err()
    {
        return refused(401, "authentication failed", None);
    }
    let repeats = told.issued_for.is_some() && told.issued_for == seen.headers.get("idempotency-key").cloned();
    if *told.state.borrow() != "approved" && !repeats {
        return refused(403, "enrollment not in approved state", None);
    }
    told.issued_for = seen.headers.get("idempotency-key").cloned();
    told.state.send_replace("issued");
    let now_s = Timestamp::now().as_second();
    let mint = Mint { name: &host, issued_at: now_s, expires_at: Some(now_s + told.lifetime_s) };
    let subject = told.foreign.clone().unwrap_or(key);
    let claims = Claims::User(UserClaims::scoped(&told.account.public_key()));
    let jwt = sign(&told.account, &subject, mint, claims);
    let (data, ends) = (BASE64_STANDARD.encode(jwt), "2026-08-10T12:00:00Z");
    json_answer(200, &json!({"peel_id": host, "creds_data": data, "expires_at": ends, "node": told.node}))
}

/// The curve key that belongs to a seed file.
pub fn curve_key(seed: &str) -> String {
    curve_public_key(&NatsKey::from_seed(KeyKind::User, seed).unwrap())
}
