//! Nodes that come late: that joined the project, or were offline, while a rollout went on, and those that return after it has
//! completed.

use super::{Rollout, STEP_NODES_MAX, State};
use crate::fleet::Fleet;
use crate::node::{Node, Status};
use crate::{BundleId, Digest, NodeId, Position, RolloutId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

/// What a rollout does with nodes that come late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LateJoiners {
    /// Nodes that join before its end are taken along, and nodes that were offline get the bundle when they return, also after
    /// its end.
    #[default]
    Join,
    /// It is for the nodes that had joined when it was created, and over when it has completed.
    Ignore,
}

impl LateJoiners {
    pub(crate) fn is_join(&self) -> bool {
        *self == LateJoiners::Join
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LateAssigned {
    pub bundle_id: BundleId,
    /// SHA-256 of the archive that the nodes are to run.
    pub digest: Digest,
    pub node_ids: Vec<NodeId>,
}

/// The selector matches, and the node did not join too late.
pub fn is_meant(rollout: &Rollout, node: &Node) -> bool {
    let known = rollout.spec.late_joiners == LateJoiners::Join || node.joined < rollout.created;
    known && rollout.spec.target_selector.matches(node)
}

/// What completed rollouts of a project owe to nodes that they went on without. Made once for many nodes.
///
/// The newest completed rollout that was meant for a node decides alone. What an older one owed is settled by it, also when it owes
/// nothing itself: whoever rolled out something since does not want the older bundle back.
pub struct Owed<'a> {
    /// The newest end first.
    completed: Vec<Ended<'a>>,
    /// Under way: what these are meant for, they take along.
    holding: Vec<&'a Rollout>,
}

struct Ended<'a> {
    rollout: &'a Rollout,
    ended: Position,
    took_part: OnceCell<HashSet<NodeId>>,
}

impl<'a> Owed<'a> {
    /// `rollouts`: all of one project.
    pub fn of(rollouts: impl Iterator<Item = &'a Rollout>) -> Owed<'a> {
        let (mut completed, mut holding) = (Vec::new(), Vec::new());
        for rollout in rollouts {
            match rollout.ended.filter(|_| rollout.state == State::Completed) {
                Some(ended) => completed.push(Ended { rollout, ended, took_part: OnceCell::new() }),
                None if rollout.holds_nodes() => holding.push(rollout),
                None => {}
            }
        }
        completed.sort_unstable_by_key(|one| Reverse(one.ended));
        Owed { completed, holding }
    }

    /// The assignments that settle it for these nodes, at most one for each rollout and as large as a step.
    pub fn to<'n>(&self, nodes: impl Iterator<Item = &'n Node>, fleet: &dyn Fleet) -> Vec<(&'a Rollout, LateAssigned)> {
        let mut found: BTreeMap<RolloutId, (&'a Rollout, LateAssigned)> = BTreeMap::new();
        for node in nodes {
            let Some((rollout, digest)) = self.to_one(node, fleet) else { continue };
            let bundle_id = rollout.spec.bundle_id;
            let none = || (rollout, LateAssigned { bundle_id, digest: digest.clone(), node_ids: Vec::new() });
            let (_, assigned) = found.entry(rollout.id).or_insert_with(none);
            if assigned.node_ids.len() < STEP_NODES_MAX {
                assigned.node_ids.push(node.id);
            }
        }
        found.into_values().collect()
    }

    fn to_one<'f>(&self, node: &Node, fleet: &'f dyn Fleet) -> Option<(&'a Rollout, &'f Digest)> {
        if node.status != Status::Online {
            return None;
        }
        let desired = fleet.desired(node.id);
        let since = node.joined.max(desired.map_or(Position::START, |desired| desired.decided));
        let mut after = self.completed.iter().take_while(|one| one.ended > since);
        let newest = after.find(|one| is_meant(one.rollout, node))?;
        let rollout = newest.rollout;
        let is_settled = rollout.spec.late_joiners == LateJoiners::Ignore
            || desired.is_some_and(|desired| desired.is_of(rollout.id))
            || node.active_bundle == Some(rollout.spec.bundle_id)
            || self.holding.iter().any(|other| is_meant(other, node))
            || newest.took_part().contains(&node.id);
        if is_settled { None } else { Some((rollout, fleet.deployable_digest(rollout.spec.bundle_id)?)) }
    }
}

impl Ended<'_> {
    fn took_part(&self) -> &HashSet<NodeId> {
        let steps = self.rollout.steps.iter().flat_map(|step| &step.node_ids);
        self.took_part.get_or_init(|| steps.chain(&self.rollout.late).copied().collect())
    }
}
