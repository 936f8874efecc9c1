//! An API key of an org, optionally confined to one project. The secret's hash lies in the `credentials` bucket, never here.

use crate::event::events;
use crate::{ApiKeyId, Position, Slug};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

events! {
    /// A key was made. Its secret was shown once; only a hash of it is kept, and not here.
    Created(Created) = "created" v 1,
    /// The key opens nothing any more.
    Revoked(Revoked) = "revoked" v 1,
}

/// What a key may do. A write scope does not include the read scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Scope {
    #[serde(rename = "nodes:read")]
    NodesRead,
    #[serde(rename = "nodes:write")]
    NodesWrite,
    #[serde(rename = "bundles:read")]
    BundlesRead,
    #[serde(rename = "bundles:write")]
    BundlesWrite,
    #[serde(rename = "rollouts:read")]
    RolloutsRead,
    #[serde(rename = "rollouts:write")]
    RolloutsWrite,
    #[serde(rename = "enrollments:read")]
    EnrollmentsRead,
    #[serde(rename = "enrollments:write")]
    EnrollmentsWrite,
    #[serde(rename = "services:read")]
    ServicesRead,
    #[serde(rename = "services:write")]
    ServicesWrite,
    #[serde(rename = "api_keys:admin")]
    ApiKeysAdmin,
}

impl Scope {
    pub const ALL: [Scope; 11] = [
        Scope::NodesRead,
        Scope::NodesWrite,
        Scope::BundlesRead,
        Scope::BundlesWrite,
        Scope::RolloutsRead,
        Scope::RolloutsWrite,
        Scope::EnrollmentsRead,
        Scope::EnrollmentsWrite,
        Scope::ServicesRead,
        Scope::ServicesWrite,
        Scope::ApiKeysAdmin,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Scope::NodesRead => "nodes:read",
            Scope::NodesWrite => "nodes:write",
            Scope::BundlesRead => "bundles:read",
            Scope::BundlesWrite => "bundles:write",
            Scope::RolloutsRead => "rollouts:read",
            Scope::RolloutsWrite => "rollouts:write",
            Scope::EnrollmentsRead => "enrollments:read",
            Scope::EnrollmentsWrite => "enrollments:write",
            Scope::ServicesRead => "services:read",
            Scope::ServicesWrite => "services:write",
            Scope::ApiKeysAdmin => "api_keys:admin",
        }
    }

    pub fn parse(text: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    pub name: String,
    /// Empty: full access within the org (or the project).
    pub scopes: BTreeSet<Scope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Slug>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    /// First characters of the key, for people to tell keys apart.
    pub key_prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub org: Slug,
    pub created: Created,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub position: Position,
}

impl ApiKey {
    pub fn created(org: Slug, id: ApiKeyId, fact: &Created, time: Timestamp, position: Position) -> ApiKey {
        ApiKey { id, org, created: fact.clone(), created_at: time, revoked_at: None, position }
    }

    pub fn evolve(&mut self, event: &Event, time: Timestamp, position: Position) {
        self.position = position;
        match event {
            Event::Created(_) => {}
            Event::Revoked(_) => self.revoked_at = Some(time),
        }
    }

    /// Neither revoked nor past its expiry.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.created.expires_at.is_none_or(|at| now < at)
    }

    /// No scopes at all means full access (authentication document).
    pub fn allows(&self, scope: Scope) -> bool {
        self.created.scopes.is_empty() || self.created.scopes.contains(&scope)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
