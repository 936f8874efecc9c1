//! Receipts of activations on the wire: as a node tells one, and as operators read what was kept.

use crate::fields::{FieldErrors, Fields};
use domain::node::{ActivationReceipt, PublicKey};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const PAYLOAD_CHARS_MAX: usize = 4 * 1024;
const TEXT_CHARS_MAX: usize = 255;

/// A receipt in a heartbeat. Whether it is genuine is judged apart from the heartbeat, which counts in any case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptInput {
    /// base64url of a JSON object: `org`, `project`, `node_id`, `bundle_id`, `digest`, `counter`, `activated_at`.
    pub payload: String,
    /// base64url of the Ed25519 signature over `pilothouse.receipt.v1`, a line feed and the bytes of the JSON object.
    pub signature: String,
    /// The nkey that the node registered.
    pub public_key: String,
}

/// A receipt that was kept. `payload`, `signature` and `public_key` are the proof; the rest says what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptBody {
    pub node_id: String,
    /// Where the fact stands that keeps it.
    pub position: u64,
    #[schemars(with = "String")]
    pub received_at: Timestamp,
    #[serde(flatten)]
    pub receipt: ActivationReceipt,
}

/// `POST /api/v1/nodes/{id}/key`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplaceKey {
    /// The nkey that the node signs with, where it has told none yet.
    pub public_key: Option<PublicKey>,
}

impl ReplaceKey {
    pub fn parse(body: Value) -> Result<ReplaceKey, FieldErrors> {
        let mut fields = Fields::new(body);
        let public_key = fields.parsed("public_key");
        fields.finish(Some(ReplaceKey { public_key }))
    }
}

/// Only the shape.
pub(crate) fn receipt(fields: &mut Fields) -> Option<ReceiptInput> {
    let mut inner = Fields::nested(fields.take("receipt")?, "receipt.");
    let payload = inner.required_text("payload", PAYLOAD_CHARS_MAX);
    let signature = inner.required_text("signature", TEXT_CHARS_MAX);
    let public_key = inner.required_text("public_key", TEXT_CHARS_MAX);
    fields.take_errors(inner);
    Some(ReceiptInput { payload: payload?, signature: signature?, public_key: public_key? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::node::Heartbeat;
    use serde_json::json;

    #[test]
    fn a_heartbeat_carries_a_receipt_of_any_content() {
        let receipt = json!({"payload": "p", "signature": "s", "public_key": "U"});
        let beat = Heartbeat::parse(json!({"receipt": receipt, "version": "1"})).unwrap();
        assert_eq!(json!(beat.receipt.unwrap()), receipt);
        assert_eq!(Heartbeat::parse(json!({"receipt": null})).unwrap().receipt, None);
    }

    #[test]
    fn a_receipt_without_its_shape_names_what_is_wrong() {
        let fields = |receipt: Value| {
            let errors = Heartbeat::parse(json!({ "receipt": receipt })).unwrap_err();
            errors.0.into_keys().collect::<Vec<String>>()
        };
        let all = ["receipt.payload", "receipt.public_key", "receipt.signature"];
        assert_eq!(fields(json!({})), all);
        assert_eq!(fields(json!("x")), [&["receipt"][..], &all].concat());
        let long = "x".repeat(PAYLOAD_CHARS_MAX + 1);
        assert_eq!(
            fields(json!({"payload": long, "signature": 1, "public_key": "U"})),
            ["receipt.payload", "receipt.signature"]
        );
    }

    #[test]
    fn a_signing_key_must_be_one() {
        assert_eq!(ReplaceKey::parse(json!({})).unwrap(), ReplaceKey::default());
        let wrong = ReplaceKey::parse(json!({"public_key": "U"})).unwrap_err();
        assert_eq!(wrong.0.into_keys().collect::<Vec<_>>(), ["public_key"]);
    }
}
