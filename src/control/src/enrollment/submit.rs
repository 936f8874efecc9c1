//! `POST /api/v1/enroll`: a host that has signed a challenge asks to be let in.

use super::challenge::{host_id, host_key, malformed};
use crate::control::Control;
use crate::execute::{Decision, Fact, Meta, now, unavailable};
use crate::nodes::token_refused;
use contract::{ApiError, EnrollAnswer, EnrollRequest, ErrorCode};
use domain::enrollment::{Admitted, Submission, SubmitRefusal, Submitted, submit};
use domain::{Actor, Aggregate, EnrollmentId, Event, HostId, JoinTokenId, Position, Slug};
use std::net::IpAddr;
use trust::nats::is_curve_key;
use views::State;

const SUBMITTED: &str = "Enrollment submitted. Awaiting operator approval.";
const KNOWN: &str = "Enrollment already pending.";
const RENEWED: &str = "Renewal approved. Download the credentials.";

/// What became of it.
enum Outcome {
    New(EnrollmentId),
    Known(EnrollmentId),
    Renewed(EnrollmentId),
}

impl Control {
    /// The flag: a new enrollment was made.
    pub async fn enroll(
        &self,
        request: EnrollRequest,
        peer: IpAddr,
        join_token: Option<&str>,
    ) -> Result<(bool, EnrollAnswer, Position), ApiError> {
        let host = host_id(&request.peel_id)?;
        let key = host_key(&request.public_key)?;
        if !is_curve_key(&request.curve_public_key) {
            return Err(malformed("invalid curve_public_key"));
        }
        if request.challenge_id.is_empty() {
            return Err(malformed("challenge_id is required"));
        }
        if request.signature.is_empty() {
            return Err(malformed("signature is required"));
        }
        let (org, join_token_id) = match join_token {
            Some(secret) => self.org_of_join_token(secret).await?,
            None => (self.default_org().clone(), None),
        };
        let challenge = self.use_challenge(&request.challenge_id).await?;
        if challenge.peel_id != request.peel_id || challenge.public_key != request.public_key {
            return Err(malformed("challenge binding mismatch"));
        }
        let signed = [&challenge.bytes[..], request.curve_public_key.as_bytes()].concat();
        if !key.verify(&signed, &request.signature) {
            return Err(ApiError::new(ErrorCode::SignatureInvalid, "signature verification failed"));
        }
        let unix_s = u64::try_from(now().as_second()).unwrap_or(0);
        let fact = Submitted {
            enrollment_id: EnrollmentId::from_parts(unix_s, trust::random_bytes()),
            hostname: request.plain_hostname(),
            metadata: request.plain_metadata(),
            public_key: request.public_key,
            curve_public_key: request.curve_public_key,
            remote_addr: peer.to_canonical().to_string(),
            join_token_id,
            supersedes: None,
        };
        let meta = Meta::once(Actor::Host(host.to_string()));
        let done = self.commit(&meta, |state| self.decide_submission(state, &org, &host, &fact, peer)).await?;
        Ok(answer(&host, done.value, done.position))
    }

    fn decide_submission(
        &self,
        state: &State,
        org: &Slug,
        id: &HostId,
        fact: &Submitted,
        peer: IpAddr,
    ) -> Result<Decision<Outcome>, ApiError> {
        let host = state.enrollments.host(id);
        let submission = Submission {
            org: org.clone(),
            fact: fact.clone(),
            key_blocked: state.enrollments.is_blocked(&fact.public_key),
            key_elsewhere: state.enrollments.is_live_elsewhere(&fact.public_key, id),
        };
        let admitted = submit(host, submission, self.settings().enrollment.renewal, now()).map_err(refused)?;
        let (event, outcome) = match admitted {
            Admitted::Known(id) => {
                let renewing = host.is_some_and(|host| host.current().renewing);
                let outcome = if renewing { Outcome::Renewed(id) } else { Outcome::Known(id) };
                return Ok(Decision::Nothing(outcome));
            }
            Admitted::Renewed(id, event) => (event, Outcome::Renewed(id)),
            Admitted::New(event) => {
                self.check_room(state, fact, peer)?;
                (event, Outcome::New(fact.enrollment_id.clone()))
            }
        };
        let aggregate = Aggregate::Enrollment { org: org.clone(), host: id.clone() };
        let expected = host.map_or(Position::START, |host| host.position);
        Ok(Decision::Append(Box::new(Fact::next(aggregate, expected, Event::Enrollment(event))), outcome))
    }

    /// Strangers can make requests that wait; how many is bounded.
    fn check_room(&self, state: &State, fact: &Submitted, peer: IpAddr) -> Result<(), ApiError> {
        let settings = &self.settings().enrollment;
        if state.enrollments.pending_count() >= settings.pending_max {
            return Err(unavailable("too many enrollments wait for a decision"));
        }
        let of_site = state.enrollments.pending_from(peer);
        if fact.join_token_id.is_none() && of_site >= settings.pending_per_site_max {
            return Err(ApiError::new(ErrorCode::RateLimited, "rate limit exceeded"));
        }
        Ok(())
    }

    /// A token selects its org. Unknown, revoked, expired, used up: a stranger is not told which.
    async fn org_of_join_token(&self, secret: &str) -> Result<(Slug, Option<JoinTokenId>), ApiError> {
        let id = self.owner_of_join_token(secret).await?.ok_or_else(token_refused)?;
        if self.views().read().join_tokens.get(id).is_none() {
            self.catch_up().await?;
        }
        let state = self.views().read();
        let token = state.join_tokens.get(id).filter(|token| token.obstacle(now()).is_none());
        token.map(|token| (token.org.clone(), Some(id))).ok_or_else(token_refused)
    }
}

fn answer(host: &HostId, outcome: Outcome, position: Position) -> (bool, EnrollAnswer, Position) {
    let (is_new, id, state, message) = match outcome {
        Outcome::New(id) => (true, id, "pending", SUBMITTED),
        Outcome::Known(id) => (false, id, "pending", KNOWN),
        Outcome::Renewed(id) => (false, id, "approved", RENEWED),
    };
    let (state, message) = (state.to_owned(), message.to_owned());
    (is_new, EnrollAnswer { id: id.to_string(), peel_id: host.to_string(), state, message }, position)
}

fn refused(refusal: SubmitRefusal) -> ApiError {
    let code = match refusal {
        SubmitRefusal::KeyRevoked => ErrorCode::KeyRevoked,
        SubmitRefusal::PendingUnderAnotherKey
        | SubmitRefusal::LiveUnderAnotherKey
        | SubmitRefusal::NoRenewal
        | SubmitRefusal::KeyElsewhere => ErrorCode::Conflict,
    };
    ApiError::new(code, refusal.to_string())
}
