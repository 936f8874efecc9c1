//! Who asks. Built from the connection (API key, node credential, NATS user), never from a payload.

use crate::control::Control;
use crate::execute::now;
use contract::{Access, ApiError, ErrorCode};
use domain::api_key::Scope;
use domain::{Actor, NodeId, Slug};
use std::collections::BTreeSet;

/// What an operator or an API key may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grants {
    Everything,
    Scopes(BTreeSet<Scope>),
}

/// An operator or API key that has proven itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub actor: Actor,
    pub org: Slug,
    /// The only project that the caller may see, if it is confined to one.
    pub project: Option<Slug>,
    pub grants: Grants,
}

/// A node that has proven itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    pub id: NodeId,
    pub org: Slug,
    pub project: Slug,
}

/// What a node shows: exactly one of the two.
#[derive(Clone, Copy)]
pub enum NodeCredential<'a> {
    /// `X-Zentinel-Node-Key`
    Key(&'a str),
    /// `Authorization: Bearer`
    Token(&'a str),
}

impl Caller {
    pub fn allows(&self, scope: Scope) -> bool {
        match &self.grants {
            Grants::Everything => true,
            Grants::Scopes(scopes) => scopes.contains(&scope),
        }
    }

    /// Refuses what the route table does not allow this caller.
    pub(crate) fn check(&self, access: Access) -> Result<(), ApiError> {
        let required = match access {
            Access::Scope(scope) if !self.allows(scope) => scope.as_str(),
            Access::FullAccess if self.grants != Grants::Everything || self.project.is_some() => "full access",
            _ => return Ok(()),
        };
        Err(ApiError::new(ErrorCode::InsufficientScope, format!("Insufficient scope. Required: {required}")))
    }

    /// Whether the caller may know of the project at all.
    pub(crate) fn sees(&self, org: &Slug, project: &Slug) -> bool {
        self.org == *org && self.project.as_ref().is_none_or(|only| only == project)
    }
}

impl Control {
    /// Who an API key belongs to, while it is neither revoked nor expired.
    pub async fn authenticate_api_key(&self, key: &str) -> Result<Caller, ApiError> {
        let refused = || ApiError::new(ErrorCode::InvalidCredential, "Invalid or expired API key");
        let id = self.owner_of_api_key(key).await?.ok_or_else(refused)?;
        if self.views().read().orgs.api_key(id).is_none() {
            self.catch_up().await?;
        }
        let state = self.views().read();
        let key = state.orgs.api_key(id).filter(|key| key.is_live(now())).ok_or_else(refused)?;
        let scopes = key.created.scopes.clone();
        Ok(Caller {
            actor: Actor::ApiKey(id.to_string()),
            org: key.org.clone(),
            project: key.created.project.clone(),
            grants: if scopes.is_empty() { Grants::Everything } else { Grants::Scopes(scopes) },
        })
    }
}
