//! The node API on the wire, as the registration document fixes it.

use crate::fields::{FieldErrors, Fields};
use crate::receipt::{ReceiptInput, receipt};
use domain::BundleId;
use domain::node::{ActivationFailed, Node, Registered as RegisteredFact, Report};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const TEXT_CHARS_MAX: usize = 255;
const CAPABILITIES_MAX: usize = 64;
const METADATA_BYTES_MAX: usize = 8 * 1024;
const REASON_CHARS_MAX: usize = 1000;
/// The most JSON bytes that `health` and `metrics` of a heartbeat may have, each.
pub const HEALTH_BYTES_MAX: usize = 8 * 1024;

/// `POST /api/v1/projects/{slug}/nodes/register`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Register {
    #[serde(flatten)]
    pub node: RegisteredFact,
}

impl Register {
    pub fn parse(body: Value) -> Result<Register, FieldErrors> {
        let mut fields = Fields::new(body);
        let name = fields.required_parsed("name");
        let labels = fields.labels("labels");
        let version = fields.text("version", TEXT_CHARS_MAX);
        let ip = ip(&mut fields);
        let hostname = fields.text("hostname", TEXT_CHARS_MAX);
        let capabilities = capabilities(&mut fields);
        let metadata = fields.object("metadata", METADATA_BYTES_MAX).unwrap_or_default();
        let public_key = fields.parsed("public_key");
        let node = name.map(|name| RegisteredFact {
            name,
            labels,
            version,
            ip,
            hostname,
            capabilities,
            metadata,
            join_token_id: None,
            approval_required: false,
            public_key,
        });
        fields.finish(node.map(|node| Register { node }))
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    pub node_id: String,
    /// 43 base64url characters, shown once. Absent when the request is a repeat under its `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_key: Option<String>,
    pub poll_interval_s: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// Slug of the org, which every assignment for this node names.
    #[serde(default)]
    pub org: String,
    /// Slug of the project.
    #[serde(default)]
    pub project: String,
    /// The keys that sign the org's bundles and assignments: what the node pins.
    #[serde(default)]
    pub bundle_keys: Vec<PublicKeyBody>,
}

/// A node's new key: the only time that it is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeKeyBody {
    pub node_id: String,
    /// 43 base64url characters. Absent when the request is a repeat under its `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_key: Option<String>,
    /// Names the key; says nothing about its secret.
    pub key_id: String,
    /// How long the old key works at most; it ends when the new one is used. Absent: it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub previous_valid_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// A key that a node pins at registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublicKeyBody {
    pub key_id: String,
    /// Ed25519, 43 base64url characters.
    pub public_key: String,
}

/// What became of an activation, in a heartbeat of a node that can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Activation {
    pub bundle_id: BundleId,
    /// `failed`; a success is told by `active_bundle_id`.
    pub status: String,
    /// Why, at most 1,000 characters.
    pub error: Option<String>,
}

/// `POST /api/v1/nodes/{id}/heartbeat`. Every field is optional; what is omitted stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    #[serde(flatten)]
    pub report: Report,
    pub health: Option<Map<String, Value>>,
    pub metrics: Option<Map<String, Value>>,
    pub activation: Option<Activation>,
    pub receipt: Option<ReceiptInput>,
}

impl Heartbeat {
    pub fn parse(body: Value) -> Result<Heartbeat, FieldErrors> {
        let mut fields = Fields::new(body);
        let report = Report {
            active_bundle_id: bundle_id(&mut fields, "active_bundle_id"),
            staged_bundle_id: bundle_id(&mut fields, "staged_bundle_id"),
            version: fields.text("version", TEXT_CHARS_MAX),
            ip: ip(&mut fields),
            hostname: fields.text("hostname", TEXT_CHARS_MAX),
            metadata: fields.object("metadata", METADATA_BYTES_MAX),
        };
        let health = fields.object("health", HEALTH_BYTES_MAX);
        let metrics = fields.object("metrics", HEALTH_BYTES_MAX);
        let activation = activation(&mut fields);
        let receipt = receipt(&mut fields);
        fields.finish(Some(Heartbeat { report, health, metrics, activation, receipt }))
    }

    pub fn failed_activation(&self) -> Option<ActivationFailed> {
        let activation = self.activation.as_ref()?;
        let reason = activation.error.clone().unwrap_or_else(|| "the node gave no reason".to_owned());
        Some(ActivationFailed { bundle_id: activation.bundle_id, reason })
    }

