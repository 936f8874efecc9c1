//! Node tokens: EdDSA JWTs of the org, for twelve hours, in exchange for the node key.

use crate::caller::NodeIdentity;
use crate::control::Control;
use crate::execute::now;
use crate::org_keys::no_signing_key;
use contract::{ApiError, TokenAnswer};
use domain::org::KeyUse;
use jiff::SignedDuration;
use trust::TokenClaims;

pub(crate) const AUDIENCE: &str = "pilothouse";

impl Control {
    /// `POST /api/v1/nodes/{id}/token`
    pub async fn issue_token(&self, node: &NodeIdentity) -> Result<TokenAnswer, ApiError> {
        let key = self.active_key(&node.org, KeyUse::NodeToken).await?.ok_or_else(no_signing_key)?;
        let issued = now();
        let expires_in = self.settings().token_ttl_s;
        let claims = TokenClaims {
            sub: node.id.to_string(),
            prj: node.project.to_string(),
            org: node.org.to_string(),
            kid: key.id.clone(),
            exp: issued.as_second().saturating_add(i64::from(expires_in)),
            iat: issued.as_second(),
            iss: AUDIENCE.to_owned(),
            aud: AUDIENCE.to_owned(),
            jti: data_encoding::HEXLOWER.encode(&trust::random_bytes::<16>()),
        };
        let lifetime = SignedDuration::from_secs(i64::from(expires_in));
        let whole = jiff::Timestamp::from_second(issued.as_second()).unwrap_or(issued);
        Ok(TokenAnswer {
            token: trust::sign_token(&key.key, &claims),
            token_type: "Bearer".to_owned(),
            expires_at: whole.saturating_add(lifetime).unwrap_or(whole),
            expires_in,
        })
    }
}
