//! The key of the node that an approval made the host. It is derived from the enrollment, so that a repeat of the answer that
//! carries it is the same answer and nothing secret is kept for it; a node that has replaced its key since is not given it.

use crate::control::Control;
use crate::credentials::KeyOwner;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use contract::{ApiError, ErrorCode, Registered};
use domain::enrollment::Enrollment;
use domain::{EnrollmentId, NodeId};
use sha2::{Digest, Sha256};

/// Names the key that a node gets when its host is approved anew.
pub(crate) fn approved_key_id(id: &EnrollmentId) -> String {
    format!("nk_{}", data_encoding::HEXLOWER.encode(&Sha256::digest(id.as_str())[..8]))
}

impl Control {
    fn node_key(&self, id: &EnrollmentId) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.master_key().derive(&format!("node-key.v1/{id}")))
    }

    /// Stores the key's hash before the fact after which the host gets it.
    pub(super) async fn prepare_node_key(&self, enrollment: &Enrollment) -> Result<(), ApiError> {
        let Some((_, node)) = &enrollment.node else { return Ok(()) };
        let (key, key_id) = (self.node_key(&enrollment.id), approved_key_id(&enrollment.id));
        if self.owner_of_node_key(*node, &key).await? == KeyOwner::Wanted {
            return Ok(());
        }
        let hash = trust::secret_hash(&key);
        match self.node_key_id(*node) {
            // It is gone, or has a key of its own by now.
            None => Ok(()),
            Some(None) if self.has_node_key(*node).await? => Ok(()),
            Some(None) => self.keep_node_key(*node, hash).await,
            Some(Some(current)) if current == key_id => {
                match self.replace_node_key(*node, &key_id, hash, false).await {
                    // The node was approved and never got a key.
                    Err(e) if e.code == ErrorCode::NotFound => self.keep_named_node_key(*node, hash, &key_id).await,
                    replaced => replaced.map(drop),
                }
            }
            Some(Some(_)) => Ok(()),
        }
    }

    /// None: there is no such node. Otherwise what its facts say of its key.
    fn node_key_id(&self, id: NodeId) -> Option<Option<String>> {
        self.views().read().nodes.get(id).map(|node| node.key_id.clone())
    }

    /// What the host needs to speak as the node, while the derived key is the node's.
    pub(super) async fn node_of(&self, enrollment: &Enrollment) -> Result<Option<Registered>, ApiError> {
        let Some((project, node)) = &enrollment.node else { return Ok(None) };
        let key = self.node_key(&enrollment.id);
        if self.owner_of_node_key(*node, &key).await? != KeyOwner::Wanted {
            return Ok(None);
        }
        let org = self.views().read().nodes.get(*node).map(|node| node.org.clone());
        Ok(org.map(|org| self.registered(&org, project, &node.to_string(), Some(key))))
    }
}
