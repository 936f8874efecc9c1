//! A fleet of values around one rollout: what the views hold on a replica, with a clock that the test moves.

use crate::fleet::{Assigner, Beat, Desired, Fleet};
use crate::node::{self, Node, Registered, Report};
use crate::rollout::{
    self, HealthGates, LateJoiners, Limits, Rollout, Selector, Spec, Strategy, Verdict, decide, evaluate,
};
use crate::{BundleId, Digest, Labels, NodeId, NodeName, Position, RolloutId, Slug};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};

pub const NEW: BundleId = BundleId::from_bytes([0xb1; 16]);
pub const OLD: BundleId = BundleId::from_bytes([0xb0; 16]);
pub const LIMITS: Limits = Limits { paused_max_s: 3600, pending_max_s: 1_000_000, beat_age_max_s: 60 };
pub const DEADLINE_S: u32 = 600;

#[derive(Clone, Default)]
pub struct Nodes {
    by_name: BTreeMap<NodeName, Node>,
    names: HashMap<NodeId, NodeName>,
    desired: HashMap<NodeId, Desired>,
    beats: HashMap<NodeId, Beat>,
    bundles: HashMap<BundleId, Digest>,
}

impl Fleet for Nodes {
    fn nodes<'a>(&'a self, project: &'a Slug) -> Box<dyn Iterator<Item = &'a Node> + 'a> {
        Box::new(self.by_name.values().filter(move |node| node.project == *project))
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.by_name.get(self.names.get(&id)?)
    }

    fn desired(&self, id: NodeId) -> Option<&Desired> {
        self.desired.get(&id)
    }

    fn beat(&self, id: NodeId) -> Option<Beat> {
        self.beats.get(&id).copied()
    }

    fn deployable_digest(&self, id: BundleId) -> Option<&Digest> {
        self.bundles.get(&id)
    }
}

#[derive(Clone)]
pub struct World {
    pub now: Timestamp,
    pub position: Position,
    pub rollout: Rollout,
    /// The rollout's facts so far.
    pub facts: Vec<(rollout::Event, Timestamp, Position)>,
    pub fleet: Nodes,
}

/// The id of node `i`, named `n<i>` with two digits.
pub fn id(i: u8) -> NodeId {
    NodeId::from_bytes([i; 16])
}

pub fn ids(list: &[u8]) -> Vec<NodeId> {
    list.iter().map(|i| id(*i)).collect()
}

pub fn project() -> Slug {
    "demo".parse().unwrap()
}

pub fn spec() -> Spec {
    Spec {
        bundle_id: NEW,
        strategy: Strategy::Rolling,
        target_selector: Selector::All {},
        batch_size: 1,
        batch_percentage: None,
        max_unavailable: 0,
        progress_deadline_s: DEADLINE_S,
        health_gates: HealthGates { heartbeat_healthy: true },
        target_count: 0,
        held: false,
        late_joiners: LateJoiners::Join,
    }
}

