//! Why nothing happens: the engine's decision made once more, with what it looked at and where in the journal that stands.

use super::nodes::unproven;
use super::{Blocker, Cause, Limits, NodeProgress, Rollout, evaluate, node_progress};
use crate::fleet::{Assigner, Desired, Fleet};
use crate::node::{Node, Status};
use crate::{BundleId, NodeId, NodeName, Position, RolloutId};
use jiff::Timestamp;

/// How many nodes an explanation goes into.
pub const EVIDENCE_NODES_MAX: usize = 20;

/// What is known of one node; positions are those of the newest fact of their kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub id: NodeId,
    /// None: deleted.
    pub name: Option<NodeName>,
    pub status: Option<Status>,
    /// Completes "the node …".
    pub says: String,
    /// The assignment's counter.
    pub assigned: Option<Position>,
    /// Its last change between online and offline.
    pub status_changed: Option<Position>,
    /// Its last change of what it runs.
    pub switched: Option<Position>,
    pub failed: Option<Position>,
    pub last_beat_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Stable, snake_case: what holds. `due` when there is something to do at this very moment.
    pub predicate: &'static str,
    pub blocker: Option<Blocker>,
    /// Why it is paused, or ended as it did.
    pub cause: Option<Cause>,
    /// The newest fact of the rollout.
    pub position: Position,
    /// How many nodes hold it up.
    pub nodes: usize,
    /// Of at most 20 of them.
    pub evidence: Vec<Evidence>,
    pub next_deadline: Option<Timestamp>,
}

impl Blocker {
    /// Stable, snake_case.
    pub fn name(&self) -> &'static str {
        match self {
            Blocker::NotStarted => "not_started",
            Blocker::Paused => "paused",
            Blocker::Ended => "ended",
            Blocker::NodesPending { .. } => "nodes_pending",
            Blocker::NodesVerifying { .. } => "nodes_verifying",
            Blocker::NobodyAvailable => "nobody_available",
            Blocker::NodesRestoring { .. } => "nodes_restoring",
        }
    }
}

/// Asks the engine again, and says what its answer rests on.
pub fn explain(rollout: &Rollout, fleet: &dyn Fleet, limits: Limits, now: Timestamp) -> Explanation {
    let verdict = evaluate(rollout, fleet, limits, now);
    let cause = rollout.state.cause().cloned();
    let node_ids: Vec<NodeId> = match &verdict.blocker {
        Some(
            Blocker::NodesPending { node_ids, .. }
            | Blocker::NodesVerifying { node_ids, .. }
            | Blocker::NodesRestoring { node_ids },
        ) => node_ids.clone(),
        Some(Blocker::NobodyAvailable) => super::deferred(rollout, fleet).map(|node| node.id).collect(),
        Some(Blocker::Paused | Blocker::Ended) => cause.as_ref().map(|c| c.node_ids.clone()).unwrap_or_default(),
        Some(Blocker::NotStarted) | None => Vec::new(),
    };
    let named = node_ids.iter().take(EVIDENCE_NODES_MAX);
    Explanation {
        predicate: verdict.blocker.as_ref().map_or("due", Blocker::name),
        evidence: named.map(|id| evidence(*id, says(rollout, *id, fleet, limits, now), fleet)).collect(),
        blocker: verdict.blocker,
        cause,
        position: rollout.position,
        nodes: node_ids.len(),
        next_deadline: verdict.next_deadline,
    }
}

fn evidence(id: NodeId, says: String, fleet: &dyn Fleet) -> Evidence {
    let node = fleet.node(id);
    Evidence {
        id,
        name: node.map(|node| node.name.clone()),
        status: node.map(|node| node.status),
        says,
        assigned: fleet.desired(id).map(|desired| desired.position),
        status_changed: node.map(|node| node.status_position),
        switched: node.and_then(|node| node.active_since).map(|(_, position)| position),
        failed: node.and_then(|node| node.failure.as_ref()).map(|failure| failure.position),
        last_beat_at: fleet.beat(id).map(|beat| beat.at),
    }
}

