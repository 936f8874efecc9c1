//! Node tokens that were verified before. Checking an Ed25519 signature costs more than the rest of a heartbeat; the same
//! token comes back every few seconds for twelve hours. Only the signature is remembered: expiry, the key's state and the
//! node are looked at every time.

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use trust::TokenClaims;

/// About 50 MB at most. A full cache starts anew: one more verification per node.
const TOKENS_MAX: usize = 100_000;

#[derive(Default)]
pub(crate) struct TokenCache(RwLock<HashMap<[u8; 32], Arc<TokenClaims>>>);

pub(crate) fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl TokenCache {
    pub fn get(&self, hash: &[u8; 32]) -> Option<Arc<TokenClaims>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    pub fn keep(&self, hash: [u8; 32], claims: TokenClaims) -> Arc<TokenClaims> {
        let claims = Arc::new(claims);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TOKENS_MAX {
            known.clear();
        }
        known.insert(hash, claims.clone());
        claims
    }
}
