//! A join token of a project: who shows it may register nodes there. Its secret's hash lies in the `credentials` bucket, never
//! here. Each use is a fact of the token, stored together with the registration that it let through, so that no race and no
//! number of replicas counts one twice or misses one.

use crate::event::events;
use crate::{JoinTokenId, Labels, NodeId, Position, Slug};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

events! {
    /// A join token was made. Its secret was shown once; only a hash of it is kept, and not here.
    Created(Created) = "created" v 1,
    /// A node registered with the token; stored in one batch with `node.registered`.
    Used(Used) = "used" v 1,
    /// The token opens nothing any more; nodes that joined with it stay.
    Revoked(Revoked) = "revoked" v 1,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    pub name: String,
    /// Stamped over those that a node gives itself.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    /// How many nodes may register with it; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_max: Option<u32>,
    /// Whether an operator must approve each node before it gets work.
    pub approval: bool,
    /// First characters of the secret, for people to tell tokens apart.
    pub token_prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Used {
    pub node_id: NodeId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    pub id: JoinTokenId,
    pub org: Slug,
    pub project: Slug,
    pub created: Created,
    pub created_at: Timestamp,
    /// Registrations so far, those of nodes that were deleted since included.
    pub uses: u32,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub position: Position,
}

/// Why a token opens nothing. Whoever shows one is not told which.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    #[error("is revoked")]
    Revoked,
    #[error("is expired")]
    Expired,
    #[error("is used up")]
    UsedUp,
}

/// Decides whether a node may register with the token now.
pub fn admit(token: &JoinToken, node_id: NodeId, now: Timestamp) -> Result<Event, Rejection> {
    match token.obstacle(now) {
        Some(rejection) => Err(rejection),
        None => Ok(Event::Used(Used { node_id })),
    }
}

/// None: it is revoked already.
pub fn revoke(token: &JoinToken) -> Option<Event> {
    token.revoked_at.is_none().then_some(Event::Revoked(Revoked {}))
}

impl JoinToken {
    pub fn created(
        (org, project, id): (Slug, Slug, JoinTokenId),
        fact: &Created,
        time: Timestamp,
        position: Position,
    ) -> JoinToken {
        JoinToken {
            id,
            org,
            project,
            created: fact.clone(),
            created_at: time,
            uses: 0,
            last_used_at: None,
            revoked_at: None,
            position,
        }
    }

    pub fn evolve(&mut self, event: &Event, time: Timestamp, position: Position) {
        self.position = position;
        match event {
            Event::Created(_) => {}
            Event::Used(_) => {
                self.uses = self.uses.saturating_add(1);
                self.last_used_at = Some(time);
            }
            Event::Revoked(_) => self.revoked_at = Some(time),
        }
    }

    /// Why nobody can register with it at this time; none while somebody can.
    pub fn obstacle(&self, now: Timestamp) -> Option<Rejection> {
        if self.revoked_at.is_some() {
            Some(Rejection::Revoked)
        } else if self.created.expires_at.is_some_and(|at| at <= now) {
            Some(Rejection::Expired)
        } else if self.created.uses_max.is_some_and(|max| self.uses >= max) {
            Some(Rejection::UsedUp)
        } else {
            None
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