    /// `health.status` is absent or `healthy`.
    pub fn is_healthy(&self) -> bool {
        match self.health.as_ref().and_then(|health| health.get("status")) {
            None => true,
            Some(status) => status == "healthy",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatAnswer {
    /// Always `ok`.
    pub status: String,
    pub node_id: String,
    #[schemars(with = "String")]
    pub last_seen_at: Timestamp,
    /// When to beat again, spread by jitter.
    pub next_heartbeat_s: u32,
}

/// The answer of `bundles/latest` when there is nothing to do: exactly these two fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoUpdate {
    pub no_update: bool,
    pub poll_after_s: u32,
}

/// A bundle for this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    pub bundle_id: String,
    pub version: String,
    /// `sha256:<hex>` over the archive.
    pub checksum: String,
    pub size_bytes: u64,
    /// Absolute, signed, expiring; supports range requests.
    pub download_url: String,
    pub poll_after_s: u32,
    /// Ed25519 over the archive's bytes with the org's bundle key, base64url without padding.
    pub signature: String,
    pub key_id: String,
    /// The signed assignment: payload, key id, signature. Its counter only grows.
    pub assignment: Value,
}

/// Either of the two answers of `GET /api/v1/nodes/{id}/bundles/latest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LatestBundle {
    Offer(Box<Offer>),
    NoUpdate(NoUpdate),
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenAnswer {
    pub token: String,
    /// Always `Bearer`.
    pub token_type: String,
    #[schemars(with = "String")]
    pub expires_at: Timestamp,
    pub expires_in: u32,
}

/// A node as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeBody {
    pub id: String,
    pub name: String,
    /// `online`, `offline` or `unknown`.
    pub status: String,
    /// False while an operator has not approved it: it beats, and gets no work.
    #[serde(default = "yes")]
    pub approved: bool,
    /// What it registered with.
    #[serde(default)]
    pub join_token_id: Option<String>,
    /// The nkey that it signs with.
    #[serde(default)]
    pub public_key: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub capabilities: Vec<String>,
    pub version: Option<String>,
    pub ip: Option<String>,
    pub hostname: Option<String>,
    pub metadata: Map<String, Value>,
    pub active_bundle_id: Option<String>,
    pub staged_bundle_id: Option<String>,
    /// What the newest assignment says it should run.
    pub expected_bundle_id: Option<String>,
    /// Why the newest activation failed, until one succeeds.
    pub activation_error: Option<String>,
    /// The newest heartbeat's.
    pub health: Option<Map<String, Value>>,
    pub metrics: Option<Map<String, Value>>,
    #[schemars(with = "Option<String>")]
    pub last_seen_at: Option<Timestamp>,
    #[schemars(with = "String")]
    pub registered_at: Timestamp,
    #[schemars(with = "String")]
    pub inserted_at: Timestamp,
}

impl NodeBody {
    /// The part that the node's own facts tell; presence and assignment are the caller's to add.
    pub fn of(node: &Node) -> NodeBody {
        NodeBody {
            id: node.id.to_string(),
            name: node.name.to_string(),
            status: node.status.as_str().to_owned(),
            approved: node.approved,
            join_token_id: node.join_token.map(|id| id.to_string()),
            public_key: node.public_key.as_ref().map(|key| key.to_string()),
            labels: node.labels.as_map().clone(),
            capabilities: node.capabilities.clone(),
            version: node.version.clone(),
            ip: node.ip.clone(),
            hostname: node.hostname.clone(),
            metadata: node.metadata.clone(),
            active_bundle_id: node.active_bundle.map(|id| id.to_string()),
            staged_bundle_id: node.staged_bundle.map(|id| id.to_string()),
            expected_bundle_id: None,
            activation_error: node.failure.as_ref().map(|failure| failure.reason.clone()),
            health: None,
            metrics: None,
            last_seen_at: node.last_seen_at,
            registered_at: node.registered_at,
            inserted_at: node.registered_at,
        }
    }
}

/// `GET /api/v1/projects/{slug}/nodes/stats`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeStats {
    pub total: u64,
    pub online: u64,
    pub offline: u64,
    pub unknown: u64,
    pub by_status: BTreeMap<String, u64>,
}

/// What an answer of a control plane says that knows of no approval.
fn yes() -> bool {
    true
}

fn ip(fields: &mut Fields) -> Option<String> {
    let text = fields.text("ip", TEXT_CHARS_MAX)?;
    match text.parse::<std::net::IpAddr>() {
        Ok(ip) => Some(ip.to_string()),
        Err(_) => {
            fields.error("ip", "must be an IPv4 or IPv6 address");
            None
        }
    }
}

fn capabilities(fields: &mut Fields) -> Vec<String> {
    let mut known = Vec::new();
    for entry in fields.list("capabilities", CAPABILITIES_MAX).unwrap_or_default() {
        match entry {
            Value::String(text) if text.chars().count() <= TEXT_CHARS_MAX && !text.contains('\0') => known.push(text),
            _ => {
                fields.error("capabilities", "must be a list of short strings");
                break;
            }
        }
    }
    known
}

fn bundle_id(fields: &mut Fields, field: &str) -> Option<BundleId> {
    let text = fields.text(field, TEXT_CHARS_MAX)?;
    let id = text.parse().ok();
    if id.is_none() {
        fields.error(field, "must be the UUID of a bundle");
    }
    id
}

fn activation(fields: &mut Fields) -> Option<Activation> {
    let mut inner = Fields::nested(fields.take("activation")?, "activation.");
    let status = inner.one_of("status", &["failed"]);
    let error = inner.text("error", REASON_CHARS_MAX);
    let id = bundle_id(&mut inner, "bundle_id");
    if id.is_none() {
        inner.error("bundle_id", "is required");
    }
    let activation = id.zip(status).map(|(bundle_id, status)| Activation { bundle_id, status, error });
    fields.take_errors(inner);
    activation
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_documents_registration_is_accepted() {
        let body = json!({"name": "proxy-us-east-1", "labels": {"env": "production"}, "version": "1.0.0",
            "ip": "10.0.1.50", "hostname": "proxy-us-east-1.internal"});
        let register = Register::parse(body).unwrap();
        assert_eq!(register.node.name.as_str(), "proxy-us-east-1");
        assert_eq!(register.node.ip.as_deref(), Some("10.0.1.50"));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let errors = Register::parse(json!({"name": "-x", "labels": {"a": 1}, "ip": "x", "capabilities": [1],
            "public_key": "U"}));
        let fields: Vec<String> = errors.unwrap_err().0.into_keys().collect();
        assert_eq!(fields, ["capabilities", "ip", "labels", "name", "public_key"]);
        let errors =
            Heartbeat::parse(json!({"active_bundle_id": "bundle-uuid-if-running", "health": [], "activation": {}}));
        let fields: Vec<String> = errors.unwrap_err().0.into_keys().collect();
        assert_eq!(fields, ["activation.bundle_id", "active_bundle_id", "health"]);
    }
}
