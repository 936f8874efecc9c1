//! A node: one proxy's membership in a project. Its liveness is not history (that is the `PULSE` stream's); what a heartbeat
//! changes is.

mod keys;
mod receipt;

pub use keys::{KeyRotated, PublicKey, PublicKeyError, SignsAlready, rotate_key};
pub use receipt::{ACTIVATION_RECEIPT, ActivationReceipt, Claim, Counter, ReceiptRejection, keep_receipt};

use crate::event::events;
use crate::{BundleId, JoinTokenId, Labels, NodeId, NodeName, Position, Slug};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

events! {
    /// A proxy joined a project; its name is unique there.
    Registered(Registered) = "registered" v 3 reads 1 reads 2,
    /// An operator lets a node take part that registered with a token which asks for that.
    Approved(Approved) = "approved" v 1,
    /// The node has another key, which was shown once; only a hash of it is kept, and not here.
    KeyRotated(KeyRotated) = "key_rotated" v 2 reads 1,
    /// The first heartbeat, or the first after an absence.
    Online(Report) = "online" v 1,
    /// The node runs another bundle than before.
    BundleSwitched(Report) = "bundle_switched" v 1,
    /// Something else that a heartbeat says has changed.
    Changed(Report) = "changed" v 1,
    /// The node could not activate a bundle and went on with what it ran before.
    ActivationFailed(ActivationFailed) = "activation_failed" v 1,
    /// The node's signed statement of what it activated under which assignment; anybody can verify it.
    ActivationReceipt(ActivationReceipt) = "activation_receipt" v 1,
    /// No heartbeat for the configured time (120 s).
    Offline(Offline) = "offline" v 1,
    /// Removed with its credentials; its name is free again.
    Deleted(Deleted) = "deleted" v 1,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    pub name: NodeName,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// What the node registered with, where it was not free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token_id: Option<JoinTokenId>,
    /// The node gets no work until an operator approves it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval_required: bool,
    /// The key that the node signs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approved {}

/// What a heartbeat says of the node. In a fact: only what changed. Omitted fields change nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_bundle_id: Option<BundleId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged_bundle_id: Option<BundleId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActivationFailed {
    pub bundle_id: BundleId,
    /// What the node says, shortened to 1,000 characters.
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Offline {
    /// None: never seen since its registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub last_seen_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Online,
    Offline,
    /// Registered, no heartbeat yet.
    Unknown,
}

impl Status {
    pub const ALL: [Status; 3] = [Status::Online, Status::Offline, Status::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Online => "online",
            Status::Offline => "offline",
            Status::Unknown => "unknown",
        }
    }
}

/// An activation that the node reported as failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub bundle: BundleId,
    pub reason: String,
    pub at: Timestamp,
    /// Where the fact stands: a failure counts only against assignments before it.
    pub position: Position,
    /// The node was assigned something since, so that the same failure once more is news.
    pub superseded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub org: Slug,
    pub project: Slug,
    pub name: NodeName,
    pub labels: Labels,
    pub version: Option<String>,
    pub ip: Option<String>,
    pub hostname: Option<String>,
    pub capabilities: Vec<String>,
    pub metadata: Map<String, Value>,
    pub join_token: Option<JoinTokenId>,
    /// Only an approved node is matched by selectors and gets offers.
    pub approved: bool,
    /// None: the key of its registration.
    pub key_id: Option<String>,
    /// The newest key is an operator's doing.
    pub key_was_reset: bool,
    /// When an operator last replaced the key; tokens from before are refused.
    pub key_reset_at: Option<Timestamp>,
    /// What it signs with.
    pub public_key: Option<PublicKey>,
    /// The newest assignment that it has signed a receipt for.
    pub receipt: Option<Counter>,
    pub status: Status,
    /// When `status` last changed.
    pub status_since: Timestamp,
    /// Where the fact stands that last changed `status`.
    pub status_position: Position,
    pub active_bundle: Option<BundleId>,
    /// When and where the fact stands that last changed `active_bundle`.
    pub active_since: Option<(Timestamp, Position)>,
    pub staged_bundle: Option<BundleId>,
    pub failure: Option<Failure>,
    /// The last-seen time that the newest `offline` fact carries; newer ones are in the presence view.
    pub last_seen_at: Option<Timestamp>,
    pub registered_at: Timestamp,
    /// Since when it takes part: where its registration stands, or its approval.
    pub joined: Position,
    pub position: Position,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A heartbeat arrived.
    Observe {
        report: Report,
        failed: Option<ActivationFailed>,
    },
    /// Nothing was heard for the configured time, measured in `PULSE` stream time.
    MarkOffline {
        last_seen_at: Option<Timestamp>,
    },
    Approve,
    /// An operator replaces the node's secret.
    ResetKey {
        key_id: String,
    },
    Delete,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    #[error("has already been taken")]
    NameTaken,
}

/// Decides a registration. `name_taken` is what the fold says at the guard's position.
pub fn register(fact: Registered, name_taken: bool) -> Result<Event, Rejection> {
    if name_taken {
        return Err(Rejection::NameTaken);
    }
    Ok(Event::Registered(fact))
}

