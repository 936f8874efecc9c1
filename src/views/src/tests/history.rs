//! A journal in memory that is folded while it is written. Every fact takes the way over its bytes.

use crate::State;
use domain::rollout::{self, HealthGates, LateJoiners, Selector, Spec, StepStarted, Strategy};
use domain::{
    Actor, Aggregate, ApiKeyId, BundleId, CommandId, Digest, Envelope, Event, Labels, NodeId, Position, RolloutId, Slug,
};
use domain::{api_key, bundle, node, org, project};
use jiff::Timestamp;
use journal::Stored;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct History {
    pub state: State,
    pub facts: Vec<Stored>,
    /// The clock of the writer, in seconds.
    pub second: i64,
}

pub fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

pub fn demo() -> Slug {
    slug("demo")
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub fn node_id(i: u8) -> NodeId {
    NodeId::from_bytes([i; 16])
}

pub fn bundle_id(i: u8) -> BundleId {
    BundleId::from_bytes([i; 16])
}

pub fn rollout_id(i: u8) -> RolloutId {
    RolloutId::from_bytes([i; 16])
}

pub fn digest(i: u8) -> Digest {
    format!("{i:02x}").repeat(32).parse().unwrap()
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::try_from(pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<BTreeMap<_, _>>()).unwrap()
}

pub fn node(i: u8) -> Aggregate {
    Aggregate::Node { org: slug("default"), project: demo(), id: node_id(i) }
}

pub fn bundle(i: u8) -> Aggregate {
    Aggregate::Bundle { org: slug("default"), project: demo(), id: bundle_id(i) }
}

pub fn rollout(i: u8) -> Aggregate {
    Aggregate::Rollout { org: slug("default"), project: demo(), id: rollout_id(i) }
}

pub fn api_key(i: u8) -> Aggregate {
    Aggregate::ApiKey { org: slug("default"), id: ApiKeyId::from_bytes([i; 16]) }
}

/// The stored form of a fact.
pub fn stored(position: Position, aggregate: &Aggregate, envelope: &Envelope, batch_end: bool) -> Stored {
    Stored {
        position,
        subject: aggregate.subject(envelope.event.name()),
        time: envelope.time,
        body: envelope.encode().into(),
        batch_end,
    }
}

pub fn decode(stored: &Stored) -> domain::Recorded {
    Envelope::decode(stored.position, &stored.subject, &stored.body).unwrap()
}

pub fn fold(facts: &[Stored]) -> State {
    let mut state = State::default();
    facts.iter().for_each(|fact| state.apply(&decode(fact)));
    state
}

pub fn compiled(i: u8) -> bundle::Compiled {
    bundle::Compiled {
        digest: digest(i),
        size_bytes: 1,
        files: vec![bundle::File { path: "zentinel.kdl".into(), sha256: digest(i), bytes: 1 }],
        signature: "s".into(),
        key_id: "bk_1".into(),
        proxy_version: "0.6.45".into(),
        warnings: Vec::new(),
    }
}

pub fn spec(bundle: u8, target_selector: Selector) -> Spec {
    Spec {
        bundle_id: bundle_id(bundle),
        strategy: Strategy::Rolling,
        target_selector,
        batch_size: 2,
        batch_percentage: None,
        max_unavailable: 0,
        progress_deadline_s: 600,
        health_gates: HealthGates { heartbeat_healthy: true },
        target_count: 0,
        held: false,
        late_joiners: LateJoiners::Join,
    }
}

impl History {
    pub fn fact(&mut self, aggregate: Aggregate, event: Event) -> Position {
        self.fact_of(None, aggregate, event)
    }

    /// `command`: id and request hash, for a command that came with an `Idempotency-Key`.
    pub fn fact_of(&mut self, command: Option<(u8, u64)>, aggregate: Aggregate, event: Event) -> Position {
        let position = Position(self.state.position.0 + 1);
        let (command, request) = match command {
            Some((id, request)) => (CommandId([id; 16]), Some(request)),
            None => (CommandId(u128::from(position.0).to_be_bytes()), None),
        };
        let envelope = Envelope { command, index: 0, time: at(self.second), actor: Actor::System, request, event };
        let fact = stored(position, &aggregate, &envelope, true);
        self.state.apply(&decode(&fact));
        self.facts.push(fact);
        position
    }

    pub fn org(&mut self, event: org::Event) -> Position {
        self.fact(Aggregate::Org(slug("default")), Event::Org(event))
    }

    pub fn project(&mut self, name: &str) -> Position {
        let fact = project::Created {
            id: domain::ProjectId::from_bytes([name.len() as u8; 16]),
            name: name.to_owned(),
            registration: project::Registration::Open,
        };
        let aggregate = Aggregate::Project { org: slug("default"), project: slug(name) };
        self.fact(aggregate, Event::Project(project::Event::Created(fact)))
    }

    pub fn api_key(&mut self, i: u8, event: api_key::Event) -> Position {
        self.fact(api_key(i), Event::ApiKey(event))
    }

    pub fn node(&mut self, i: u8, event: node::Event) -> Position {
        self.fact(node(i), Event::Node(event))
    }

    pub fn bundle(&mut self, i: u8, event: bundle::Event) -> Position {
        self.fact(bundle(i), Event::Bundle(event))
    }

    pub fn rollout(&mut self, i: u8, event: rollout::Event) -> Position {
        self.fact(rollout(i), Event::Rollout(event))
    }

    pub fn register(&mut self, i: u8, name: &str, labels: Labels) -> Position {
        self.node(i, node::Event::Registered(registered(name, labels)))
    }

    pub fn reports(&mut self, i: u8, bundle: u8) -> Position {
        let report = node::Report { active_bundle_id: Some(bundle_id(bundle)), ..node::Report::default() };
        self.node(i, node::Event::BundleSwitched(report))
    }

    pub fn create_bundle(&mut self, i: u8, version: &str) -> Position {
        let fact = bundle::Created { version: version.parse().unwrap(), source_digest: digest(i), source_bytes: 1 };
        self.bundle(i, bundle::Event::Created(fact))
    }

    pub fn create_rollout(&mut self, i: u8, bundle: u8) -> Position {
        self.rollout(i, rollout::Event::Created(spec(bundle, Selector::All {})))
    }

    pub fn assign(&mut self, rollout: u8, step_index: u32, bundle: u8, nodes: &[u8]) -> Position {
        let node_ids = nodes.iter().map(|i| node_id(*i)).collect();
        let (bundle_id, digest) = (bundle_id(bundle), digest(bundle));
        let step = StepStarted { step_index, attempt: 0, bundle_id, digest, node_ids };
        self.rollout(rollout, rollout::Event::StepStarted(step))
    }
}

pub fn registered(name: &str, labels: Labels) -> node::Registered {
    node::Registered {
        name: name.parse().unwrap(),
        labels,
        version: None,
        ip: None,
        hostname: None,
        capabilities: Vec::new(),
        metadata: serde_json::Map::new(),
        join_token_id: None,
        approval_required: false,
        public_key: None,
    }
}

pub fn cause() -> rollout::Cause {
    rollout::Cause { reason: rollout::Reason::Requested, step_index: None, node_ids: Vec::new(), message: None }
}

pub fn cancelled() -> rollout::Event {
    rollout::Event::Cancelled(rollout::Cancelled { cause: cause() })
}
