//! The nodes of a rollout one by one: where each stands, why, and since when. Reads the fleet; decides nothing.

use super::engine::{Limits, after};
use super::progress::{available, failed_last};
use super::{LeftReason, NodeProgress, Rollout, State, Step, late, node_progress};
use crate::fleet::{Assigner, Fleet};
use crate::node::Node;
use crate::{NodeId, NodeName};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// Waits for its step.
    Pending,
    /// Has the bundle assigned and has not reported it.
    Offered,
    /// Runs it.
    Active,
    /// Runs it; its health is not proven yet.
    Verifying,
    Failed,
    /// Went offline during its step.
    Lost,
    /// Passed over: offline before its step, given up during it, or not reached before the end.
    Deferred,
    /// Deleted, or told something else since.
    Gone,
}

impl NodeState {
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Pending => "pending",
            NodeState::Offered => "offered",
            NodeState::Active => "active",
            NodeState::Verifying => "verifying",
            NodeState::Failed => "failed",
            NodeState::Lost => "lost",
            NodeState::Deferred => "deferred",
            NodeState::Gone => "gone",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    pub id: NodeId,
    /// None: deleted.
    pub name: Option<NodeName>,
    pub state: NodeState,
    /// One sentence without a full stop, where the state does not say it all.
    pub reason: Option<String>,
    pub since: Option<Timestamp>,
    /// Index of its step.
    pub step: Option<u32>,
}

/// A node that a rollout is for.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    pub id: NodeId,
    /// None: deleted.
    pub node: Option<&'a Node>,
    step: Option<&'a Step>,
}

