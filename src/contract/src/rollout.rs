//! Rollouts on the wire.

mod nodes;

pub use nodes::{RollbackBody, RollbackNodes, RolloutNodeBody};

use crate::fields::{FieldErrors, Fields};
use domain::rollout::{HealthGates, LateJoiners, RollbackProgress, Rollout, Selector, Step, Strategy};
use domain::{BundleId, Labels, NodeId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

const NODE_IDS_MAX: usize = 10_000;
const DEADLINE_S_DEFAULT: u32 = 600;
const DEADLINE_S_MAX: u64 = 7 * 24 * 3600;
const BATCH_MAX: u64 = 10_000;
const SELECTOR_ADVICE: &str =
    "must be {type: all}, {type: labels, labels: {...}}, or {type: node_ids, node_ids: [...]}";
const KNOWN: &str = "known are bundle_id, strategy, target_selector, batch_size, batch_percentage, max_unavailable, \
    progress_deadline_seconds, health_gates, late_joiners, start";

/// `POST /api/v1/projects/{slug}/rollouts`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateRollout {
    pub bundle_id: BundleId,
    /// `rolling` (default) or `all_at_once`.
    pub strategy: Strategy,
    /// Default: all nodes.
    pub target_selector: Selector,
    /// Nodes per step of a rolling rollout; default 1. Not together with `batch_percentage`.
    pub batch_size: Option<u32>,
    /// 1 to 100: nodes per step as a share of the nodes that match at creation.
    pub batch_percentage: Option<u8>,
    /// Default 0.
    pub max_unavailable: u32,
    /// Default 600.
    pub progress_deadline_seconds: u32,
    /// Default `{"heartbeat_healthy": true}`.
    pub health_gates: HealthGates,
    /// `join` (default): nodes that join or return are taken along, deferred ones also after the end; `ignore`: not.
    pub late_joiners: LateJoiners,
    /// Default true; false leaves it `pending` until it is started.
    pub start: bool,
}

impl CreateRollout {
    pub fn parse(body: Value) -> Result<CreateRollout, FieldErrors> {
        let mut fields = Fields::new(body);
        let bundle_id = fields.required_text("bundle_id", 100).and_then(|text| {
            let id = text.parse().ok();
            if id.is_none() {
                fields.error("bundle_id", "must be the UUID of a bundle");
            }
            id
        });
        let strategy = match fields.one_of("strategy", &["rolling", "all_at_once"]).as_deref() {
            Some("all_at_once") => Strategy::AllAtOnce,
            _ => Strategy::Rolling,
        };
        let target_selector = selector(&mut fields);
        let batch_size = fields.integer("batch_size", 1, BATCH_MAX).map(|n| n as u32);
        let batch_percentage = fields.integer("batch_percentage", 1, 100).map(|n| n as u8);
        if batch_percentage.is_some() && batch_size.is_some() {
            fields.error("batch_size", "cannot set both batch_size and batch_percentage");
        }
        let max_unavailable = fields.integer("max_unavailable", 0, BATCH_MAX).unwrap_or(0) as u32;
        let deadline = fields.integer("progress_deadline_seconds", 1, DEADLINE_S_MAX);
        let health_gates = health_gates(&mut fields);
        let late_joiners = match fields.one_of("late_joiners", &["join", "ignore"]).as_deref() {
            Some("ignore") => LateJoiners::Ignore,
            _ => LateJoiners::Join,
        };
        let start = fields.boolean("start").unwrap_or(true);
        fields.refuse_rest(KNOWN);
        let value = bundle_id.zip(target_selector).map(|(bundle_id, target_selector)| CreateRollout {
            bundle_id,
            strategy,
            target_selector,
            batch_size,
            batch_percentage,
            max_unavailable,
            progress_deadline_seconds: deadline.map_or(DEADLINE_S_DEFAULT, |s| s as u32),
            health_gates,
            late_joiners,
            start,
        });
        fields.finish(value)
    }
}

fn selector(fields: &mut Fields) -> Option<Selector> {
    let Some(value) = fields.take("target_selector") else {
        return Some(Selector::All {});
    };
    let selector = read_selector(value);
    if selector.is_none() {
        fields.error("target_selector", SELECTOR_ADVICE);
    }
    selector
}

fn read_selector(value: Value) -> Option<Selector> {
    let mut map = match value {
        Value::Object(map) => map,
        _ => return None,
    };
    let selector = match map.remove("type")?.as_str()? {
        "all" => Selector::All {},
        "labels" => {
            let labels: BTreeMap<String, String> = serde_json::from_value(map.remove("labels")?).ok()?;
            Selector::Labels { labels: Labels::try_from(labels).ok().filter(|labels| !labels.is_empty())? }
        }
        "node_ids" => {
            let ids: Vec<String> = serde_json::from_value(map.remove("node_ids")?).ok()?;
            let ids: Option<Vec<NodeId>> = ids.iter().map(|id| id.parse().ok()).collect();
            Selector::node_ids(ids.filter(|ids| !ids.is_empty() && ids.len() <= NODE_IDS_MAX)?)
        }
        _ => return None,
    };
    map.is_empty().then_some(selector)
}

