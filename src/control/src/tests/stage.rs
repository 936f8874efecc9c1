//! A control plane over a rigged memory store, with its background work running, and short ways to ask it.

use super::rigged::Rigged;
use crate::execute::{Decision, Fact, Meta};
use crate::{Bootstrap, Caller, Control, ControlSettings, Grants, NodeCredential, NodeIdentity, Parts};
use contract::{Answer, ApiError, Heartbeat, HeartbeatAnswer, Operation, Registered, Request};
use domain::{Actor, Envelope, Event, NodeId, Position, Recorded, node};
use futures_util::StreamExt;
use journal::{Blobs, Faults, Faulty, JournalReader, JournalWriter, Memory, Pulse, Records, Snapshots, Telemetry};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use trust::MasterKey;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);
pub(crate) const CONFIG: &str = r#"
system { }
listeners { listener "http" { address "127.0.0.1:18080" } }
"#;
pub(crate) const BASE_URL: &str = "https://control.example";
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

pub(crate) struct Stage {
    pub control: Control,
    pub store: Rigged,
    master_key: String,
    settings: ControlSettings,
    running: JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Stage {
    pub async fn start() -> Stage {
        Stage::with(ControlSettings::default()).await
    }

    /// The default org with the project `demo`.
    pub async fn with(settings: ControlSettings) -> Stage {
        let stage = Stage::play(&Rigged::new(), &MasterKey::generate().to_text(), settings, |store| store);
        stage.bootstrap().await;
        stage
    }

    /// One more replica over the same store.
    pub async fn beside(&self) -> Stage {
        let stage = Stage::play(&self.store, &self.master_key, self.settings.clone(), |store| store);
        stage.bootstrap().await;
        stage
    }

    /// A replica whose requests to the same store go wrong as the seed says.
    pub fn beside_faulty(&self, seed: u64) -> Stage {
        let faulty = |store| Faulty::new(store, Faults::many(seed));
        Stage::play(&self.store, &self.master_key, self.settings.clone(), faulty)
    }

    fn play<B>(store: &Rigged, master_key: &str, settings: ControlSettings, dress: impl Fn(Rigged) -> B) -> Stage
    where
        B: JournalWriter + JournalReader + Records + Pulse + 'static,
    {
        let backend = Arc::new(dress(store.clone()));
        let rest = (Arc::new(store.clone()), Arc::new(store.memory.clone()));
        let control = control(backend, rest.0, rest.1, master_key, settings.clone());
        let background = control.clone();
        let running = tokio::spawn(async move {
            background.run().await;
        });
        Stage { control, store: store.clone(), master_key: master_key.to_owned(), settings, running }
    }

    async fn bootstrap(&self) {
        self.control.bootstrap(&Bootstrap { project: Some("demo".parse().unwrap()) }).await.unwrap();
        self.until("the replica is caught up", || self.control.is_caught_up()).await;
    }

    pub fn ask(&self, operation: Operation) -> Asking<'_> {
        Asking { stage: self, caller: operator(), operation, request: Request::default() }
    }

    /// A new node of `demo` with its key.
    pub async fn node(&self, name: &str) -> (NodeIdentity, String) {
        let (registered, _) = self.register(json!({"name": name}), None).await.unwrap();
        let key = registered.node_key.unwrap();
        let identity = self.control.authenticate_node(&registered.node_id, NodeCredential::Key(&key)).await;
        (identity.unwrap(), key)
    }

    pub async fn register(&self, body: Value, key: Option<&str>) -> Result<(Registered, Position), ApiError> {
        self.control.register("demo", body, PEER, None, key).await
    }

    /// With a join token.
    pub async fn join(&self, token: &str, body: Value, key: Option<&str>) -> Result<(Registered, Position), ApiError> {
        self.control.register("demo", body, PEER, Some(token), key).await
    }

    /// A new join token of `demo`: its id, and its secret.
    pub async fn join_token(&self, body: Value) -> (String, String) {
        let answer = self.ask(Operation::TokenCreate).body(body).send().await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let text = |field: &str| answer.body[field].as_str().unwrap().to_owned();
        (text("id"), text("token"))
    }

