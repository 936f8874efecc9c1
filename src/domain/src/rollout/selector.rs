//! Which nodes a rollout is for. No selector matches a node that waits for approval.

use crate::node::Node;
use crate::{Labels, NodeId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `{"type":"all"}`, `{"type":"labels","labels":{…}}` or `{"type":"node_ids","node_ids":[…]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Selector {
    All {},
    /// Every pair must match.
    Labels {
        labels: Labels,
    },
    /// Sorted and without repeats, see [`Selector::node_ids`].
    NodeIds {
        node_ids: Vec<NodeId>,
    },
}

impl Selector {
    pub fn node_ids(mut node_ids: Vec<NodeId>) -> Selector {
        node_ids.sort_unstable();
        node_ids.dedup();
        Selector::NodeIds { node_ids }
    }

    pub fn matches(&self, node: &Node) -> bool {
        let named = match self {
            Selector::All {} => true,
            Selector::Labels { labels } => node.labels.contains_all(labels),
            Selector::NodeIds { node_ids } => node_ids.binary_search(&node.id).is_ok(),
        };
        named && node.approved
    }
}
