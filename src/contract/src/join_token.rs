//! Join tokens on the wire.

use crate::fields::{FieldErrors, Fields};
use domain::Labels;
use domain::join_token::JoinToken;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

const NAME_CHARS_MAX: usize = 100;
const USES_MAX: u64 = 1_000_000;

/// `POST /api/v1/projects/{slug}/join-tokens`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateJoinToken {
    pub name: String,
    /// Stamped over those that a node gives itself.
    pub labels: Labels,
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    /// How many nodes may register with it; absent: any number.
    pub uses_max: Option<u32>,
    /// Whether an operator must approve each node before it gets work.
    pub approval: bool,
}

impl CreateJoinToken {
    pub fn parse(body: Value) -> Result<CreateJoinToken, FieldErrors> {
        let mut fields = Fields::new(body);
        let name = fields.required_text("name", NAME_CHARS_MAX);
        let labels = fields.labels("labels");
        let expires_at = fields.time("expires_at");
        let uses_max = fields.integer("uses_max", 1, USES_MAX).and_then(|uses| u32::try_from(uses).ok());
        let approval = fields.boolean("approval").unwrap_or(false);
        fields.refuse_rest("known are name, labels, expires_at, uses_max, approval");
        let value = name.map(|name| CreateJoinToken { name, labels, expires_at, uses_max, approval });
        fields.finish(value)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinTokenBody {
    pub id: String,
    pub name: String,
    /// Slug of the project.
    pub project: String,
    /// The first characters of the token.
    pub token_prefix: String,
    pub labels: BTreeMap<String, String>,
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    pub uses_max: Option<u32>,
    /// Registrations so far, those of nodes that were deleted since included.
    pub uses: u32,
    pub approval: bool,
    #[schemars(with = "Option<String>")]
    pub last_used_at: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    pub revoked_at: Option<Timestamp>,
    #[schemars(with = "String")]
    pub inserted_at: Timestamp,
}

impl From<&JoinToken> for JoinTokenBody {
    fn from(token: &JoinToken) -> JoinTokenBody {
        let created = &token.created;
        JoinTokenBody {
            id: token.id.to_string(),
            name: created.name.clone(),
            project: token.project.to_string(),
            token_prefix: created.token_prefix.clone(),
            labels: created.labels.as_map().clone(),
            expires_at: created.expires_at,
            uses_max: created.uses_max,
            uses: token.uses,
            approval: created.approval,
            last_used_at: token.last_used_at,
            revoked_at: token.revoked_at,
            inserted_at: token.created_at,
        }
    }
}

/// The answer to a creation: the only time that the token is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinTokenCreated {
    #[serde(flatten)]
    pub join_token: JoinTokenBody,
    /// `pjt_` and 43 base64url characters. Absent when the request is a repeat under its `Idempotency-Key`: what is shown
    /// once is not repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_token_needs_a_name_only() {
        let bare = CreateJoinToken {
            name: "rack 7".into(),
            labels: Labels::default(),
            expires_at: None,
            uses_max: None,
            approval: false,
        };
        assert_eq!(CreateJoinToken::parse(json!({"name": "rack 7"})), Ok(bare));
        let full = json!({"name": "rack 7", "labels": {"env": "production"}, "expires_at": "2027-01-01T00:00:00Z",
            "uses_max": 40, "approval": true});
        let parsed = CreateJoinToken::parse(full).unwrap();
        assert_eq!((parsed.uses_max, parsed.approval, parsed.labels.as_map().len()), (Some(40), true, 1));
    }

    #[test]
    fn every_refusal_names_its_field() {
        for (body, field) in [
            (json!({}), "name"),
            (json!({"name": "x", "labels": {"": "x"}}), "labels"),
            (json!({"name": "x", "expires_at": "tomorrow"}), "expires_at"),
            (json!({"name": "x", "uses_max": 0}), "uses_max"),
            (json!({"name": "x", "uses_max": 1_000_001}), "uses_max"),
            (json!({"name": "x", "approval": "yes"}), "approval"),
            (json!({"name": "x", "token": "mine"}), "token"),
        ] {
            let errors = CreateJoinToken::parse(body.clone()).unwrap_err();
            assert_eq!(errors.0.keys().collect::<Vec<_>>(), [field], "{body}");
        }
    }
}