    /// Who may register in `demo` from now on.
    pub async fn policy(&self, registration: &str) {
        let body = json!({ "registration": registration });
        let answer = self.ask(Operation::ProjectUpdate).body(body).send().await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    pub async fn beat(&self, node: &NodeIdentity, body: Value) -> Result<HeartbeatAnswer, ApiError> {
        self.control.heartbeat(node, Heartbeat::parse(body)?).await
    }

    /// The fact of the liveness reactor, without the silence.
    pub async fn goes_offline(&self, id: NodeId) {
        let decide = |state: &views::State| {
            let node = state.nodes.get(id).unwrap();
            let event = node::decide(node, node::Command::MarkOffline { last_seen_at: None }).unwrap();
            let fact = Fact::next(crate::nodes::aggregate(node), node.position, Event::Node(event));
            Ok(Decision::Append(Box::new(fact), ()))
        };
        self.control.commit(&Meta::once(Actor::System), decide).await.unwrap();
    }

    /// Id of a new bundle of `demo` with this source.
    pub async fn new_bundle(&self, version: &str, source: &str) -> String {
        let body = json!({"version": version, "config_source": source});
        let answer = self.ask(Operation::BundleCreate).body(body).send().await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// Id of a new bundle of `demo` that may be deployed.
    pub async fn bundle(&self, version: &str) -> String {
        let id = self.new_bundle(version, CONFIG).await;
        self.until_shown(Operation::BundleShow, &id, "bundle", |bundle| bundle["status"] == "compiled").await;
        id
    }

    /// Id of a new rollout in `demo`.
    pub async fn rollout(&self, body: Value) -> String {
        let answer = self.ask(Operation::RolloutCreate).body(body).send().await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// Asks for a resource of `demo` until it is as wanted.
    pub async fn until_shown(&self, show: Operation, id: &str, field: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut polls = tokio::time::interval(POLL);
        loop {
            polls.tick().await;
            let answer = self.ask(show).id(id).send().await;
            let shown = &answer.body[field];
            if wanted(shown) {
                return shown.clone();
            }
            assert!(Instant::now() < deadline, "{field} {id} stays {}", answer.body);
        }
    }

    pub async fn until(&self, what: &str, wanted: impl Fn() -> bool) {
        until(what, wanted).await;
    }

    /// Everything that the journal holds.
    pub async fn facts(&self) -> Vec<Recorded> {
        let last = self.store.memory.last_position().await.unwrap();
        let stored = JournalReader::follow(&self.store.memory, Position::START).take(last.0 as usize);
        let fact = |stored: journal::Stored| Envelope::decode(stored.position, &stored.subject, &stored.body).unwrap();
        stored.map(fact).collect().await
    }

    /// The events, oldest first.
    pub async fn events(&self) -> Vec<Event> {
        self.facts().await.into_iter().map(|fact| fact.envelope.event).collect()
    }

    /// How many facts bear the name.
    pub async fn count(&self, type_name: &str) -> usize {
        self.events().await.iter().filter(|event| event.type_name() == type_name).count()
    }
}

pub(crate) async fn until(what: &str, wanted: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut polls = tokio::time::interval(POLL);
    while !wanted() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        polls.tick().await;
    }
}

pub(crate) fn control<B>(
    backend: Arc<B>,
    blobs: Arc<dyn Blobs>,
    rest: Arc<impl Telemetry + Snapshots + 'static>,
    master_key: &str,
    settings: ControlSettings,
) -> Control
where
    B: JournalWriter + JournalReader + Records + Pulse + 'static,
{
    Control::new(Parts {
        writer: backend.clone(),
        reader: backend.clone(),
        records: backend.clone(),
        pulse: backend,
        blobs,
        telemetry: rest.clone(),
        snapshots: rest,
        views: views::Views::default(),
        master_key: MasterKey::from_text(master_key).unwrap(),
        default_org: "default".parse().unwrap(),
        host_signer: Some(host_signer()),
        durability: None,
        settings,
    })
}

/// An operator, who may do everything.
pub(crate) fn operator() -> Caller {
    let actor = Actor::Operator(format!("U{}", "A".repeat(55)));
    Caller { actor, org: "default".parse().unwrap(), project: None, grants: Grants::Everything }
}

pub(crate) struct Asking<'a> {
    stage: &'a Stage,
    caller: Caller,
    operation: Operation,
    request: Request,
}

/// As the project stands in the path of nearly every route, `demo` is meant where nothing else is said.
impl Asking<'_> {
    pub fn by(mut self, caller: &Caller) -> Self {
        self.caller = caller.clone();
        self
    }

    pub fn project(mut self, slug: &str) -> Self {
        self.request.project = Some(slug.to_owned());
        self
    }

    pub fn id(mut self, id: &str) -> Self {
        self.request.id = Some(id.to_owned());
        self
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.request.query.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn body(mut self, body: Value) -> Self {
        self.request.body = body;
        self
    }

    /// `Idempotency-Key`
    pub fn key(mut self, key: &str) -> Self {
        self.request.idempotency_key = Some(key.to_owned());
        self
    }

    pub fn min_position(mut self, position: u64) -> Self {
        self.request.min_position = Some(position);
        self
    }

    pub fn request(mut self, request: &Request) -> Self {
        self.request = request.clone();
        self
    }

    pub async fn send(mut self) -> Answer {
        self.request.project.get_or_insert_with(|| "demo".to_owned());
        self.stage.control.perform(&self.caller, self.operation, self.request, BASE_URL).await
    }
}

/// The stable code of an error answer.
pub(crate) fn code(answer: &Answer) -> &str {
    answer.body["code"].as_str().unwrap_or_else(|| panic!("{} is no error: {}", answer.status, answer.body))
}

/// What a memory store was told to keep as telemetry.
pub(crate) fn telemetry(memory: &Memory) -> Vec<(String, Value)> {
    memory.telemetry().into_iter().map(|(subject, body)| (subject, serde_json::from_slice(&body).unwrap())).collect()
}

/// What signs the credentials of hosts: on all replicas of a test the same key.
pub(crate) fn host_signer() -> trust::nats::HostSigner {
    use trust::nats::{HostSigner, Installation, NewInstallation, Permissions};
    static MADE: std::sync::LazyLock<Installation> = std::sync::LazyLock::new(|| {
        let nothing = Permissions::default;
        Installation::create(NewInstallation {
            name: "test".into(),
            now: jiff::Timestamp::now(),
            runtime: nothing(),
            provisioning: nothing(),
            monitor: nothing(),
            accounts: nothing(),
        })
    });
    HostSigner::new(&MADE.seeds[Installation::SEED_CLIENTS_NODES], &MADE.clients_account_jwt).unwrap()
}
