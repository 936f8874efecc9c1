//! Why nothing happens, on the wire: the decision made once more, with what it rests on.

use domain::rollout::{Evidence, Explanation, NodeExplanation};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is known of one node. Positions are those of the newest fact of their kind; null where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceBody {
    pub node_id: String,
    /// Null: deleted.
    pub name: Option<String>,
    /// `online`, `offline` or `unknown`.
    pub status: Option<String>,
    /// Completes "the node …".
    pub says: String,
    /// The assignment's counter.
    pub assigned_position: Option<u64>,
    /// Its last change between online and offline.
    pub status_position: Option<u64>,
    /// Its last change of what it runs.
    pub switched_position: Option<u64>,
    pub failed_position: Option<u64>,
    #[schemars(with = "Option<String>")]
    pub last_heartbeat_at: Option<Timestamp>,
}

impl From<Evidence> for EvidenceBody {
    fn from(evidence: Evidence) -> EvidenceBody {
        EvidenceBody {
            node_id: evidence.id.to_string(),
            name: evidence.name.map(|name| name.to_string()),
            status: evidence.status.map(|status| status.as_str().to_owned()),
            says: evidence.says,
            assigned_position: evidence.assigned.map(|p| p.0),
            status_position: evidence.status_changed.map(|p| p.0),
            switched_position: evidence.switched.map(|p| p.0),
            failed_position: evidence.failed.map(|p| p.0),
            last_heartbeat_at: evidence.last_beat_at,
        }
    }
}

/// `GET …/rollouts/{id}/why`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutWhy {
    pub rollout_id: String,
    pub state: String,
    /// What holds: `not_started`, `paused`, `ended`, `nodes_pending`, `nodes_verifying`, `nobody_available`, `nodes_restoring`, or
    /// `due` when there is something to do at this very moment.
    pub predicate: String,
    /// What it waits for.
    pub sentence: String,
    /// Why it is paused, failed or cancelled: `{reason, step_index, node_ids, message}`.
    pub cause: Option<Value>,
    /// Where the newest fact of the rollout stands.
    pub position: u64,
    /// How many nodes hold it up.
    pub nodes_total: u64,
    /// At most 20 of them.
    pub nodes: Vec<EvidenceBody>,
    /// When the answer changes without any fact.
    #[schemars(with = "Option<String>")]
    pub next_deadline: Option<Timestamp>,
}

impl RolloutWhy {
    pub fn of(rollout: &domain::rollout::Rollout, found: Explanation, sentence: String) -> RolloutWhy {
        RolloutWhy {
            rollout_id: rollout.id.to_string(),
            state: rollout.state.as_str().to_owned(),
            predicate: found.predicate.to_owned(),
            sentence,
            cause: found.cause.and_then(|cause| serde_json::to_value(cause).ok()),
            position: found.position.0,
            nodes_total: found.nodes as u64,
            nodes: found.evidence.into_iter().map(EvidenceBody::from).collect(),
            next_deadline: found.next_deadline,
        }
    }
}

/// `GET …/nodes/{id}/why`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeWhy {
    /// What holds: `as_desired`, `nothing_assigned`, `waits_for_approval`, `waits_for_step`, `not_reported`, `offline`, `activation_failed`,
    /// `offer_withheld` or `bundle_not_deployable`.
    pub predicate: String,
    /// The whole sentence.
    pub sentence: String,
    pub active_bundle_id: Option<String>,
    pub expected_bundle_id: Option<String>,
    /// Who says so: `rollout`, `rollback` or `operator`.
    pub assigned_by: Option<String>,
    /// The rollout that assigned it what it should run, or whose step it waits for.
    pub rollout_id: Option<String>,
    pub node: EvidenceBody,
}

impl From<NodeExplanation> for NodeWhy {
    fn from(found: NodeExplanation) -> NodeWhy {
        let desired = found.desired.as_ref();
        let node = EvidenceBody::from(found.evidence);
        NodeWhy {
            predicate: found.predicate.to_owned(),
            sentence: format!("{} {}", node.name.as_deref().unwrap_or(&node.node_id), node.says),
            active_bundle_id: found.active.map(|id| id.to_string()),
            expected_bundle_id: desired.map(|desired| desired.bundle.to_string()),
            assigned_by: desired.map(|desired| desired.by.as_str().to_owned()),
            rollout_id: found.rollout.map(|id| id.to_string()),
            node,
        }
    }
}
