//! Back to what ran before: one fact assigns each node of an ended rollout the bundle that it ran when the rollout first assigned
//! it something, and the rollback ends when the nodes have reported that, or at its deadline.
//!
//! Absent on purpose: batches and health gates. What ran before is known to run, and whoever rolls back is in a hurry.

use super::engine::{Blocker, Verdict, after};
use super::{CAUSE_NODES_MAX, Command, Rollout};
use crate::fleet::{Assigner, Fleet};
use crate::node::Status;
use crate::{BundleId, Digest, NodeId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// The most nodes in one fact: each may have run a bundle of its own, and the journal bounds a fact.
const RESTORE_NODES_MAX: usize = 2_000;

/// Nodes that go back to the same bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restore {
    pub bundle_id: BundleId,
    /// SHA-256 of the archive that the nodes are to run.
    pub digest: Digest,
    pub node_ids: Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeftReason {
    /// The node ran nothing before.
    RanNothing,
    /// What it ran before was revoked or deleted, or is not known here.
    BundleNotDeployable,
}

/// Nodes that stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Left {
    pub reason: LeftReason,
    pub node_ids: Vec<NodeId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RollbackStarted {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restores: Vec<Restore>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Left>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RollbackEnded {
    /// Nodes that run what they ran before.
    pub restored: u32,
    /// Nodes that do not.
    pub left: u32,
    /// Some of those, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_ids: Vec<NodeId>,
}

/// A rollback as its facts tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    pub started_at: Timestamp,
    pub restores: Vec<Restore>,
    pub left: Vec<Left>,
    pub ended: Option<(RollbackEnded, Timestamp)>,
}

/// Nodes of a rollback by where they stand. A node that was deleted or assigned something else is in none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RollbackProgress {
    pub restored: u32,
    pub pending: u32,
    /// Not restored, and nothing is waited for: nothing to go back to, the activation failed, or time was up.
    pub left: u32,
}

impl Rollback {
    pub(super) fn started(at: Timestamp) -> Rollback {
        Rollback { started_at: at, restores: Vec::new(), left: Vec::new(), ended: None }
    }

    pub(super) fn add(&mut self, more: &RollbackStarted) {
        self.restores.extend(more.restores.iter().cloned());
        self.left.extend(more.left.iter().cloned());
    }

    /// `running`, `completed`, or `partial` when some nodes do not run what they ran before.
    pub fn as_str(&self) -> &'static str {
        match &self.ended {
            None => "running",
            Some((ended, _)) if ended.left == 0 => "completed",
            Some(_) => "partial",
        }
    }

    fn covered(&self) -> HashSet<NodeId> {
        let restored = self.restores.iter().flat_map(|restore| &restore.node_ids);
        restored.chain(self.left.iter().flat_map(|left| &left.node_ids)).copied().collect()
    }
}

impl RollbackStarted {
    fn is_empty(&self) -> bool {
        self.restores.is_empty() && self.left.is_empty()
    }
}

/// Where the next nodes go back to, as many as one fact may list: those that still have an assignment of this rollout. A node
/// that ran the rollout's bundle before it is where it was.
pub fn plan(rollout: &Rollout, fleet: &dyn Fleet) -> RollbackStarted {
    let covered = rollout.rollback.as_ref().map(Rollback::covered).unwrap_or_default();
    let mut restores: BTreeMap<BundleId, (Digest, Vec<NodeId>)> = BTreeMap::new();
    let mut left: BTreeMap<LeftReason, Vec<NodeId>> = BTreeMap::new();
    let nodes = rollout.steps.iter().flat_map(|step| &step.node_ids).filter(|id| !covered.contains(id));
    let ours = nodes.filter_map(|id| {
        let desired = fleet.desired(*id).filter(|desired| desired.is_of(rollout.id))?;
        fleet.node(*id)?;
        (desired.before != Some(rollout.spec.bundle_id)).then_some((*id, desired.before))
    });
    for (id, before) in ours.take(RESTORE_NODES_MAX) {
        let Some(bundle) = before else {
            left.entry(LeftReason::RanNothing).or_default().push(id);
            continue;
        };
        match fleet.deployable_digest(bundle) {
            Some(digest) => restores.entry(bundle).or_insert_with(|| (digest.clone(), Vec::new())).1.push(id),
            None => left.entry(LeftReason::BundleNotDeployable).or_default().push(id),
        }
    }
    let restore = |(bundle_id, (digest, node_ids))| Restore { bundle_id, digest, node_ids };
    let stays = |(reason, node_ids)| Left { reason, node_ids };
    RollbackStarted {
        restores: restores.into_iter().map(restore).collect(),
        left: left.into_iter().map(stays).collect(),
    }
}

/// What happens next to a rollout that has ended.
pub(super) fn evaluate(rollout: &Rollout, fleet: &dyn Fleet, now: Timestamp) -> Verdict {
    let Some(rollback) = rollout.rollback.as_ref().filter(|rollback| rollback.ended.is_none()) else {
        return Verdict::wait(Blocker::Ended, None);
    };
    let more = plan(rollout, fleet);
    if !more.is_empty() {
        return Verdict::act(Command::ContinueRollback(more));
    }
    let Found { restored, pending, mut left } = look(rollout, rollback, fleet);
    let until = after(rollback.started_at, rollout.spec.progress_deadline_s);
    if !pending.is_empty() && now < until {
        return Verdict::wait(Blocker::NodesRestoring { node_ids: pending }, Some(until));
    }
    left.extend(pending);
    let count = left.len() as u32;
    left.truncate(CAUSE_NODES_MAX);
    Verdict::act(Command::EndRollback(RollbackEnded { restored, left: count, node_ids: left }))
}

/// None: the rollout was not rolled back.
pub fn rollback_progress(rollout: &Rollout, fleet: &dyn Fleet) -> Option<RollbackProgress> {
    let rollback = rollout.rollback.as_ref()?;
    Some(match &rollback.ended {
        Some((ended, _)) => RollbackProgress { restored: ended.restored, pending: 0, left: ended.left },
        None => {
            let found = look(rollout, rollback, fleet);
            let (pending, left) = (found.pending.len() as u32, found.left.len() as u32);
            RollbackProgress { restored: found.restored, pending, left }
        }
    })
}

#[derive(Default)]
struct Found {
    restored: u32,
    pending: Vec<NodeId>,
    left: Vec<NodeId>,
}

fn look(rollout: &Rollout, rollback: &Rollback, fleet: &dyn Fleet) -> Found {
    let mut found = Found::default();
    for restore in &rollback.restores {
        for &id in &restore.node_ids {
            let desired = fleet.desired(id).filter(|desired| desired.by == Assigner::Rollback(rollout.id));
            let Some((node, desired)) = fleet.node(id).zip(desired) else { continue };
            let failed = |f: &crate::node::Failure| f.bundle == desired.bundle && f.position > desired.position;
            if node.failure.as_ref().is_some_and(failed) {
                found.left.push(id);
            } else if node.status != Status::Offline && node.active_bundle == Some(desired.bundle) {
                found.restored += 1;
            } else {
                found.pending.push(id);
            }
        }
    }
    let stays = rollback.left.iter().flat_map(|left| &left.node_ids);
    found.left.extend(stays.filter(|id| fleet.node(**id).is_some()));
    found
}
