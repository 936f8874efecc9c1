//! What a rollout's decisions may look at: nodes, assignments, bundles and the last heartbeats, as one replica's views hold
//! them. The trait keeps the decision pure and testable on values.

use crate::node::{Counter, Node};
use crate::{BundleId, NodeId, Position, RolloutId, Slug};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The installation's epoch: it is raised by an operator's statement when a backup is restored.
pub const EPOCH: u64 = 0;

/// Whose wish an assignment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Assigner {
    Rollout(RolloutId),
    /// The rollout's nodes go back to what they ran before.
    Rollback(RolloutId),
    /// An operator assigned it directly.
    Operator,
}

impl Assigner {
    pub fn as_str(self) -> &'static str {
        match self {
            Assigner::Rollout(_) => "rollout",
            Assigner::Rollback(_) => "rollback",
            Assigner::Operator => "operator",
        }
    }
}

/// What a node should run, as its newest assignment says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    pub bundle: BundleId,
    pub by: Assigner,
    /// What the node ran, or was about to go back to, when `by` first assigned it something: where a rollback leads.
    pub before: Option<BundleId>,
    /// Where somebody wished for it. A node that falls back to an older wish gets a new counter, and the wish stays as old as it is.
    pub decided: Position,
    /// Where the assigning fact stands: the assignment's counter.
    pub position: Position,
    pub assigned_at: Timestamp,
}

/// An assignment of a node, whether or not it still stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    pub bundle: BundleId,
    /// Where the assigning fact stands.
    pub position: Position,
}

impl Assigned {
    /// What the node signs for, and compares with what it has accepted.
    pub fn counter(&self) -> Counter {
        Counter { epoch: EPOCH, position: self.position.0 }
    }
}

impl Desired {
    pub fn assigned(&self) -> Assigned {
        Assigned { bundle: self.bundle, position: self.position }
    }

    /// The assignment that a step of this rollout made.
    pub fn is_of(&self, rollout: RolloutId) -> bool {
        self.by == Assigner::Rollout(rollout)
    }
}

/// The newest heartbeat of a node that this replica has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    pub at: Timestamp,
    /// `health.status` is absent or `healthy`.
    pub healthy: bool,
}

pub trait Fleet {
    /// The project's nodes in order of their names.
    fn nodes<'a>(&'a self, project: &'a Slug) -> Box<dyn Iterator<Item = &'a Node> + 'a>;
    fn node(&self, id: NodeId) -> Option<&Node>;
    fn desired(&self, id: NodeId) -> Option<&Desired>;
    fn beat(&self, id: NodeId) -> Option<Beat>;
    /// The digest of a bundle's archive while it may be deployed.
    fn deployable_digest(&self, id: BundleId) -> Option<&crate::Digest>;
}
