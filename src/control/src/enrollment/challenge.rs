//! Challenges: 32 random bytes that a host signs, bound to its id and key, for five minutes, used once. Whoever moves the
//! record first has used it; a store that does not answer uses nothing up.

use crate::control::Control;
use crate::execute::{now, store_error, unavailable};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use contract::{ApiError, ErrorCode, NonceAnswer};
use domain::{ChallengeId, HostId};
use jiff::{SignedDuration, Timestamp};
use journal::{Bucket, Record, StoreError};
use serde::{Deserialize, Serialize};
use trust::nats::HostKey;

const LIFETIME: SignedDuration = SignedDuration::from_mins(5);
/// Difference of two replicas' clocks. The store's own clock ends a challenge all the same.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
const BYTES: usize = 32;
/// First byte of a used record; no MessagePack map begins with it.
const USED: u8 = 0;

#[derive(Serialize, Deserialize)]
pub(super) struct Challenge {
    pub peel_id: String,
    pub public_key: String,
    pub bytes: [u8; BYTES],
    expires_at: Timestamp,
}

impl Control {
    /// `GET /api/v1/enroll/nonce`
    pub async fn challenge(&self, peel_id: &str, public_key: &str) -> Result<NonceAnswer, ApiError> {
        if peel_id.is_empty() || public_key.is_empty() {
            return Err(malformed("peel_id and public_key are required"));
        }
        let host = host_id(peel_id)?;
        let key = host_key(public_key)?;
        let now = now();
        let unix_s = u64::try_from(now.as_second()).unwrap_or(0);
        let id = ChallengeId::from_parts(unix_s, trust::random_bytes());
        let bytes: [u8; BYTES] = trust::random_bytes();
        let expires_at = now.saturating_add(LIFETIME).unwrap_or(now);
        let challenge = Challenge { peel_id: host.to_string(), public_key: key.as_str().to_owned(), bytes, expires_at };
        let value = rmp_serde::to_vec_named(&challenge).map_err(|e| store_error(StoreError::Corrupt(e.to_string())))?;
        self.records().create(Bucket::Challenges, id.as_str(), value.into()).await.map_err(|e| {
            tracing::warn!(error = &e as &dyn std::error::Error, "challenge not stored");
            unavailable("failed to issue challenge")
        })?;
        let challenge = BASE64_STANDARD.encode(bytes);
        Ok(NonceAnswer { challenge_id: id.to_string(), challenge, expires_at })
    }

    /// The challenge, which is used from now on. Unknown, used and past its time are one answer.
    pub(super) async fn use_challenge(&self, id: &str) -> Result<Challenge, ApiError> {
        let id: ChallengeId = id.parse().map_err(|_| challenge_refused())?;
        let record = self.records().get(Bucket::Challenges, id.as_str()).await.map_err(store_error)?;
        let record = record.ok_or_else(challenge_refused)?;
        let challenge: Challenge = rmp_serde::from_slice(&record.value).map_err(|_| challenge_refused())?;
        let end = challenge.expires_at.saturating_add(LEEWAY).unwrap_or(Timestamp::MAX);
        if now() >= end {
            return Err(challenge_refused());
        }
        self.mark_used(record).await?;
        Ok(challenge)
    }

    /// The mark tells this use from another one's, so that a lost acknowledgement can be looked into.
    async fn mark_used(&self, Record { key, revision, .. }: Record) -> Result<(), ApiError> {
        let mark = [&[USED][..], &trust::random_bytes::<16>()].concat();
        match self.records().update(Bucket::Challenges, &key, mark.clone().into(), revision).await {
            Ok(_) => Ok(()),
            Err(e) => {
                let found = self.records().get(Bucket::Challenges, &key).await.map_err(store_error)?;
                match found {
                    Some(record) if record.value == mark => Ok(()),
                    // Nobody has used it: the store alone is to blame.
                    Some(record) if record.revision == revision => Err(store_error(e)),
                    _ => Err(challenge_refused()),
                }
            }
        }
    }
}

pub(super) fn host_id(text: &str) -> Result<HostId, ApiError> {
    text.parse().map_err(|e| malformed(format!("invalid peel_id: {e}")))
}

pub(super) fn host_key(text: &str) -> Result<HostKey, ApiError> {
    HostKey::parse(text).ok_or_else(|| malformed("invalid public_key"))
}

pub(super) fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::MalformedRequest, message)
}

fn challenge_refused() -> ApiError {
    ApiError::new(ErrorCode::SignatureInvalid, "challenge verification failed")
}
