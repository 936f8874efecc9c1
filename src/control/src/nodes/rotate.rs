//! A node's key is replaced: by the node itself, which keeps the old one until the new one has reached it, or by an operator,
//! who does not trust the old one any more.

use crate::caller::NodeIdentity;
use crate::control::Control;
use crate::execute::{Decision, Fact, Meta};
use contract::{ApiError, ErrorCode, NodeKeyBody, ReplaceKey};
use domain::{Actor, Event, node};
use views::State;

/// Names a key; says nothing about its secret.
pub(crate) fn new_key_id() -> String {
    format!("nk_{}", data_encoding::HEXLOWER.encode(&trust::random_bytes::<8>()))
}

impl Control {
    /// `POST /api/v1/nodes/{id}/key`. A node that gets no answer asks again with the key that it has.
    /// It may tell the key that it signs with, if it has told none yet.
    pub async fn rotate_node_key(&self, node: &NodeIdentity, wish: ReplaceKey) -> Result<NodeKeyBody, ApiError> {
        let (key, key_id) = (trust::new_secret(), new_key_id());
        let meta = Meta::once(Actor::Node(node.id.to_string()));
        let decide = |state: &State| {
            let known = state.nodes.get(node.id).ok_or_else(super::authenticate::node_gone)?;
            let event = node::rotate_key(known, key_id.clone(), wish.public_key.clone());
            let event = event.map_err(|e| ApiError::new(ErrorCode::Conflict, e.to_string()))?;
            let fact = Fact::next(super::aggregate(known), known.position, Event::Node(event));
            Ok(Decision::Append(Box::new(fact), ()))
        };
        self.commit(&meta, decide).await?;
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