/// Every node that the selector matches or that a step holds: by name, and the deleted ones after them by id.
pub fn members<'a>(rollout: &'a Rollout, fleet: &'a dyn Fleet) -> impl Iterator<Item = Member<'a>> {
    let nodes_of = |step: &'a Step| step.node_ids.iter().map(move |id| (*id, step));
    let steps: HashMap<NodeId, &'a Step> = rollout.steps.iter().flat_map(nodes_of).collect();
    let mut deleted: Vec<(NodeId, &'a Step)> = steps.iter().map(|(id, step)| (*id, *step)).collect();
    deleted.retain(|(id, _)| fleet.node(*id).is_none());
    deleted.sort_unstable_by_key(|(id, _)| *id);
    let ended = rollout.ended;
    let late: HashSet<NodeId> = rollout.late.iter().copied().collect();
    let named = fleet.nodes(&rollout.project).filter_map(move |node| {
        let step = steps.get(&node.id).copied();
        let in_time = ended.is_none_or(|ended| node.joined < ended);
        let meant = step.is_some() || late.contains(&node.id) || (in_time && late::is_meant(rollout, node));
        meant.then_some(Member { id: node.id, node: Some(node), step })
    });
    named.chain(deleted.into_iter().map(|(id, step)| Member { id, node: None, step: Some(step) }))
}

/// Where one of them stands.
pub fn report(rollout: &Rollout, member: Member<'_>, fleet: &dyn Fleet, limits: Limits, now: Timestamp) -> NodeReport {
    let (state, reason, since) = match (member.step, member.node) {
        (None, Some(node)) if !rollout.late.contains(&node.id) => unstarted(rollout, node),
        _ => started(rollout, member, fleet, limits, now),
    };
    let (name, step) = (member.node.map(|node| node.name.clone()), member.step.map(|step| step.index));
    NodeReport { id: member.id, name, state, reason, since, step }
}

type Told = (NodeState, Option<String>, Option<Timestamp>);

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn unstarted(rollout: &Rollout, node: &Node) -> Told {
    if !available(node) {
        return (NodeState::Deferred, text("is offline"), Some(node.status_since));
    }
    if rollout.state.is_terminal() {
        return (NodeState::Deferred, text("was not reached before the rollout ended"), rollout.completed_at);
    }
    let reason = if rollout.state == State::Pending { "the rollout has not started" } else { "waits for its step" };
    (NodeState::Pending, text(reason), Some(rollout.started_at.unwrap_or(rollout.created_at)))
}

fn started(rollout: &Rollout, member: Member<'_>, fleet: &dyn Fleet, limits: Limits, now: Timestamp) -> Told {
    let (id, node) = (member.id, member.node);
    let completed = member.step.and_then(|step| step.completed_at).filter(|_| rollout.rollback.is_none());
    let given_up = member.step.is_some_and(|step| step.deferred_node_ids.contains(&id));
    if completed.is_some() && !given_up {
        return (NodeState::Active, None, completed);
    }
    // A late node's assignment outlives the rollout.
    let over = member.step.is_some() && (completed.is_some() || rollout.state.is_terminal());
    let assigned_at = fleet.desired(id).map(|desired| desired.assigned_at);
    let active_since = node.and_then(|node| node.active_since).map(|(time, _)| time).max(assigned_at);
    match node_progress(rollout, id, fleet, limits, now) {
        NodeProgress::Done => (NodeState::Active, None, active_since),
        NodeProgress::Verifying if over => (NodeState::Active, None, active_since),
        NodeProgress::Verifying => (NodeState::Verifying, text(unproven(id, fleet, limits, now)), active_since),
        NodeProgress::Pending if over => {
            let since = completed.or(rollout.completed_at);
            (NodeState::Deferred, text("did not report the bundle before it was given up"), since)
        }
        NodeProgress::Pending => {
            let reason = rollout.withholds_offers().then(|| "gets no offer while the rollout is paused".to_owned());
            (NodeState::Offered, reason, assigned_at)
        }
        NodeProgress::Failed(reason) => {
            let since = node.and_then(|node| node.failure.as_ref()).map(|failure| failure.at);
            (NodeState::Failed, Some(reason), since)
        }
        NodeProgress::Lost { .. } => (NodeState::Lost, text("is offline"), node.map(|node| node.status_since)),
        NodeProgress::Gone => gone(rollout, member, fleet),
    }
}

fn gone(rollout: &Rollout, member: Member<'_>, fleet: &dyn Fleet) -> Told {
    let Some(node) = member.node else {
        return (NodeState::Gone, text("was deleted"), None);
    };
    if let Some(failure) = node.failure.as_ref().filter(|_| failed_last(rollout, node.id, fleet)) {
        return (NodeState::Failed, Some(failure.reason.clone()), Some(failure.at));
    }
    let desired = fleet.desired(node.id);
    let reason = match desired.map(|desired| (desired.by, desired.bundle)) {
        None => "its assignment was withdrawn".to_owned(),
        Some((Assigner::Rollback(id), bundle)) if id == rollout.id => format!("goes back to bundle {bundle}"),
        Some((Assigner::Rollback(id), _)) => format!("was rolled back with rollout {id}"),
        Some((Assigner::Rollout(id), _)) => format!("was assigned by rollout {id}"),
        Some((Assigner::Operator, bundle)) => format!("was assigned bundle {bundle} directly"),
    };
    (NodeState::Gone, Some(reason), desired.map(|desired| desired.assigned_at))
}

/// Why the health of a node that runs the bundle is not proven.
pub(super) fn unproven(id: NodeId, fleet: &dyn Fleet, limits: Limits, now: Timestamp) -> &'static str {
    let assigned_at = fleet.desired(id).map(|desired| desired.assigned_at);
    match fleet.beat(id) {
        Some(beat) if Some(beat.at) < assigned_at => "has not sent a heartbeat since it was assigned the bundle",
        Some(beat) if !beat.healthy => "says that it is not healthy",
        Some(beat) if after(beat.at, limits.beat_age_max_s) < now => "has not sent a heartbeat for two intervals",
        Some(_) => "has sent a healthy heartbeat just now",
        None => "has not sent a heartbeat",
    }
}

impl LeftReason {
    /// Completes "the node …".
    pub fn sentence(self) -> &'static str {
        match self {
            LeftReason::RanNothing => "ran nothing before",
            LeftReason::BundleNotDeployable => "ran a bundle that may not be deployed any more",
        }
    }
}
