//! Nodes that come late: that joined the project, or were offline, while a rollout went on, and those that return after it has
//! completed.

use super::{Rollout, State};
use crate::fleet::Fleet;
use crate::node::{Node, Status};
use crate::{BundleId, Digest, NodeId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a rollout does with nodes that come late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LateJoiners {
    /// Nodes that join before its end are taken along, and nodes that were offline get the bundle when they return, also after
    /// its end.
    #[default]
    Join,
    /// It is for the nodes that were registered when it was created, and over when it has completed.
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
pub(super) fn is_meant(rollout: &Rollout, node: &Node) -> bool {
    let known = rollout.spec.late_joiners == LateJoiners::Join || node.registered < rollout.created;
    known && rollout.spec.target_selector.matches(node)
}

/// Nodes may still return to this rollout although it has completed.
pub fn awaits(rollout: &Rollout) -> bool {
    rollout.state == State::Completed && rollout.spec.late_joiners == LateJoiners::Join && rollout.deferred > 0
}

/// What a node that is online gets of a completed rollout that went on without it. None: it took part, it joined afterwards, or
/// something newer is desired for it.
pub fn late_joiner(rollout: &Rollout, node: &Node, fleet: &dyn Fleet) -> Option<LateAssigned> {
    let ended = rollout.ended.filter(|_| awaits(rollout))?;
    let is_for_it = node.status == Status::Online && node.registered < ended && is_meant(rollout, node);
    let took_part = || {
        let mut steps = rollout.steps.iter();
        rollout.late.contains(&node.id) || steps.any(|step| step.node_ids.contains(&node.id))
    };
    let is_newest = || fleet.desired(node.id).is_none_or(|desired| desired.position < rollout.created);
    if !is_for_it || !is_newest() || took_part() || node.active_bundle == Some(rollout.spec.bundle_id) {
        return None;
    }
    let bundle_id = rollout.spec.bundle_id;
    let digest = fleet.deployable_digest(bundle_id)?.clone();
    Some(LateAssigned { bundle_id, digest, node_ids: vec![node.id] })
}
