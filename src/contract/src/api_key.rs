//! API keys on the wire.

use crate::fields::{FieldErrors, Fields};
use domain::Slug;
use domain::api_key::{ApiKey, Scope};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

const NAME_CHARS_MAX: usize = 100;

/// `POST /api/v1/api-keys`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateApiKey {
    pub name: String,
    /// Empty or absent: full access within the org, or within the project.
    pub scopes: BTreeSet<Scope>,
    /// Slug of the project that the key is confined to.
    pub project: Option<Slug>,
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
}

impl CreateApiKey {
    pub fn parse(body: Value) -> Result<CreateApiKey, FieldErrors> {
        let mut fields = Fields::new(body);
        let name = fields.required_text("name", NAME_CHARS_MAX);
        let mut scopes = BTreeSet::new();
        for entry in fields.list("scopes", 32).unwrap_or_default() {
            match entry.as_str().and_then(Scope::parse) {
                Some(scope) => {
                    scopes.insert(scope);
                }
                None => {
                    let known: Vec<&str> = Scope::ALL.into_iter().map(Scope::as_str).collect();
                    fields.error("scopes", format!("has an unknown entry; known are: {}", known.join(", ")));
                }
            }
        }
        let project = fields.parsed("project").or_else(|| fields.parsed("project_id"));
        let expires_at = fields.time("expires_at");
        fields.refuse_rest("known are name, scopes, project, expires_at");
        let value = name.map(|name| CreateApiKey { name, scopes, project, expires_at });
        fields.finish(value)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKeyBody {
    pub id: String,
    pub name: String,
    /// The first characters of the key.
    pub key_prefix: String,
    pub scopes: BTreeSet<Scope>,
    pub project: Option<String>,
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    pub revoked_at: Option<Timestamp>,
    #[schemars(with = "String")]
    pub inserted_at: Timestamp,
}

impl From<&ApiKey> for ApiKeyBody {
    fn from(key: &ApiKey) -> ApiKeyBody {
        ApiKeyBody {
            id: key.id.to_string(),
            name: key.created.name.clone(),
            key_prefix: key.created.key_prefix.clone(),
            scopes: key.created.scopes.clone(),
            project: key.created.project.as_ref().map(Slug::to_string),
            expires_at: key.created.expires_at,
            revoked_at: key.revoked_at,
            inserted_at: key.created_at,
        }
    }
}

/// The answer to a creation: the only time that the key is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKeyCreated {
    #[serde(flatten)]
    pub api_key: ApiKeyBody,
    /// 43 base64url characters. Absent when the request is a repeat under its `Idempotency-Key`: what is shown once is not
    /// repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
