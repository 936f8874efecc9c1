//! Receipts: what a node signed of an activation, kept so that anybody can verify it from the fact alone.
//!
//! Invariant: one fact for each assignment that a node activated, in the order of the counters, and none whose signature the
//! caller has not verified. Absent: the signature itself, which is a matter of keys.

use super::{Event, Node, PublicKey};
use crate::fleet::Assigned;
use crate::{BundleId, Digest};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The last subject token of a receipt.
pub const ACTIVATION_RECEIPT: &str = "activation_receipt";

/// Orders the assignments of a node: the epoch first, then the position of the fact that assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Counter {
    /// Raised when a backup is restored.
    pub epoch: u64,
    pub position: u64,
}

/// `payload`, `signature` and `public_key` are the proof; the other fields say what the payload says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActivationReceipt {
    pub bundle_id: BundleId,
    /// SHA-256 of the archive.
    pub digest: Digest,
    /// The assignment that was activated.
    pub counter: Counter,
    /// By the node's clock.
    #[schemars(with = "String")]
    pub activated_at: Timestamp,
    /// base64url of a JSON object: `org`, `project`, `node_id`, `bundle_id`, `digest`, `counter`, `activated_at`.
    pub payload: String,
    /// base64url of the Ed25519 signature over `pilothouse.receipt.v1`, a line feed and the bytes of the JSON object.
    pub signature: String,
    pub public_key: PublicKey,
}

/// A receipt whose signature is right, and whom it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub org: String,
    pub project: String,
    pub node_id: String,
    pub receipt: ActivationReceipt,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReceiptRejection {
    #[error("the node has no such signing key")]
    Key,
    #[error("it is another node's")]
    Foreign,
    #[error("the node was not assigned this bundle under this counter")]
    NotAssigned,
    #[error("the digest is not the bundle's")]
    Digest,
}

/// Decides on a receipt; `None` when this one or a newer one is kept already. `digest` is the claimed bundle's, where it is
/// known.
pub fn keep_receipt(
    node: &Node,
    assigned: &[Assigned],
    digest: Option<&Digest>,
    claim: Claim,
) -> Result<Option<Event>, ReceiptRejection> {
    let Claim { org, project, node_id, receipt } = claim;
    if node.public_key.as_ref() != Some(&receipt.public_key) {
        return Err(ReceiptRejection::Key);
    }
    if org != node.org.as_str() || project != node.project.as_str() || node_id != node.id.to_string() {
        return Err(ReceiptRejection::Foreign);
    }
    if node.receipt >= Some(receipt.counter) {
        return Ok(None);
    }
    let fits = |assigned: &Assigned| assigned.counter() == receipt.counter && assigned.bundle == receipt.bundle_id;
    if !assigned.iter().any(fits) {
        return Err(ReceiptRejection::NotAssigned);
    }
    if digest != Some(&receipt.digest) {
        return Err(ReceiptRejection::Digest);
    }
    Ok(Some(Event::ActivationReceipt(receipt)))
}
