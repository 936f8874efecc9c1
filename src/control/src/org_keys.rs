//! The private halves of the orgs' signing keys: sealed in the `secrets` bucket, unsealed once per replica. The public halves
//! and which key is active are facts of the org.

use crate::control::Control;
use crate::execute::{Decision, Fact, Meta, store_error, unavailable};
use contract::{ApiError, ErrorCode};
use domain::org::{Event, KeyUse, SigningKeyCreated};
use domain::{Actor, Aggregate, Slug};
use journal::{Bucket, StoreError};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use trust::SigningKey;
use views::State;

/// Unsealed keys by key id. As many as there are signing keys in the installation.
#[derive(Default)]
pub(crate) struct OrgKeys(RwLock<HashMap<String, Arc<SigningKey>>>);

/// An org's active key for one use.
pub(crate) struct ActiveKey {
    pub id: String,
    pub key: Arc<SigningKey>,
}

impl Control {
    /// The org's active key for a use; none when the org has none.
    pub(crate) async fn active_key(&self, org: &Slug, key_use: KeyUse) -> Result<Option<ActiveKey>, ApiError> {
        let id = {
            let state = self.views().read();
            state.orgs.org(org).and_then(|org| org.active_key(key_use)).map(|(id, _)| id.clone())
        };
        let Some(id) = id else { return Ok(None) };
        let cached = self.org_keys().0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let key = match cached {
            Some(key) => key,
            None => self.unseal(org, &id).await?,
        };
        Ok(Some(ActiveKey { id, key }))
    }

    /// Makes a key pair: the sealed private half first, then the fact that makes it active.
    pub(crate) async fn create_signing_key(&self, org: &Slug, key_use: KeyUse) -> Result<(), ApiError> {
        let key = SigningKey::from_seed(trust::random_bytes());
        let public = key.public();
        let key_id = public.key_id(prefix(key_use));
        let name = record_name(org, &key_id);
        let sealed = self.master_key().seal(&name, &key.seed());
        self.records().create(Bucket::Secrets, &name, sealed.into()).await.map_err(store_error)?;
        let created = SigningKeyCreated { key_id, key_use, public_key: public.to_string() };
        let meta = Meta::once(Actor::System);
        let decide = |state: &State| {
            let Some(org) = state.orgs.org(org) else { return Err(ApiError::not_found("Organization")) };
            if org.active_key(key_use).is_some() {
                return Ok(Decision::Nothing(false));
            }
            let event = domain::Event::Org(Event::SigningKeyCreated(created.clone()));
            let fact = Fact::next(Aggregate::Org(org.slug.clone()), org.position, event);
            Ok(Decision::Append(Box::new(fact), true))
        };
        let is_ours = self.commit(&meta, decide).await?.value;
        if !is_ours && let Err(e) = self.records().remove(Bucket::Secrets, &name).await {
            tracing::warn!(
                name,
                error = &e as &dyn std::error::Error,
                "the key of a lost race stays in the store, unused"
            );
        }
        Ok(())
    }

    async fn unseal(&self, org: &Slug, key_id: &str) -> Result<Arc<SigningKey>, ApiError> {
        let name = record_name(org, key_id);
        let record = self.records().get(Bucket::Secrets, &name).await.map_err(store_error)?;
        let record = record.ok_or_else(|| damaged(&name, "is missing"))?;
        let seed = self.master_key().open(&name, &record.value);
        let seed = seed.map_err(|_| damaged(&name, "cannot be opened with this master key"))?;
        let seed = <[u8; 32]>::try_from(seed.as_slice()).map_err(|_| damaged(&name, "is not a key"))?;
        let key = Arc::new(SigningKey::from_seed(seed));
        let mut known = self.org_keys().0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(key_id.to_owned(), key.clone());
        Ok(key)
    }
}

fn damaged(name: &str, what: &str) -> ApiError {
    let e = StoreError::Corrupt(format!("the secret {name} {what}"));
    tracing::error!(error = &e as &dyn std::error::Error, "signing key unusable");
    unavailable(
        "a signing key of the organization cannot be read; the operators of this installation find the cause in its log",
    )
}

pub(crate) fn no_signing_key() -> ApiError {
    ApiError::new(
        ErrorCode::NoSigningKey,
        "No signing key configured for this organization. Contact your administrator.",
    )
}

fn prefix(key_use: KeyUse) -> &'static str {
    match key_use {
        KeyUse::NodeToken => "sk",
        KeyUse::Bundle => "bk",
    }
}

fn record_name(org: &Slug, key_id: &str) -> String {
    format!("org.{org}.{key_id}")
}

impl Control {
    /// The org's public keys as a JWK set (RFC 7517, RFC 8037), those that are no longer active left out; `use` tells token
    /// keys (`sig`, for EdDSA JWTs) from bundle keys (`bundle`). `None` is the default org.
    pub fn jwks(&self, org: Option<&str>) -> Result<Value, ApiError> {
        let not_found = || ApiError::not_found("Organization");
        let slug = match org {
            Some(slug) => slug.parse::<Slug>().map_err(|_| not_found())?,
            None => self.default_org().clone(),
        };
        let state = self.views().read();
        let org = state.orgs.org(&slug).ok_or_else(not_found)?;
        let active = org.signing_keys.iter().filter(|(_, key)| key.active);
        let keys = active.map(|(id, key)| {
            let purpose = match key.key_use {
                KeyUse::NodeToken => "sig",
                KeyUse::Bundle => "bundle",
            };
            json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": purpose, "kid": id, "x": key.public_key})
        });
        Ok(json!({"keys": keys.collect::<Vec<_>>()}))
    }
}