fn says(rollout: &Rollout, id: NodeId, fleet: &dyn Fleet, limits: Limits, now: Timestamp) -> String {
    let Some(node) = fleet.node(id) else {
        return "was deleted".to_owned();
    };
    let in_step = rollout.steps.iter().any(|step| step.node_ids.contains(&id));
    if !in_step && node.status == Status::Offline {
        return "is offline".to_owned();
    }
    match node_progress(rollout, id, fleet, limits, now) {
        NodeProgress::Done => "runs the bundle and is healthy".to_owned(),
        NodeProgress::Verifying => unproven(id, fleet, limits, now).to_owned(),
        NodeProgress::Pending => format!("{} and has not reported the bundle", runs(node)),
        NodeProgress::Failed(reason) => format!("could not activate the bundle: {reason}"),
        NodeProgress::Lost { .. } => "is offline".to_owned(),
        NodeProgress::Gone => match fleet.desired(id) {
            Some(desired) if desired.by == Assigner::Rollback(rollout.id) => {
                format!("{} and should go back to bundle {}", runs(node), desired.bundle)
            }
            Some(desired) => format!("is to run bundle {} for another reason", desired.bundle),
            None => "has no assignment any more".to_owned(),
        },
    }
}

fn runs(node: &Node) -> String {
    node.active_bundle.map_or_else(|| "runs nothing".to_owned(), |bundle| format!("runs bundle {bundle}"))
}

/// Why a node runs what it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeExplanation {
    /// Stable, snake_case.
    pub predicate: &'static str,
    pub desired: Option<Desired>,
    pub active: Option<BundleId>,
    /// The rollout that assigned it what it should run, or that it waits for.
    pub rollout: Option<RolloutId>,
    pub evidence: Evidence,
}

/// `live`: the rollouts of the project that are under way. None: there is no such node.
pub fn explain_node<'a>(
    id: NodeId,
    fleet: &dyn Fleet,
    live: impl Iterator<Item = &'a Rollout>,
) -> Option<NodeExplanation> {
    let node = fleet.node(id)?;
    let desired = fleet.desired(id);
    let live: Vec<&Rollout> = live.collect();
    let of = |rollout: &&&Rollout| desired.is_some_and(|desired| desired.is_of(rollout.id));
    let assigner = live.iter().find(of).copied();
    let had_its_step = |rollout: &Rollout| rollout.steps.iter().any(|step| step.node_ids.contains(&id));
    let meant = |rollout: &&&Rollout| rollout.holds_nodes() && super::is_meant(rollout, node) && !had_its_step(rollout);
    let waits_for = live.iter().filter(|_| assigner.is_none()).find(meant).copied();
    let (predicate, says) = predicate(node, desired, assigner, waits_for, fleet);
    let rollout = match desired.map(|desired| desired.by) {
        _ if waits_for.is_some() => waits_for.map(|rollout| rollout.id),
        Some(Assigner::Rollout(id) | Assigner::Rollback(id)) => Some(id),
        Some(Assigner::Operator) | None => None,
    };
    let (desired, active) = (desired.cloned(), node.active_bundle);
    Some(NodeExplanation { predicate, desired, active, rollout, evidence: evidence(id, says, fleet) })
}

fn predicate(
    node: &Node,
    desired: Option<&Desired>,
    assigner: Option<&Rollout>,
    waits_for: Option<&Rollout>,
    fleet: &dyn Fleet,
) -> (&'static str, String) {
    if !node.approved {
        return ("waits_for_approval", "gets no work before an operator approves it".to_owned());
    }
    if node.status == Status::Offline {
        return ("offline", "is offline; it is offered what it should run when it returns".to_owned());
    }
    if let Some(rollout) = waits_for {
        let (id, state) = (rollout.id, rollout.state.as_str());
        return ("waits_for_step", format!("waits for its step of rollout {id}, which is {state}"));
    }
    let Some(desired) = desired else {
        return ("nothing_assigned", "has nothing assigned: no rollout and no direct assignment was for it".to_owned());
    };
    let bundle = desired.bundle;
    if let Some(failure) = node.failure.as_ref().filter(|f| f.bundle == bundle && f.position > desired.position) {
        return ("activation_failed", format!("could not activate bundle {bundle}: {}", failure.reason));
    }
    if node.active_bundle == Some(bundle) {
        return ("as_desired", format!("runs bundle {bundle}, as it should"));
    }
    if let Some(rollout) = assigner.filter(|rollout| rollout.withholds_offers()) {
        return ("offer_withheld", format!("gets no offer while rollout {} is {}", rollout.id, rollout.state.as_str()));
    }
    if fleet.deployable_digest(bundle).is_none() {
        return ("bundle_not_deployable", format!("should run bundle {bundle}, which may not be deployed any more"));
    }
    ("not_reported", format!("is offered bundle {bundle} and has not reported it"))
}
