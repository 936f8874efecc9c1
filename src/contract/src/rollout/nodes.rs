//! The nodes of a rollout, and of its rollback, on the wire.

use domain::rollout::{NodeReport, Rollback, RollbackProgress};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where one node of a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutNodeBody {
    pub node_id: String,
    /// Null: deleted.
    pub name: Option<String>,
    /// `pending`, `offered`, `active`, `verifying`, `failed`, `lost`, `deferred` or `gone`.
    pub state: String,
    /// Completes "the node …", where the state does not say it all.
    pub reason: Option<String>,
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// Index of its step, once it is in one.
    pub step_index: Option<u32>,
}

impl From<NodeReport> for RolloutNodeBody {
    fn from(report: NodeReport) -> RolloutNodeBody {
        RolloutNodeBody {
            node_id: report.id.to_string(),
            name: report.name.map(|name| name.to_string()),
            state: report.state.as_str().to_owned(),
            reason: report.reason,
            since: report.since,
            step_index: report.step,
        }
    }
}

/// Nodes of a rollback by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RollbackNodes {
    /// They run what they ran before.
    pub restored: u32,
    /// They have not reported it.
    pub pending: u32,
    /// They do not go back: they ran nothing before, or what they ran cannot be deployed or activated, or time was up.
    pub left: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RollbackBody {
    /// `running`, `completed`, or `partial` when some nodes do not run what they ran before.
    pub state: String,
    pub nodes: RollbackNodes,
    /// Some of the nodes that were left at its end, at most 20.
    pub left_node_ids: Vec<String>,
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    #[schemars(with = "Option<String>")]
    pub completed_at: Option<Timestamp>,
}

impl From<(&Rollback, RollbackProgress)> for RollbackBody {
    fn from((rollback, progress): (&Rollback, RollbackProgress)) -> RollbackBody {
        let RollbackProgress { restored, pending, left } = progress;
        let ended = rollback.ended.as_ref();
        let left_node_ids = ended.map(|(ended, _)| ended.node_ids.iter().map(ToString::to_string).collect());
        RollbackBody {
            state: rollback.as_str().to_owned(),
            nodes: RollbackNodes { restored, pending, left },
            left_node_ids: left_node_ids.unwrap_or_default(),
            started_at: rollback.started_at,
            completed_at: ended.map(|(_, at)| *at),
        }
    }
}
