//! Bundles on the wire.

use crate::fields::{FieldErrors, Fields};
use domain::bundle::{Bundle, Problem, State};
use domain::{BundleVersion, NodeId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most bytes that `config_source` may have; the compiler's own limit is the installation's setting.
const SOURCE_CHARS_MAX: usize = 1024 * 1024;
const REASON_CHARS_MAX: usize = 500;
const NODE_IDS_MAX: usize = 10_000;

/// `POST /api/v1/projects/{slug}/bundles`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateBundle {
    pub version: BundleVersion,
    /// The proxy's configuration, KDL.
    pub config_source: String,
}

impl CreateBundle {
    pub fn parse(body: Value) -> Result<CreateBundle, FieldErrors> {
        let mut fields = Fields::new(body);
        let version = fields.required_parsed("version");
        let config_source = fields.required_text("config_source", SOURCE_CHARS_MAX);
        fields.refuse_rest("known are version, config_source");
        let value = version.zip(config_source);
        fields.finish(value.map(|(version, config_source)| CreateBundle { version, config_source }))
    }
}

/// `POST /api/v1/projects/{slug}/bundles/{id}/revoke`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokeBundle {
    pub reason: Option<String>,
}

impl RevokeBundle {
    pub fn parse(body: Value) -> Result<RevokeBundle, FieldErrors> {
        let mut fields = Fields::new(body);
        let reason = fields.text("reason", REASON_CHARS_MAX);
        fields.refuse_rest("known is reason");
        fields.finish(Some(RevokeBundle { reason }))
    }
}

/// `POST /api/v1/projects/{slug}/bundles/{id}/assign`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssignBundle {
    /// 1 to 10,000 nodes of the project; sorted and without repeats.
    pub node_ids: Vec<NodeId>,
}

impl AssignBundle {
    pub fn parse(body: Value) -> Result<AssignBundle, FieldErrors> {
        let mut fields = Fields::new(body);
        let ids = fields.required("node_ids").and_then(|value| {
            let ids = serde_json::from_value::<Vec<String>>(value).ok();
            let ids = ids.and_then(|ids| ids.iter().map(|id| id.parse().ok()).collect::<Option<Vec<NodeId>>>());
            let ids = ids.filter(|ids| (1..=NODE_IDS_MAX).contains(&ids.len()));
            if ids.is_none() {
                fields.error("node_ids", format!("must be a list of 1 to {NODE_IDS_MAX} UUIDs of nodes"));
            }
            ids
        });
        fields.refuse_rest("known is node_ids");
        let node_ids = ids.map(|mut ids| {
            ids.sort_unstable();
            ids.dedup();
            ids
        });
        fields.finish(node_ids.map(|node_ids| AssignBundle { node_ids }))
    }
}

/// The answer to a direct assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleAssigned {
    /// How many nodes were assigned the bundle.
    pub assigned: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileBody {
    pub path: String,
    pub sha256: String,
    pub bytes: u64,
}

pub type ProblemBody = Problem;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleBody {
    pub id: String,
    /// Slug of the project.
    pub project_id: String,
    pub version: String,
    /// `compiling`, `compiled`, `failed` or `revoked`.
    pub status: String,
    /// `sha256:<hex>` over the archive, once compiled.
    pub checksum: Option<String>,
    pub size_bytes: Option<u64>,
    /// Digest of every file in the archive.
    pub manifest: Option<Vec<FileBody>>,
    /// What the compiler found: problems of a failed bundle, warnings of a compiled one.
    pub compiler_output: Vec<ProblemBody>,
    pub signed: bool,
    pub signing_key_id: Option<String>,
    pub proxy_version: Option<String>,
    pub source_bytes: u64,
    /// Always `api`.
    pub source_type: String,
    #[schemars(with = "String")]
    pub inserted_at: Timestamp,
    #[schemars(with = "String")]
    pub updated_at: Timestamp,
}

impl From<&Bundle> for BundleBody {
    fn from(bundle: &Bundle) -> BundleBody {
        let archive = bundle.archive();
        let file =
            |f: &domain::bundle::File| FileBody { path: f.path.clone(), sha256: f.sha256.to_string(), bytes: f.bytes };
        let compiler_output = match &bundle.state {
            State::Failed(failed) => failed.problems.clone(),
            State::Compiled(compiled) | State::Revoked(compiled) => compiled.warnings.clone(),
            State::Compiling => Vec::new(),
        };
        BundleBody {
            id: bundle.id.to_string(),
            project_id: bundle.project.to_string(),
            version: bundle.version.to_string(),
            status: bundle.state.as_str().to_owned(),
            checksum: archive.map(|a| format!("sha256:{}", a.digest)),
            size_bytes: archive.map(|a| a.size_bytes),
            manifest: archive.map(|a| a.files.iter().map(file).collect()),
            compiler_output,
            signed: archive.is_some(),
            signing_key_id: archive.map(|a| a.key_id.clone()),
            proxy_version: archive.map(|a| a.proxy_version.clone()),
            source_bytes: bundle.source_bytes,
            source_type: "api".to_owned(),
            inserted_at: bundle.created_at,
            updated_at: bundle.updated_at,
        }
    }
}

/// `GET …/bundles/{id}/download`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleDownload {
    pub download_url: String,
    pub checksum: String,
    pub size: u64,
}

/// `GET …/bundles/{id}/verify`: the archive was read back from the store and checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleVerification {
    pub verified: bool,
    pub signed: bool,
    pub key_id: Option<String>,
    /// What does not hold, when `verified` is false.
    pub problem: Option<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