fn health_gates(fields: &mut Fields) -> HealthGates {
    let mut gates = HealthGates { heartbeat_healthy: true };
    let Some(value) = fields.take("health_gates") else {
        return gates;
    };
    let mut inner = Fields::nested(value, "health_gates.");
    gates.heartbeat_healthy = inner.boolean("heartbeat_healthy").unwrap_or(true);
    inner.refuse_rest("known is heartbeat_healthy");
    for (field, messages) in inner.errors().0 {
        messages.into_iter().for_each(|message| fields.error(&field, message));
    }
    gates
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutBody {
    pub id: String,
    /// Slug of the project.
    pub project_id: String,
    pub bundle_id: String,
    pub target_selector: Selector,
    pub strategy: Strategy,
    pub batch_size: u32,
    pub batch_percentage: Option<u8>,
    pub max_unavailable: u32,
    pub progress_deadline_seconds: u32,
    pub health_gates: HealthGates,
    #[serde(default)]
    pub late_joiners: LateJoiners,
    /// `pending`, `running`, `paused`, `completed`, `failed` or `cancelled`.
    pub state: String,
    /// Why it is paused, failed or cancelled: `{reason, step_index, node_ids, message}`.
    pub error: Option<Value>,
    /// Once it is rolled back.
    pub rollback: Option<RollbackBody>,
    #[schemars(with = "Option<String>")]
    pub started_at: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    pub completed_at: Option<Timestamp>,
    #[schemars(with = "String")]
    pub inserted_at: Timestamp,
    #[schemars(with = "String")]
    pub updated_at: Timestamp,
}

impl RolloutBody {
    /// `rollback`: where the nodes of its rollback stand.
    pub fn of(rollout: &Rollout, rollback: Option<RollbackProgress>) -> RolloutBody {
        let spec = rollout.spec.clone();
        RolloutBody {
            id: rollout.id.to_string(),
            project_id: rollout.project.to_string(),
            bundle_id: spec.bundle_id.to_string(),
            target_selector: spec.target_selector,
            strategy: spec.strategy,
            batch_size: spec.batch_size,
            batch_percentage: spec.batch_percentage,
            max_unavailable: spec.max_unavailable,
            progress_deadline_seconds: spec.progress_deadline_s,
            health_gates: spec.health_gates,
            late_joiners: spec.late_joiners,
            state: rollout.state.as_str().to_owned(),
            error: rollout.state.cause().and_then(|cause| serde_json::to_value(cause).ok()),
            rollback: rollout.rollback.as_ref().zip(rollback).map(RollbackBody::from),
            started_at: rollout.started_at,
            completed_at: rollout.completed_at,
            inserted_at: rollout.created_at,
            updated_at: rollout.updated_at,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepBody {
    pub step_index: u32,
    /// `running` or `completed`; the rollout's own state says whether it is held.
    pub state: String,
    pub attempt: u32,
    pub node_ids: Vec<String>,
    pub deferred_node_ids: Vec<String>,
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    #[schemars(with = "Option<String>")]
    pub completed_at: Option<Timestamp>,
}

impl From<&Step> for StepBody {
    fn from(step: &Step) -> StepBody {
        let text = |ids: &[NodeId]| ids.iter().map(NodeId::to_string).collect();
        StepBody {
            step_index: step.index,
            state: if step.completed_at.is_some() { "completed" } else { "running" }.to_owned(),
            attempt: step.attempt,
            node_ids: text(&step.node_ids),
            deferred_node_ids: text(&step.deferred_node_ids),
            started_at: step.started_at,
            completed_at: step.completed_at,
        }
    }
}

/// Nodes of the rollout by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressBody {
    pub total: u32,
    pub pending: u32,
    pub active: u32,
    pub failed: u32,
    /// Offline before their step, or given up during it.
    pub deferred: u32,
}

/// `GET …/rollouts/{id}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutDetail {
    pub rollout: RolloutBody,
    pub steps: Vec<StepBody>,
    pub progress: ProgressBody,
    /// What the rollout waits for, one sentence.
    pub waiting_for: Option<String>,
    /// When it changes its mind without any fact.
    #[schemars(with = "Option<String>")]
    pub next_deadline: Option<Timestamp>,
    /// One page (`limit`, `after`) of the nodes that it is for: by name, deleted ones last.
    #[serde(default)]
    pub nodes: Vec<RolloutNodeBody>,
    #[serde(default)]
    pub nodes_total: u64,
    /// What the next page's `after` says.
    #[serde(default)]
    pub nodes_next: Option<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
