//! The admin service over a real nats-server.

use super::stage::{control, until};
use crate::{Bootstrap, Control, ControlSettings, admin};
use bytes::Bytes;
use contract::{Answer, Operation, Request};
use futures_util::{FutureExt, StreamExt};
use journal::testing::TestServer;
use journal::{JetStream, Role, provision};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinHandle;
use trust::MasterKey;

struct Service {
    control: Control,
    client: async_nats::Client,
    nkey: String,
    tasks: Vec<JoinHandle<()>>,
    _server: TestServer,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Service {
    async fn start() -> Service {
        let server = TestServer::start();
        provision(&server.client(Role::Provisioning).await, 1).await.unwrap();
        let client = server.client(Role::Runtime).await;
        let backend = Arc::new(JetStream::new(client.clone()));
        let master_key = MasterKey::generate().to_text();
        let settings = ControlSettings { public_url: "https://c.example".to_owned(), ..ControlSettings::default() };
        let control = control(backend.clone(), backend.clone(), backend, &master_key, settings);
        let (background, service) = (control.clone(), control.clone());
        let tasks = vec![
            tokio::spawn(async move {
                background.run().await;
            }),
            tokio::spawn(async move {
                admin::serve(service, client).await.unwrap();
            }),
        ];
        control.bootstrap(&Bootstrap { project: Some("demo".parse().unwrap()) }).await.unwrap();
        let client = server.client(Role::Runtime).await;
        let service = Service { control, client, nkey: format!("U{}", "A".repeat(55)), tasks, _server: server };
        service.listening().await;
        service
    }

    /// All endpoints are there once the last one is listed.
    async fn listening(&self) {
        let deadline = std::time::Instant::now() + super::stage::PATIENCE;
        loop {
            let info = self.client.request("$SRV.INFO.pilothouse-admin", Bytes::new()).await;
            let endpoints = info.ok().and_then(|info| {
                let info: Value = serde_json::from_slice(&info.payload).ok()?;
                Some(info["endpoints"].as_array()?.len())
            });
            if endpoints == Some(Operation::ALL.len()) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{endpoints:?} endpoints");
        }
    }

    fn subject(&self, operation: Operation) -> String {
        format!("pilothouse.admin.v1.{}.{}", self.nkey, operation.name())
    }

    async fn send(&self, operation: Operation, payload: impl Into<Bytes>) -> Answer {
        let reply = self.client.request(self.subject(operation), payload.into()).await.unwrap();
        rmp_serde::from_slice(&reply.payload).unwrap()
    }

    async fn ask(&self, operation: Operation, request: Request) -> Answer {
        self.send(operation, rmp_serde::to_vec_named(&request).unwrap()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_served_over_nats() {
    let service = Service::start().await;
    let ping = service.client.request("$SRV.PING.pilothouse-admin", Bytes::new()).await.unwrap();
    let ping: Value = serde_json::from_slice(&ping.payload).unwrap();
    assert_eq!((&ping["name"], &ping["version"]), (&json!("pilothouse-admin"), &json!(env!("CARGO_PKG_VERSION"))));

    let body = json!({"slug": "made-by-nats"});
    let created = service.ask(Operation::ProjectCreate, Request { body, ..Request::default() }).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let state = service.control.views();
    assert!(state.read().orgs.project(&"made-by-nats".parse().unwrap()).is_some());
    let key = Request { body: json!({"name": "k"}), idempotency_key: Some("k".to_owned()), ..Request::default() };
    let made = service.ask(Operation::ApiKeyCreate, key.clone()).await;
    assert!(service.control.authenticate_api_key(made.body["key"].as_str().unwrap()).await.is_ok());
    let again = service.ask(Operation::ApiKeyCreate, key).await;
    assert_eq!((&again.body["id"], again.body.get("key")), (&made.body["id"], None));
    until("heartbeats come back from the store", || service.control.presence().read().newest().is_some()).await;
    assert_eq!(service.control.readiness().await.reasons, Vec::<String>::new());

    strangers_and_garbage(&service).await;
    a_large_answer(&service).await;
}

async fn strangers_and_garbage(service: &Service) {
    let deep = [vec![0x81, 0xa4], b"body".to_vec(), vec![0x91; 4000], vec![0xc0]].concat();
    for payload in [Bytes::new(), Bytes::from_static(b"\xc1"), Bytes::from_static(b"{\"body\":1}"), deep.into()] {
        let answer = service.send(Operation::NodeList, payload).await;
        assert_eq!((answer.status, &answer.body["code"]), (400, &json!("malformed_request")), "{}", answer.body);
    }
    let inbox = service.client.new_inbox();
    let mut answers = service.client.subscribe(inbox.clone()).await.unwrap();
    let request: Bytes = rmp_serde::to_vec_named(&Request::default()).unwrap().into();
    for stranger in ["somebody", "UAAA", &service.nkey.to_lowercase(), &format!("A{}", "A".repeat(55))] {
        let subject = format!("pilothouse.admin.v1.{stranger}.project.list");
        service.client.publish_with_reply(subject, inbox.clone(), request.clone()).await.unwrap();
    }
    assert_eq!(service.ask(Operation::ProjectList, Request::default()).await.status, 200);
    assert!(answers.next().now_or_never().is_none(), "a stranger was answered");
}

/// What NATS cannot carry is said, not swallowed.
async fn a_large_answer(service: &Service) {
    let metadata = json!({"text": "x".repeat(8000)});
    for n in 0..150 {
        let body = json!({"name": format!("n{n}"), "metadata": metadata});
        service.control.register("demo", body, super::stage::PEER, None, None).await.unwrap();
    }
    let list = |limit: &str| {
        let query = [("limit".to_owned(), limit.to_owned())].into();
        service.ask(Operation::NodeList, Request { project: Some("demo".to_owned()), query, ..Request::default() })
    };
    let all = list("1000").await;
    assert_eq!((all.status, &all.body["code"]), (413, &json!("payload_too_large")));
    let few = list("10").await;
    assert_eq!((few.status, few.body["nodes"].as_array().unwrap().len()), (200, 10));
}
