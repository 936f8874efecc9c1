//! `GET /api/v1/enroll/{id}/creds`: the JWT of an approved host, once. The fact stands before the host gets anything. A call
//! that repeats the first one's `Idempotency-Key` gets the same JWT for ten minutes, so that a lost answer locks nobody out;
//! the JWT itself is nowhere kept: the signing key makes the same text again.

use super::enrollment_not_found;
use crate::control::Control;
use crate::execute::{Decision, Fact, Meta, now, unavailable};
use crate::operations::{Idempotency, request_hash};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use contract::{ApiError, CredsAnswer, ErrorCode};
use domain::enrollment::{Enrollment, Host, Issuance, Refusal, State as Stage, issue};
use domain::{Actor, Aggregate, Digest, EnrollmentId, Event, Position};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::Digest as _;
use trust::nats::{HostKey, HostSigner};
use views::State;

/// How long a repeat gets the same JWT.
const REPEATED_FOR: SignedDuration = SignedDuration::from_mins(10);
/// The part of a lifetime over which the ends of a fleet's credentials are spread.
const SPREAD_PART: i64 = 20;
/// The least lifetime that the documents allow.
const LIFETIME_S_MIN: i64 = 3600;
const SCHEME: &str = "Nkey ";
const EITHER: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

impl Control {
    /// `authorization`: the header's text.
    pub async fn issue_credentials(
        &self,
        id: &str,
        authorization: Option<&str>,
        idempotency_key: Option<&str>,
    ) -> Result<CredsAnswer, ApiError> {
        let (host, enrollment) =
            self.with_enrollment(id, |host, enrollment| (host.clone(), enrollment.clone())).await?;
        if !authorization.is_some_and(|text| proves(text, &enrollment)) {
            return Err(ApiError::new(ErrorCode::SignatureInvalid, "authentication failed"));
        }
        let signer = self.host_signer().ok_or_else(no_signer)?;
        let (actor, route) = (Actor::Host(host.id.to_string()), format!("enroll/creds/{}", enrollment.id));
        let request = request_hash(&["creds", enrollment.id.as_str()], &Value::Null);
        let meta = self.meta(actor, &host.org, &route, idempotency_key, request)?;
        if let Idempotency::Replay { position, .. } = self.idempotency(&meta)? {
            return self.again(signer, &enrollment.id, position).await;
        }
        if enrollment.node.is_some() {
            self.prepare_node_key(&enrollment).await?;
        }
        match self.commit_issue(signer, &meta, &enrollment.id).await {
            Ok(position) => self.again(signer, &enrollment.id, position).await,
            // A twin under the same key may have been first.
            Err(refused) => match self.idempotency(&meta)? {
                Idempotency::Replay { position, .. } => self.again(signer, &enrollment.id, position).await,
                Idempotency::New => Err(refused),
            },
        }
    }

    async fn commit_issue(&self, signer: &HostSigner, meta: &Meta, id: &EnrollmentId) -> Result<Position, ApiError> {
        let lifetime_s = spread(self.settings().enrollment.lifetime_s);
        let mut decisions = 0;
        let decide = |state: &State| {
            decisions += 1;
            let (host, enrollment) = state.enrollments.get(id).ok_or_else(enrollment_not_found)?;
            let hash = |from: i64, to: i64| jwt_hash(&sign(signer, host, enrollment, from, to));
            let event =
                issue(host, enrollment, lifetime_s, now(), hash).map_err(|refusal| refused(&refusal, decisions))?;
            let aggregate = Aggregate::Enrollment { org: host.org.clone(), host: host.id.clone() };
            let fact = Fact::next(aggregate, host.position, Event::Enrollment(event));
            Ok(Decision::Append(Box::new(fact), ()))
        };
        Ok(self.commit(meta, decide).await?.position)
    }

    /// The JWT whose fact stands at `position`, while it is the newest and its time is not over.
    async fn again(&self, signer: &HostSigner, id: &EnrollmentId, position: Position) -> Result<CredsAnswer, ApiError> {
        let (jwt, enrollment, host) = {
            let state = self.views().read();
            let (host, enrollment) = state.enrollments.get(id).ok_or_else(enrollment_not_found)?;
            let fresh = |issued: &&Issuance| {
                let end = issued.at.saturating_add(REPEATED_FOR).unwrap_or(Timestamp::MAX);
                issued.position == position && now() < end && enrollment.state != Stage::Revoked
            };
            let issued = enrollment.issued.as_ref().filter(fresh).ok_or_else(not_approved)?;
            let jwt = sign(signer, host, enrollment, issued.issued_at_s, issued.expires_at_s);
            if jwt_hash(&jwt) != issued.jwt_sha256 {
                // The signing key was replaced meanwhile.
                return Err(no_signer());
            }
            (jwt, enrollment.clone(), host.id.to_string())
        };
        let expires_at_s = enrollment.issued.as_ref().map_or(0, |issued| issued.expires_at_s);
        Ok(CredsAnswer {
            peel_id: host,
            creds_data: BASE64_STANDARD.encode(jwt),
            expires_at: Timestamp::from_second(expires_at_s).unwrap_or(Timestamp::MAX),
            node: self.node_of(&enrollment).await?,
        })
    }
}

fn sign(signer: &HostSigner, host: &Host, enrollment: &Enrollment, from_s: i64, to_s: i64) -> String {
    signer.sign(host.id.as_str(), &enrollment.public_key, from_s, to_s)
}

fn jwt_hash(jwt: &str) -> Digest {
    let hex = data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(jwt));
    hex.parse().expect("lowercase hex of 32 bytes is a digest")
}

/// `Nkey <public key>:<signature of the enrollment's id>`, the signature in either alphabet of base64, padded or not.
fn proves(text: &str, enrollment: &Enrollment) -> bool {
    let Some((public_key, signature)) = text.strip_prefix(SCHEME).and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    let alphabet = if signature.contains(['+', '/']) { STANDARD } else { URL_SAFE };
    let decoded = GeneralPurpose::new(&alphabet, EITHER).decode(signature);
    let key = HostKey::parse(public_key).filter(|_| public_key == enrollment.public_key);
    decoded.is_ok_and(|signature| key.is_some_and(|key| key.verify(enrollment.id.as_str().as_bytes(), &signature)))
}

/// Less by chance, so that what was issued together does not end together.
fn spread(lifetime_s: i64) -> i64 {
    let room = (lifetime_s / SPREAD_PART).min(lifetime_s - LIFETIME_S_MIN).max(0);
    let chance = i64::from(u32::from_be_bytes(trust::random_bytes()));
    lifetime_s - chance % (room + 1)
}

/// Who finds it so is refused; who loses a race against another is told that.
fn refused(refusal: &Refusal, decisions: u32) -> ApiError {
    match refusal {
        Refusal::State { state: Stage::Issued | Stage::Active, .. } if decisions > 1 => {
            ApiError::new(ErrorCode::Conflict, "credentials already issued")
        }
        Refusal::State { .. } | Refusal::OtherKey => not_approved(),
    }
}

fn not_approved() -> ApiError {
    ApiError::new(ErrorCode::NotApproved, "enrollment not in approved state")
}

fn no_signer() -> ApiError {
    unavailable("failed to issue credentials")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_spread_and_never_too_short() {
        for _ in 0..100 {
            let spread_out = spread(180 * 86_400);
            assert!((171 * 86_400..=180 * 86_400).contains(&spread_out), "{spread_out}");
            assert!((3600..=3700).contains(&spread(3700)));
            assert_eq!(spread(3600), 3600);
        }
    }
}
