//! A control plane over memory, and requests to it.

use crate::{Edge, EdgeConfig, Peer, Scheme};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, Uri};
use contract::{Operation, Request as Wish};
use control::{Bootstrap, Caller, Control, ControlSettings, Grants, Parts};
use domain::Actor;
use http_body_util::BodyExt;
use journal::{Blobs, Memory};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tower::ServiceExt;
use trust::MasterKey;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Bench {
    pub edge: Edge,
    /// Of a key with full access.
    pub api_key: String,
    memory: Arc<Memory>,
    master_key: MasterKey,
    running: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Bench {
    pub async fn start() -> Bench {
        Bench::with(EdgeConfig::default()).await
    }

    pub async fn with(config: EdgeConfig) -> Bench {
        Bench::of(config, ControlSettings::default()).await
    }

    /// The default org with the project `demo` and one API key.
    pub async fn of(config: EdgeConfig, settings: ControlSettings) -> Bench {
        let memory = Arc::new(Memory::new());
        let master_key = MasterKey::generate();
        let control = Control::new(Parts {
            writer: memory.clone(),
            reader: memory.clone(),
            records: memory.clone(),
            blobs: memory.clone(),
            pulse: memory.clone(),
            telemetry: memory.clone(),
            snapshots: memory.clone(),
            views: views::Views::default(),
            master_key: MasterKey::from_text(&master_key.to_text()).unwrap(),
            default_org: "default".parse().unwrap(),
            host_signer: Some(host_signer()),
            durability: None,
            settings,
        });
        let background = control.clone();
        let running = tokio::spawn(async move {
            background.run().await;
        });
        control.bootstrap(&Bootstrap { project: Some("demo".parse().unwrap()) }).await.unwrap();
        let api_key = new_api_key(&control, json!({"name": "test"})).await;
        Bench { edge: Edge::new(control, config), api_key, memory, master_key, running }
    }

    /// Path and query of a signed URL to `bytes`.
    pub async fn archive(&self, bytes: Bytes) -> String {
        let digest = self.memory.put(bytes).await.unwrap();
        let expires = jiff::Timestamp::now().as_second() + 60;
        let signature = trust::sign_download(&self.master_key.derive("download-url"), &digest, expires);
        format!("/api/v1/downloads/{digest}?expires={expires}&signature={signature}")
    }

    pub async fn api_key(&self, body: Value) -> String {
        new_api_key(&self.edge.shared.control, body).await
    }

    pub fn ask(&self, method: &str, path: &str) -> Asking<'_> {
        Asking {
            bench: self,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Body::empty(),
            is_plain: false,
        }
    }

    /// With the key of full access.
    pub fn operator(&self, method: &str, path: &str) -> Asking<'_> {
        let bearer = format!("Bearer {}", self.api_key);
        self.ask(method, path).header("authorization", bearer)
    }

    /// Id and key of a new node of `demo`.
    pub async fn node(&self, name: &str) -> (String, String) {
        let path = "/api/v1/projects/demo/nodes/register";
        let answered = self.ask("POST", path).json(json!({"name": name})).send().await;
        assert_eq!(answered.status, 201, "{:?}", answered.body);
        let body = answered.json();
        (body["node_id"].as_str().unwrap().to_owned(), body["node_key"].as_str().unwrap().to_owned())
    }

    /// Asks again until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answered = self.operator("GET", path).send().await.json();
            if wanted(&answered) {
                return answered;
            }
            assert!(Instant::now() < deadline, "{path} stays {answered}");
            tokio::task::yield_now().await;
        }
    }
}

async fn new_api_key(control: &Control, body: Value) -> String {
    let caller =
        Caller { actor: Actor::System, org: control.default_org().clone(), project: None, grants: Grants::Everything };
    let answer = control.perform(&caller, Operation::ApiKeyCreate, Wish { body, ..Wish::default() }, "").await;
    answer.body["key"].as_str().unwrap_or_else(|| panic!("no key in {}", answer.body)).to_owned()
}

pub(super) struct Asking<'a> {
    bench: &'a Bench,
    method: String,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Body,
    is_plain: bool,
}

impl Asking<'_> {
    pub fn header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn json(self, body: Value) -> Self {
        self.text(body.to_string())
    }

    /// Sent as JSON, whatever it is.
    pub fn text(self, body: impl Into<Body>) -> Self {
        self.header("content-type", "application/json").raw(body)
    }

    pub fn raw(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Over the plain listener, whatever it is.
    pub fn plain(mut self) -> Self {
        self.is_plain = true;
        self
    }

    pub async fn send(self) -> Answered {
        self.send_from("192.0.2.1").await
    }

    pub async fn send_from(self, address: &str) -> Answered {
        let uri: Uri = self.path.parse().unwrap_or_else(|e| panic!("{}: {e}", self.path));
        let mut request = Request::builder().method(self.method.as_str()).uri(uri);
        if !self.headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "192.0.2.200");
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let address = std::net::SocketAddr::new(address.parse().unwrap(), 1);
        // Enrollment is served under TLS only.
        let is_tls = !self.is_plain && self.path.starts_with("/api/v1/enroll");
        let scheme = if is_tls { Scheme::Https } else { Scheme::Http };
        let peer = Peer { address, local: "127.0.0.1:4000".parse().unwrap(), scheme };
        let request = request.extension(peer).body(self.body).unwrap();
        let response = self.bench.edge.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answered { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

#[derive(Debug)]
pub(super) struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// An error in the contract's shape, with its code.
    pub fn code(&self) -> String {
        let body = self.json();
        assert!(body["error"].is_string() || body["error"].is_object(), "{body}");
        if let Some(code) = self.headers.get("x-error-code") {
            assert_eq!(
                (self.header("content-type"), body.as_object().map(|map| map.len())),
                ("application/json", Some(1))
            );
            assert!(body["error"].is_string(), "{body}");
            return code.to_str().unwrap().to_owned();
        }
        assert_eq!(self.header("content-type"), "application/json; charset=utf-8");
        body["code"].as_str().unwrap_or_else(|| panic!("no code in {body}")).to_owned()
    }
}

/// What signs the credentials of hosts, of an installation of its own.
fn host_signer() -> trust::nats::HostSigner {
    use trust::nats::{HostSigner, Installation, NewInstallation, Permissions};
    let nothing = Permissions::default;
    let made = Installation::create(NewInstallation {
        name: "test".into(),
        now: jiff::Timestamp::now(),
        runtime: nothing(),
        provisioning: nothing(),
        monitor: nothing(),
        accounts: nothing(),
    });
    HostSigner::new(&made.seeds[Installation::SEED_CLIENTS_NODES], &made.clients_account_jwt).unwrap()
}
