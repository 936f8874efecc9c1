//! A node's key is replaced: by the node itself, which keeps the old one until the new one has reached it, or by an operator,
//! who does not trust the old one any more.

use crate::caller::NodeIdentity;
use crate::control::Control;
use crate::execute::{Decision, Fact, Meta};
use contract::{ApiError, NodeKeyBody};
use domain::node::{self, Command};
use domain::{Actor, Event};

/// Names a key; says nothing about its secret.
pub(crate) fn new_key_id() -> String {
    format!("nk_{}", data_encoding::HEXLOWER.encode(&trust::random_bytes::<8>()))
}

impl Control {
    /// `POST /api/v1/nodes/{id}/key`. A node that gets no answer asks again with the key that it has.
    pub async fn rotate_node_key(&self, node: &NodeIdentity) -> Result<NodeKeyBody, ApiError> {
        let (key, key_id) = (trust::new_secret(), new_key_id());
        let meta = Meta::once(Actor::Node(node.id.to_string()));
        let command = Command::RotateKey { key_id: key_id.clone(), reset: false };
        let decide = |known: &node::Node| match node::decide(known, command.clone()) {
            Some(event) => {
                let fact = Fact::next(super::aggregate(known), known.position, Event::Node(event));
                Decision::Append(Box::new(fact), ())
            }
            None => Decision::Nothing(()),
        };
        let gone = super::authenticate::node_gone;
        self.commit(&meta, |state| state.nodes.get(node.id).map(decide).ok_or_else(gone)).await?;
        let until = self.replace_node_key(node.id, &key_id, trust::secret_hash(&key), true).await?;
        Ok(NodeKeyBody {
            node_id: node.id.to_string(),
            node_key: Some(key),
            key_id,
            previous_valid_until: until,
            replayed: false,
        })
    }
}