/// Decides on a registered node; `None` when the command changes nothing.
pub fn decide(node: &Node, command: Command) -> Option<Event> {
    match command {
        Command::Observe { report, failed } => observe(node, report, failed),
        Command::MarkOffline { last_seen_at } => {
            (node.status != Status::Offline).then_some(Event::Offline(Offline { last_seen_at }))
        }
        Command::Approve => (!node.approved).then_some(Event::Approved(Approved {})),
        Command::ResetKey { key_id } => Some(Event::KeyRotated(KeyRotated { key_id, reset: true, public_key: None })),
        Command::Delete => Some(Event::Deleted(Deleted {})),
    }
}

fn observe(node: &Node, report: Report, failed: Option<ActivationFailed>) -> Option<Event> {
    if let Some(failed) = failed {
        let known = node
            .failure
            .as_ref()
            .is_some_and(|f| !f.superseded && f.bundle == failed.bundle_id && f.reason == failed.reason);
        if !known {
            return Some(Event::ActivationFailed(failed));
        }
    }
    let changes = changes(node, report);
    if node.status != Status::Online {
        Some(Event::Online(changes))
    } else if changes.active_bundle_id.is_some() {
        Some(Event::BundleSwitched(changes))
    } else if changes != Report::default() {
        Some(Event::Changed(changes))
    } else {
        None
    }
}

/// Keeps of a report what differs from the known state.
fn changes(node: &Node, report: Report) -> Report {
    fn differing<T: PartialEq>(new: Option<T>, old: &Option<T>) -> Option<T> {
        new.filter(|value| Some(value) != old.as_ref())
    }
    Report {
        active_bundle_id: differing(report.active_bundle_id, &node.active_bundle),
        staged_bundle_id: differing(report.staged_bundle_id, &node.staged_bundle),
        version: differing(report.version, &node.version),
        ip: differing(report.ip, &node.ip),
        hostname: differing(report.hostname, &node.hostname),
        metadata: report.metadata.filter(|metadata| *metadata != node.metadata),
    }
}

impl Node {
    pub fn registered(
        (org, project, id): (Slug, Slug, NodeId),
        fact: &Registered,
        time: Timestamp,
        position: Position,
    ) -> Node {
        let fact = fact.clone();
        Node {
            id,
            org,
            project,
            name: fact.name,
            labels: fact.labels,
            version: fact.version,
            ip: fact.ip,
            hostname: fact.hostname,
            capabilities: fact.capabilities,
            metadata: fact.metadata,
            join_token: fact.join_token_id,
            approved: !fact.approval_required,
            key_id: None,
            key_was_reset: false,
            key_reset_at: None,
            public_key: fact.public_key,
            receipt: None,
            status: Status::Unknown,
            status_since: time,
            status_position: position,
            active_bundle: None,
            active_since: None,
            staged_bundle: None,
            failure: None,
            last_seen_at: None,
            registered_at: time,
            joined: position,
            position,
        }
    }

    /// `Deleted` leaves the state as it is: whoever holds the node drops it.
    pub fn evolve(&mut self, event: &Event, time: Timestamp, position: Position) {
        self.position = position;
        match event {
            Event::Registered(_) | Event::Deleted(_) => {}
            Event::Approved(_) => (self.approved, self.joined) = (true, position),
            Event::KeyRotated(fact) => {
                (self.key_id, self.key_was_reset) = (Some(fact.key_id.clone()), fact.reset);
                if fact.reset {
                    self.key_reset_at = Some(time);
                }
                if fact.public_key.is_some() {
                    self.public_key.clone_from(&fact.public_key);
                }
            }
            Event::ActivationReceipt(receipt) => self.receipt = self.receipt.max(Some(receipt.counter)),
            Event::Online(report) => {
                self.apply(report, time, position);
                self.become_status(Status::Online, time, position);
            }
            Event::BundleSwitched(report) | Event::Changed(report) => self.apply(report, time, position),
            Event::ActivationFailed(failed) => {
                let (bundle, reason) = (failed.bundle_id, failed.reason.clone());
                self.failure = Some(Failure { bundle, reason, at: time, position, superseded: false });
                self.become_status(Status::Online, time, position);
            }
            Event::Offline(offline) => {
                self.last_seen_at = offline.last_seen_at.or(self.last_seen_at);
                self.become_status(Status::Offline, time, position);
            }
        }
    }

    /// A bundle was assigned to the node, perhaps the one that failed: what it reports from now on is about that.
    pub fn assigned(&mut self) {
        if let Some(failure) = &mut self.failure {
            failure.superseded = true;
        }
    }

    fn become_status(&mut self, status: Status, time: Timestamp, position: Position) {
        if self.status != status {
            (self.status, self.status_since, self.status_position) = (status, time, position);
        }
    }

    fn apply(&mut self, report: &Report, time: Timestamp, position: Position) {
        fn set<T: Clone>(slot: &mut Option<T>, value: &Option<T>) {
            if value.is_some() {
                slot.clone_from(value);
            }
        }
        if report.active_bundle_id.is_some() {
            (self.active_bundle, self.active_since) = (report.active_bundle_id, Some((time, position)));
        }
        set(&mut self.staged_bundle, &report.staged_bundle_id);
        set(&mut self.version, &report.version);
        set(&mut self.ip, &report.ip);
        set(&mut self.hostname, &report.hostname);
        if let Some(metadata) = &report.metadata {
            self.metadata.clone_from(metadata);
        }
        // A switch back to what ran before the failure proves nothing; a switch after a new assignment does.
        if report.active_bundle_id.is_some()
            && self.failure.as_ref().is_some_and(|f| f.superseded || Some(f.bundle) == self.active_bundle)
        {
            self.failure = None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
