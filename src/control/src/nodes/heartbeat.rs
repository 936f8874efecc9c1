//! Heartbeats. The beat itself is perishable and goes to `PULSE`; what it changes is a fact, and so is a receipt that it carries.
//! All of it is stored when the node gets its answer.

use crate::caller::NodeIdentity;
use crate::control::Control;
use crate::execute::{Decision, Fact, Meta, now};
use contract::{ApiError, Heartbeat, HeartbeatAnswer};
use domain::node::{self, Command, Node};
use domain::{Actor, Aggregate, Event};
use serde_json::{Map, Value};
use views::BeatRecord;

impl Control {
    pub async fn heartbeat(&self, node: &NodeIdentity, beat: Heartbeat) -> Result<HeartbeatAnswer, ApiError> {
        let failed = beat.failed_activation();
        let command = Command::Observe { report: beat.report.clone(), failed };
        let changes = self.with_node(node.id, |known| node::decide(known, command.clone()).is_some())?;
        let record = BeatRecord {
            node: node.id,
            healthy: beat.is_healthy(),
            health: beat.health.as_ref().and_then(to_text),
            metrics: beat.metrics.as_ref().and_then(to_text),
        };
        if changes {
            let (written, observed) = tokio::join!(self.beats().write(record), self.observe(node, &command));
            written.and(observed)?;
        } else {
            self.beats().write(record).await?;
        }
        if let Some(receipt) = &beat.receipt {
            self.keep_receipt(node, receipt).await?;
        }
        Ok(HeartbeatAnswer {
            status: "ok".to_owned(),
            node_id: node.id.to_string(),
            last_seen_at: now(),
            next_heartbeat_s: self.next_heartbeat_s(),
        })
    }

    /// Stores what the report changes; decided anew when the node's facts moved on meanwhile.
    async fn observe(&self, node: &NodeIdentity, command: &Command) -> Result<(), ApiError> {
        let meta = Meta::once(Actor::Node(node.id.to_string()));
        let decide = |known: &Node| match node::decide(known, command.clone()) {
            Some(event) => {
                Decision::Append(Box::new(Fact::next(aggregate(known), known.position, Event::Node(event))), ())
            }
            None => Decision::Nothing(()),
        };
        let done =
            self.commit(&meta, |state| state.nodes.get(node.id).map(decide).ok_or_else(super::authenticate::node_gone));
        done.await.map(drop)
    }

    /// Never later than the interval, so that health proven by a beat stays fresh; spread over its last sixth.
    fn next_heartbeat_s(&self) -> u32 {
        let interval = self.settings().heartbeat_interval_s;
        let spread = interval / 6;
        interval - u32::from(trust::random_bytes::<1>()[0]) * (spread + 1) / 256
    }
}

pub(crate) fn aggregate(node: &Node) -> Aggregate {
    Aggregate::Node { org: node.org.clone(), project: node.project.clone(), id: node.id }
}

fn to_text(map: &Map<String, Value>) -> Option<String> {
    serde_json::to_string(map).ok()
}
