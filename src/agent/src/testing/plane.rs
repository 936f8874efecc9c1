//! A control plane of a few routes on a loopback port, over plain HTTP, which does what a test tells it.

use super::{KEY_ID, NODE, archive, assignment, key, offer, until};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Status, body, Retry-After.
pub type Scripted = (u16, Value, Option<u32>);

#[derive(Debug)]
pub struct Seen {
    /// Method and path.
    pub route: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

#[derive(Default)]
pub struct Told {
    pub url: String,
    pub seen: Vec<Seen>,
    /// What `bundles/latest` answers; None: no update.
    pub offer: Option<Value>,
    /// The next downloads break after so many bytes.
    pub cuts: Vec<usize>,
    /// Added to what a download sends.
    pub tampered: bool,
    pub ignores_ranges: bool,
    /// Answers by the last word of the path, used up one by one.
    pub answers: BTreeMap<&'static str, Vec<Scripted>>,
    /// Refuses every token but the newest.
    pub tokens: u32,
    pub revoked: u32,
    /// Repetitions of a registration show no key.
    pub registered: Vec<String>,
}

pub struct Plane {
    told: Arc<Mutex<Told>>,
    accept: JoinHandle<()>,
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl Plane {
    pub async fn start() -> Plane {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let told = Arc::new(Mutex::new(Told { url, ..Told::default() }));
        let shared = told.clone();
        let accept = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let told = shared.clone();
                let service = service_fn(move |request| answer(told.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Plane { told, accept }
    }

    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    pub fn url(&self) -> String {
        self.told().url.clone()
    }

    /// Offers bundle `n` with a counter of its own.
    pub fn offer(&self, n: u8, position: u64) {
        self.offer_changed(n, position, |_| {});
    }

    /// The same, changed before anybody sees it.
    pub fn offer_changed(&self, n: u8, position: u64, change: impl FnOnce(&mut Value)) {
        let now = Timestamp::now();
        let mut assignment = assignment(n, now);
        assignment.counter.position = position;
        let mut offer = serde_json::to_value(offer(n, &assignment, &self.url())).unwrap();
        change(&mut offer);
        self.told().offer = Some(offer);
    }

    pub async fn until(&self, done: impl Fn(&Told) -> bool) {
        until(|| done(&self.told()), || format!("{:#?}", self.told().seen)).await;
    }

    /// Waits for a heartbeat after those that were seen so far.
    pub async fn until_beat(&self, done: impl Fn(&Value) -> bool) {
        let before = self.told().seen.len();
        self.until(|told| told.seen.iter().skip(before).any(|seen| seen.is("heartbeat") && done(&seen.body))).await;
    }
}

impl Told {
    pub fn count(&self, word: &str) -> usize {
        self.seen.iter().filter(|seen| seen.is(word)).count()
    }

    pub fn newest(&self, word: &str) -> &Seen {
        self.seen.iter().rfind(|seen| seen.is(word)).unwrap()
    }
}

impl Seen {
    pub fn is(&self, word: &str) -> bool {
        self.route.split(['/', '?', ' ']).any(|part| part == word)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// Bytes, broken off where told.
struct Answer {
    left: Bytes,
    total: u64,
    cut: bool,
    flushed: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !self.left.is_empty() {
            let bytes = std::mem::take(&mut self.left);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.cut && !std::mem::replace(&mut self.flushed, true) {
            // What was handed over is written while the body has nothing more.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.cut.then(|| Err(io::Error::other("cut off"))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(if self.left.is_empty() && !self.cut { 0 } else { self.total })
    }
}

fn whole(bytes: impl Into<Bytes>) -> Answer {
    let left: Bytes = bytes.into();
    Answer { total: left.len() as u64, left, cut: false, flushed: false }
}

fn json_answer(status: u16, body: &Value) -> Response<Answer> {
    Response::builder().status(status).body(whole(body.to_string())).unwrap()
}

async fn answer(told: Arc<Mutex<Told>>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path().to_owned();
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers: BTreeMap<_, _> = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let mut told = told.lock().unwrap();
    let seen = Seen {
        route: format!("{} {path}", head.method),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let word = path.rsplit('/').next().unwrap_or_default().to_owned();
    let answer = respond(&mut told, &path, &word, &seen);
    told.seen.push(seen);
    Ok(answer)
}

fn respond(told: &mut Told, path: &str, word: &str, seen: &Seen) -> Response<Answer> {
    if let Some(scripted) =
        told.answers.get_mut(word).and_then(|answers| (!answers.is_empty()).then(|| answers.remove(0)))
    {
        let mut response = json_answer(scripted.0, &scripted.1);
        if let Some(seconds) = scripted.2 {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        return response;
    }
    if path.starts_with("/api/v1/downloads/") {
        return download(told, seen);
    }
    let bearer = seen.header("authorization").and_then(|value| value.strip_prefix("Bearer token-"));
    let stale = bearer.is_some_and(|number| number.parse::<u32>().unwrap() <= told.revoked);
    if stale {
        return json_answer(401, &json!({"error": "Token expired", "code": "token_expired"}));
    }
    match word {
        "register" => register(told, seen),
        "token" => {
            told.tokens += 1;
            let token = format!("token-{}", told.tokens);
            let expires_at = Timestamp::now().to_string();
            let body = json!({"token": token, "token_type": "Bearer", "expires_at": expires_at, "expires_in": 43_200});
            json_answer(200, &body)
        }
        "heartbeat" => {
            let now = Timestamp::now().to_string();
            json_answer(200, &json!({"status": "ok", "node_id": NODE, "last_seen_at": now, "next_heartbeat_s": 30}))
        }
        "latest" => json_answer(200, &told.offer.clone().unwrap_or(json!({"no_update": true, "poll_after_s": 30}))),
        _ => json_answer(404, &json!({"error": "Not found", "code": "not_found"})),
    }
}

fn register(told: &mut Told, seen: &Seen) -> Response<Answer> {
    let id = seen.header("idempotency-key").unwrap().to_owned();
    let keys = json!([{"key_id": KEY_ID, "public_key": key().public().to_string()}]);
    let mut body =
        json!({"node_id": NODE, "poll_interval_s": 30, "org": "default", "project": "demo", "bundle_keys": keys});
    if told.registered.contains(&id) {
        body["replayed"] = true.into();
    } else {
        told.registered.push(id);
        body["node_key"] = "n".repeat(43).into();
    }
    json_answer(201, &body)
}

fn download(told: &mut Told, seen: &Seen) -> Response<Answer> {
    let found = (1..=9).map(archive).find(|(_, digest)| seen.is(digest));
    let Some((mut bytes, _)) = found else { return json_answer(404, &json!({"error": "Not found"})) };
    if told.tampered {
        bytes[10] ^= 1;
    }
    let total = bytes.len();
    let from = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from: usize = if told.ignores_ranges { 0 } else { from.unwrap_or(0) };
    let mut rest: Bytes = Bytes::from(bytes).slice(from..);
    let length = rest.len() as u64;
    let cut = (!told.cuts.is_empty()).then(|| told.cuts.remove(0));
    if let Some(cut) = cut {
        rest.truncate(cut);
    }
    let response = Response::builder().status(if told.ignores_ranges { 200 } else { 206 });
    let response = response.header("content-range", format!("bytes {from}-{}/{total}", total - 1));
    response.body(Answer { left: rest, total: length, cut: cut.is_some(), flushed: false }).unwrap()
}
