//! Where the nodes of a rollout stand, one by one and counted. Reads the fleet; decides nothing.

use super::engine::{Limits, after};
use super::{Rollout, late};
use crate::NodeId;
use crate::fleet::Fleet;
use crate::node::{Node, Status};
use jiff::Timestamp;
use std::collections::HashSet;

/// Where one node of a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeProgress {
    /// Runs the bundle, and passes the gates.
    Done,
    /// Runs the bundle; its health is not proven yet.
    Verifying,
    /// Has not reported the bundle yet.
    Pending,
    Failed(String),
    /// Offline; `acknowledged` when an operator resumed the rollout after it was lost.
    Lost {
        acknowledged: bool,
    },
    /// Deleted, or assigned something else since.
    Gone,
}

/// Counts over the nodes of all steps, and over the whole selection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub total: u32,
    pub pending: u32,
    pub active: u32,
    pub failed: u32,
    /// Matched, available and not in any step; counted in `pending` too.
    pub waiting: u32,
    pub deferred: u32,
}

/// Where a node that is in a step of this rollout stands.
pub fn node_progress(rollout: &Rollout, id: NodeId, fleet: &dyn Fleet, limits: Limits, now: Timestamp) -> NodeProgress {
    let Some(node) = fleet.node(id) else {
        return NodeProgress::Gone;
    };
    let Some(desired) = fleet.desired(id).filter(|desired| desired.is_of(rollout.id)) else {
        return NodeProgress::Gone;
    };
    if let Some(failure) = &node.failure
        && failure.bundle == desired.bundle
        && failure.position > desired.position
    {
        return NodeProgress::Failed(failure.reason.clone());
    }
    if node.status == Status::Offline {
        let acknowledged = rollout.resumed.is_some_and(|resumed| resumed > node.status_position);
        return NodeProgress::Lost { acknowledged };
    }
    if node.active_bundle != Some(desired.bundle) {
        return NodeProgress::Pending;
    }
    if !rollout.spec.health_gates.heartbeat_healthy {
        return NodeProgress::Done;
    }
    let proven = fleet.beat(id).is_some_and(|beat| {
        beat.healthy && beat.at >= desired.assigned_at && after(beat.at, limits.beat_age_max_s) >= now
    });
    if proven { NodeProgress::Done } else { NodeProgress::Verifying }
}

/// Matched but offline and in no step: picked up when they return before the rollout ends.
pub fn deferred<'a>(rollout: &'a Rollout, fleet: &'a dyn Fleet) -> impl Iterator<Item = &'a Node> {
    unstarted(rollout, fleet).filter(|node| !available(node))
}

/// Matched and in no step yet, by name.
pub(super) fn unstarted<'a>(rollout: &'a Rollout, fleet: &'a dyn Fleet) -> impl Iterator<Item = &'a Node> {
    let started: HashSet<NodeId> = rollout.steps.iter().flat_map(|step| step.node_ids.iter().copied()).collect();
    let nodes = fleet.nodes(&rollout.project);
    nodes.filter(move |node| late::is_meant(rollout, node) && !started.contains(&node.id))
}

/// A node that was never seen counts as available until it is found silent for the offline time.
pub(super) fn available(node: &Node) -> bool {
    node.status != Status::Offline
}

/// Counts where the nodes of a rollout stand. What a completed step achieved stays counted: whatever a node does afterwards, or
/// is told by another rollout, is not this one's progress. What was rolled back was not achieved.
pub fn progress(rollout: &Rollout, fleet: &dyn Fleet, limits: Limits, now: Timestamp) -> Progress {
    let ended = rollout.state.is_terminal();
    let mut sum = Progress::default();
    for step in &rollout.steps {
        let completed = step.completed_at.is_some() && rollout.rollback.is_none();
        let given_up: HashSet<NodeId> = step.deferred_node_ids.iter().copied().collect();
        for &id in &step.node_ids {
            sum.total += 1;
            if completed && !given_up.contains(&id) {
                sum.active += 1;
                continue;
            }
            match node_progress(rollout, id, fleet, limits, now) {
                NodeProgress::Done => sum.active += 1,
                NodeProgress::Verifying if ended => sum.active += 1,
                NodeProgress::Pending | NodeProgress::Verifying if !completed && !ended => sum.pending += 1,
                NodeProgress::Failed(_) => sum.failed += 1,
                NodeProgress::Gone if ended && failed_last(rollout, id, fleet) => sum.failed += 1,
                NodeProgress::Pending | NodeProgress::Verifying | NodeProgress::Lost { .. } | NodeProgress::Gone => {
                    sum.deferred += 1
                }
            }
        }
    }
    if !ended {
        for node in unstarted(rollout, fleet) {
            sum.total += 1;
            if available(node) { sum.waiting += 1 } else { sum.deferred += 1 }
        }
        sum.pending += sum.waiting;
    }
    sum
}

/// The newest thing that is known of the node is that it failed on the bundle: its assignment was withdrawn with the rollout.
pub(super) fn failed_last(rollout: &Rollout, id: NodeId, fleet: &dyn Fleet) -> bool {
    let failure = fleet.node(id).and_then(|node| node.failure.as_ref());
    failure.is_some_and(|failure| failure.bundle == rollout.spec.bundle_id && !failure.superseded)
}
