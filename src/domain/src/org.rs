//! An org: a tenant. It owns projects, API keys and the signing keys whose public halves are facts.

use crate::event::events;
use crate::{Position, Slug};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

events! {
    /// A tenant was made.
    Created(Created) = "created" v 1,
    /// A key pair was made; the private half lies encrypted in the `secrets` bucket.
    SigningKeyCreated(SigningKeyCreated) = "signing_key_created" v 1,
    /// The key signs nothing new; what it signed can still be verified.
    SigningKeyDeactivated(SigningKeyDeactivated) = "signing_key_deactivated" v 1,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    pub name: String,
}

/// What a signing key may sign; never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    NodeToken,
    Bundle,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SigningKeyCreated {
    pub key_id: String,
    #[serde(rename = "use")]
    pub key_use: KeyUse,
    /// Ed25519, 32 bytes, base64url without padding.
    pub public_key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SigningKeyDeactivated {
    pub key_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    pub key_use: KeyUse,
    pub public_key: String,
    pub active: bool,
    pub created_at: Timestamp,
    /// Where the fact stands that made it.
    pub position: Position,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Org {
    pub slug: Slug,
    pub name: String,
    pub created_at: Timestamp,
    /// By key id.
    pub signing_keys: BTreeMap<String, SigningKey>,
    pub position: Position,
}

impl Org {
    pub fn created(slug: Slug, fact: &Created, time: Timestamp, position: Position) -> Org {
        Org { slug, name: fact.name.clone(), created_at: time, signing_keys: BTreeMap::new(), position }
    }

    pub fn evolve(&mut self, event: &Event, time: Timestamp, position: Position) {
        self.position = position;
        match event {
            Event::Created(_) => {}
            Event::SigningKeyCreated(key) => {
                let (key_use, public_key) = (key.key_use, key.public_key.clone());
                let key_state = SigningKey { key_use, public_key, active: true, created_at: time, position };
                self.signing_keys.insert(key.key_id.clone(), key_state);
            }
            Event::SigningKeyDeactivated(key) => {
                if let Some(known) = self.signing_keys.get_mut(&key.key_id) {
                    known.active = false;
                }
            }
        }
    }

    /// The newest active key for a use.
    pub fn active_key(&self, key_use: KeyUse) -> Option<(&String, &SigningKey)> {
        let fits = |key: &SigningKey| key.active && key.key_use == key_use;
        self.signing_keys.iter().filter(|(_, key)| fits(key)).max_by_key(|(_, key)| key.position)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
