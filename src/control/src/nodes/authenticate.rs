//! Who a node is: its key, or a token signed by its org. The messages are the authentication document's.

use crate::caller::{NodeCredential, NodeIdentity};
use crate::control::Control;
use crate::credentials::KeyOwner;
use crate::execute::now;
use crate::tokens::token_hash;
use contract::{ApiError, ErrorCode};
use domain::NodeId;
use domain::org::KeyUse;
use std::sync::Arc;
use trust::{TokenClaims, TokenError};

/// Difference of clocks that a token's times forgive.
const LEEWAY_S: i64 = 30;

impl Control {
    /// `path_id` is the node that the URL names; a good credential of another node is 403.
    pub async fn authenticate_node(
        &self,
        path_id: &str,
        credential: NodeCredential<'_>,
    ) -> Result<NodeIdentity, ApiError> {
        let wanted: NodeId = path_id.parse().map_err(|_| ApiError::not_found("Node"))?;
        match credential {
            NodeCredential::Key(key) => match self.owner_of_node_key(wanted, key).await? {
                KeyOwner::Wanted => {}
                KeyOwner::AnotherNode => return Err(another_node()),
                KeyOwner::Nobody => return Err(refused("Invalid node key")),
            },
            NodeCredential::Token(token) => {
                let claims = self.verify_node_token(token).await?;
                if claims.sub != path_id && claims.sub.parse() != Ok(wanted) {
                    return Err(another_node());
                }
                let identity = self.identity(wanted).await?;
                if identity.org.as_str() != claims.org || identity.project.as_str() != claims.prj {
                    return Err(refused("Authentication failed"));
                }
                let reset_at = self.with_node(wanted, |node| node.key_reset_at)?;
                if reset_at.is_some_and(|at| claims.iat < at.as_second()) {
                    return Err(refused("Authentication failed"));
                }
                return Ok(identity);
            }
        }
        self.identity(wanted).await
    }

    async fn identity(&self, id: NodeId) -> Result<NodeIdentity, ApiError> {
        if !self.knows_node(id).await? {
            return Err(node_gone());
        }
        if self.views().read().enrollments.refuses_node(id) {
            return Err(refused("The node's host has been revoked"));
        }
        self.with_node(id, |node| NodeIdentity { id, org: node.org.clone(), project: node.project.clone() })
    }

    async fn verify_node_token(&self, token: &str) -> Result<Arc<TokenClaims>, ApiError> {
        let hash = token_hash(token);
        let now = now();
        if let Some(claims) = self.tokens().get(&hash) {
            self.token_key(&claims.kid, &claims.org)?;
            if claims.exp.saturating_add(LEEWAY_S) <= now.as_second() {
                return Err(expired());
            }
            return Ok(claims);
        }
        let key_id = trust::token_key_id(token).map_err(|_| refused("Authentication failed"))?;
        if self.views().read().orgs.signing_key(&key_id).is_none() {
            self.catch_up().await?;
        }
        let public = {
            let state = self.views().read();
            let (_, key) = state.orgs.signing_key(&key_id).ok_or_else(|| refused("Unknown signing key"))?;
            key.public_key.clone()
        };
        let public = public.parse().map_err(|_| refused("Unknown signing key"))?;
        let verified = trust::verify_token(token, &public, super::AUDIENCE, now, LEEWAY_S);
        let claims = verified.map_err(|e| match e {
            TokenError::Signature => refused("Invalid token signature"),
            TokenError::Expired => expired(),
            _ => refused("Authentication failed"),
        })?;
        self.token_key(&key_id, &claims.org)?;
        Ok(self.tokens().keep(hash, claims))
    }

    /// The key must be the claimed org's, made for tokens, and active.
    fn token_key(&self, key_id: &str, org: &str) -> Result<(), ApiError> {
        let state = self.views().read();
        let (owner, key) = state.orgs.signing_key(key_id).ok_or_else(|| refused("Unknown signing key"))?;
        if !key.active {
            return Err(refused("Signing key has been deactivated"));
        }
        if owner.as_str() != org || key.key_use != KeyUse::NodeToken {
            return Err(refused("Authentication failed"));
        }
        Ok(())
    }
}

fn refused(message: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidCredential, message)
}

fn expired() -> ApiError {
    ApiError::new(ErrorCode::TokenExpired, "Token expired")
}

fn another_node() -> ApiError {
    ApiError::new(ErrorCode::NodeMismatch, "The credential belongs to another node than the path names")
}

pub(super) fn node_gone() -> ApiError {
    refused("Node not found")
}