fn registered() -> Registered {
    Registered {
        name: "n".parse().unwrap(),
        labels: Labels::default(),
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

impl World {
    /// `nodes` online nodes that run the old bundle, and a rollout of the new one.
    pub fn new(nodes: u8, spec: Spec) -> World {
        let names = ("default".parse().unwrap(), project(), RolloutId::from_bytes([0xaa; 16]));
        let now = Timestamp::from_second(1_000_000).unwrap();
        let rollout = Rollout::created(names, &spec, now, Position(1));
        let mut world = World { now, position: Position(1), rollout, facts: Vec::new(), fleet: Nodes::default() };
        world.fleet.bundles.insert(NEW, "1".repeat(64).parse().unwrap());
        world.fleet.bundles.insert(OLD, "0".repeat(64).parse().unwrap());
        for i in 0..nodes {
            world.register(i, Labels::default());
            world.reports(i, OLD);
        }
        let (names, created) = ((world.rollout.org, world.rollout.project, world.rollout.id), world.position);
        world.rollout = Rollout::created(names, &spec, now, Position(created.0 + 1));
        world.position.0 += 1;
        world
    }

    fn next(&mut self) -> Position {
        self.position.0 += 1;
        self.position
    }

    pub fn register(&mut self, i: u8, labels: Labels) {
        let name: NodeName = format!("n{i:02}").parse().unwrap();
        let fact = Registered { name: name.clone(), labels, ..registered() };
        let position = self.next();
        let node = Node::registered(("default".parse().unwrap(), project(), id(i)), &fact, self.now, position);
        self.fleet.names.insert(id(i), name.clone());
        self.fleet.by_name.insert(name, node);
    }

    /// One that an operator has to approve.
    pub fn register_unapproved(&mut self, i: u8) {
        self.register(i, Labels::default());
        self.fleet.by_name.get_mut(&self.fleet.names[&id(i)]).unwrap().approved = false;
    }

    pub fn delete(&mut self, i: u8) {
        self.next();
        if let Some(name) = self.fleet.names.remove(&id(i)) {
            self.fleet.by_name.remove(&name);
        }
    }

    /// Carries a node's command out, if it changes anything.
    pub fn node(&mut self, i: u8, command: node::Command) {
        let Some(event) = self.fleet.node(id(i)).and_then(|node| node::decide(node, command)) else { return };
        let (position, now) = (self.next(), self.now);
        let name = &self.fleet.names[&id(i)];
        self.fleet.by_name.get_mut(name).unwrap().evolve(&event, now, position);
    }

    pub fn beats(&mut self, i: u8, healthy: bool) {
        self.node(i, node::Command::Observe { report: Report::default(), failed: None });
        self.fleet.beats.insert(id(i), Beat { at: self.now, healthy });
    }

    pub fn reports(&mut self, i: u8, bundle: BundleId) {
        let report = Report { active_bundle_id: Some(bundle), ..Report::default() };
        self.node(i, node::Command::Observe { report, failed: None });
        self.fleet.beats.insert(id(i), Beat { at: self.now, healthy: true });
    }

    /// One more online node that runs the old bundle, of as many as one likes.
    pub fn register_many(&mut self, i: u16) {
        let (name, labels) = (format!("m{i:05}").parse::<NodeName>().unwrap(), Labels::default());
        let fact = Registered { name: name.clone(), labels, ..registered() };
        let [high, low] = i.to_be_bytes();
        let (mut bytes, position) = ([0xdd; 16], self.next());
        (bytes[0], bytes[1]) = (high, low);
        let id = NodeId::from_bytes(bytes);
        let mut node = Node::registered(("default".parse().unwrap(), project(), id), &fact, self.now, position);
        node.active_bundle = Some(OLD);
        self.fleet.names.insert(id, name.clone());
        self.fleet.by_name.insert(name, node);
    }

    pub fn desired(&self, i: u8) -> Option<Desired> {
        self.fleet.desired.get(&id(i)).cloned()
    }

    pub fn desire(&mut self, i: u8, desired: Desired) {
        self.fleet.desired.insert(id(i), desired);
    }

    pub fn fleet_node(&self, i: u8) -> &Node {
        self.fleet.node(id(i)).unwrap()
    }

    pub fn fails(&mut self, i: u8, reason: &str) {
        self.fails_on(i, NEW, reason);
    }

    pub fn fails_on(&mut self, i: u8, bundle_id: BundleId, reason: &str) {
        let failed = Some(node::ActivationFailed { bundle_id, reason: reason.into() });
        self.node(i, node::Command::Observe { report: Report::default(), failed });
    }

    pub fn goes_offline(&mut self, i: u8) {
        self.node(i, node::Command::MarkOffline { last_seen_at: Some(self.now) });
    }

    /// Another rollout assigns the node.
    pub fn is_taken_over(&mut self, i: u8) {
        let position = self.next();
        let by = Assigner::Rollout(RolloutId::from_bytes([0xcc; 16]));
        let (before, decided) = (Some(OLD), position);
        let desired = Desired { bundle: OLD, by, before, decided, position, assigned_at: self.now };
        self.fleet.desired.insert(id(i), desired);
    }

    pub fn revoke(&mut self, bundle: BundleId) {
        self.next();
        self.fleet.bundles.remove(&bundle);
    }

    pub fn pass(&mut self, seconds: u32) {
        self.now += SignedDuration::from_secs(i64::from(seconds));
    }

    pub fn verdict(&self) -> Verdict {
        evaluate(&self.rollout, &self.fleet, LIMITS, self.now)
    }

    /// Does what the engine says, once.
    pub fn act(&mut self) -> Option<rollout::Event> {
        self.verdict().action.map(|action| self.wish(action))
    }

    pub fn wish(&mut self, command: rollout::Command) -> rollout::Event {
        let event = decide(&self.rollout, command).unwrap();
        self.apply(&event);
        event
    }

    /// Does what the engine says until it waits; the names of the facts.
    pub fn run(&mut self) -> Vec<&'static str> {
        let mut names = Vec::new();
        while let Some(event) = self.act() {
            names.push(event.name());
            assert!(names.len() <= 200, "the engine goes round in circles: {names:?}");
        }
        names
    }

    fn apply(&mut self, event: &rollout::Event) {
        let (position, now) = (self.next(), self.now);
        self.rollout.evolve(event, now, position);
        self.facts.push((event.clone(), now, position));
        match event {
            rollout::Event::StepStarted(step) => self.assign(step.bundle_id, &step.node_ids),
            rollout::Event::LateAssigned(late) => self.assign(late.bundle_id, &late.node_ids),
            rollout::Event::RollbackStarted(started) => {
                for restore in &started.restores {
                    let by = Assigner::Rollback(self.rollout.id);
                    let (bundle, before) = (restore.bundle_id, None);
                    let desired = Desired { bundle, by, before, decided: position, position, assigned_at: now };
                    for node_id in &restore.node_ids {
                        self.fleet.desired.insert(*node_id, desired.clone());
                    }
                }
            }
            rollout::Event::Failed(_) | rollout::Event::Cancelled(_) | rollout::Event::RollbackEnded(_) => {
                self.withdraw();
            }
            _ => {}
        }
    }

    fn assign(&mut self, bundle: BundleId, node_ids: &[NodeId]) {
        let by = Assigner::Rollout(self.rollout.id);
        for node_id in node_ids {
            let Some(name) = self.fleet.names.get(node_id) else { continue };
            let node = self.fleet.by_name.get_mut(name).unwrap();
            node.assigned();
            let old = self.fleet.desired.get(node_id).filter(|desired| desired.by == by);
            let before = old.map_or(node.active_bundle, |old| old.before);
            let (decided, position) = (self.position, self.position);
            let desired = Desired { bundle, by, before, decided, position, assigned_at: self.now };
            self.fleet.desired.insert(*node_id, desired);
        }
    }

    fn withdraw(&mut self) {
        for node_id in self.rollout.steps.iter().flat_map(|step| &step.node_ids) {
            let untaken = self.fleet.node(*node_id).is_some_and(|node| node.active_bundle != Some(NEW));
            let ours = self.fleet.desired.get(node_id).filter(|desired| desired.is_of(self.rollout.id)).cloned();
            let Some(withdrawn) = ours.filter(|_| untaken) else { continue };
            self.fleet.desired.remove(node_id);
            if let Some(bundle) = withdrawn.before {
                let (by, decided) = (Assigner::Rollback(self.rollout.id), Position::START);
                let back =
                    Desired { bundle, by, before: None, decided, position: self.position, assigned_at: self.now };
                self.fleet.desired.insert(*node_id, back);
            }
        }
    }
}
