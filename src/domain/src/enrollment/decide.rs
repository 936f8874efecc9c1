//! The decisions about a host. Whoever calls brings the time, and what other aggregates say of the key.

use super::{
    Activated, Approved, Enrollment, Event, Expired, Host, Issued, Rejected, Renewed, Revoked, State, Submitted,
};
use crate::{Digest, EnrollmentId, NodeId, Slug};
use jiff::Timestamp;
use thiserror::Error;

/// What a host gets that asks again with the same key while its credentials are good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renewal {
    /// An operator decides on each.
    Manual,
    /// In the last third of the lifetime nobody needs to.
    #[default]
    Renew,
    /// Nothing until they have ended.
    Never,
}

/// A host that has proven its key.
#[derive(Clone, Debug)]
pub struct Submission {
    pub org: Slug,
    /// `supersedes` is what the decision says.
    pub fact: Submitted,
    /// An operator revoked this key, as whichever host.
    pub key_blocked: bool,
    /// The key is live under another host id: its revocation would reach both.
    pub key_elsewhere: bool,
}

/// What a submission comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// A new pending enrollment.
    New(Event),
    /// It asked before; nothing changes.
    Known(EnrollmentId),
    /// It may fetch fresh credentials.
    Renewed(EnrollmentId, Event),
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SubmitRefusal {
    #[error("a pending enrollment for this peel id exists under a different key; an operator can reject it")]
    PendingUnderAnotherKey,
    #[error("peel already has an active enrollment under a different key; revoke it first")]
    LiveUnderAnotherKey,
    #[error("peel already has an active enrollment; credentials are not renewed here before they end")]
    NoRenewal,
    #[error("public_key is enrolled under another peel id")]
    KeyElsewhere,
    #[error("public_key was revoked; generate a new key")]
    KeyRevoked,
}

/// Why a step is not taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// `verb` is what was asked for.
    #[error("cannot {verb}: state is {}", .state.as_str())]
    State { verb: &'static str, state: State },
    #[error("cannot approve: the key is not the one that was named")]
    OtherKey,
}

pub fn submit(
    host: Option<&Host>,
    submission: Submission,
    renewal: Renewal,
    now: Timestamp,
) -> Result<Admitted, SubmitRefusal> {
    if submission.key_blocked {
        return Err(SubmitRefusal::KeyRevoked);
    }
    if submission.key_elsewhere {
        return Err(SubmitRefusal::KeyElsewhere);
    }
    let Submission { org, fact, .. } = submission;
    let new = |supersedes| Admitted::New(Event::Submitted(Submitted { supersedes, ..fact.clone() }));
    let Some(host) = host else { return Ok(new(None)) };
    let current = host.current();
    let same = current.public_key == fact.public_key && host.org == org;
    match current.state {
        State::Rejected | State::Revoked => Ok(new(None)),
        State::Pending if same => Ok(Admitted::Known(current.id.clone())),
        State::Pending => Err(SubmitRefusal::PendingUnderAnotherKey),
        State::Approved | State::Issued | State::Active if !same => Err(SubmitRefusal::LiveUnderAnotherKey),
        State::Approved => Ok(new(Some(current.id.clone()))),
        State::Issued | State::Active if current.renewing => Ok(Admitted::Known(current.id.clone())),
        State::Issued | State::Active => match (renewal, stage_of(current, now)) {
            (Renewal::Renew, Stage::LastThird) => {
                let id = current.id.clone();
                Ok(Admitted::Renewed(id.clone(), Event::Renewed(Renewed { enrollment_id: id })))
            }
            (Renewal::Never, Stage::Early | Stage::LastThird) => Err(SubmitRefusal::NoRenewal),
            (Renewal::Manual | Renewal::Renew | Renewal::Never, _) => Ok(new(Some(current.id.clone()))),
        },
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Early,
    LastThird,
    Over,
}

fn stage_of(enrollment: &Enrollment, now: Timestamp) -> Stage {
    let Some(issued) = &enrollment.issued else { return Stage::Over };
    let left_s = issued.expires_at_s.saturating_sub(now.as_second());
    let lifetime_s = issued.expires_at_s.saturating_sub(issued.issued_at_s);
    if left_s <= 0 {
        Stage::Over
    } else if left_s <= lifetime_s / 3 {
        Stage::LastThird
    } else {
        Stage::Early
    }
}

/// `expected_key`: what the approver looked at, where it says so. `node`: what the host becomes with it.
pub fn approve(
    enrollment: &Enrollment,
    expected_key: Option<&str>,
    node: Option<(Slug, NodeId)>,
    rule: Option<String>,
) -> Result<Event, Refusal> {
    allowed(enrollment, "approve", &[State::Pending])?;
    if expected_key.is_some_and(|key| key != enrollment.public_key) {
        return Err(Refusal::OtherKey);
    }
    let (enrollment_id, public_key) = (enrollment.id.clone(), enrollment.public_key.clone());
    let (project, node_id) = node.unzip();
    Ok(Event::Approved(Approved { enrollment_id, public_key, project, node_id, rule }))
}

pub fn reject(enrollment: &Enrollment, reason: Option<String>) -> Result<Event, Refusal> {
    allowed(enrollment, "reject", &[State::Pending])?;
    Ok(Event::Rejected(Rejected { enrollment_id: enrollment.id.clone(), reason }))
}

/// None before its time, or when somebody has decided.
pub fn expire(enrollment: &Enrollment, before: Timestamp) -> Option<Event> {
    let due = enrollment.state == State::Pending && enrollment.created_at <= before;
    due.then(|| Event::Expired(Expired { enrollment_id: enrollment.id.clone() }))
}

/// `sign` makes the JWT for an issue time and an end, in seconds since 1970, and returns its hash.
pub fn issue(
    host: &Host,
    enrollment: &Enrollment,
    lifetime_s: i64,
    now: Timestamp,
    sign: impl FnOnce(i64, i64) -> Digest,
) -> Result<Event, Refusal> {
    if !enrollment.renewing {
        allowed(enrollment, "issue", &[State::Approved])?;
    }
    let issued_at_s = host.issue_time(&enrollment.public_key, now.as_second());
    let expires_at_s = issued_at_s.saturating_add(lifetime_s);
    let jwt_sha256 = sign(issued_at_s, expires_at_s);
    Ok(Event::Issued(Issued { enrollment_id: enrollment.id.clone(), issued_at_s, expires_at_s, jwt_sha256 }))
}

/// None when it was seen before, or holds no credentials.
pub fn activate(enrollment: &Enrollment) -> Option<Event> {
    let first = enrollment.state == State::Issued;
    first.then(|| Event::Activated(Activated { enrollment_id: enrollment.id.clone() }))
}

pub fn revoke(enrollment: &Enrollment, reason: Option<String>, now: Timestamp) -> Result<Event, Refusal> {
    allowed(enrollment, "revoke", &[State::Approved, State::Issued, State::Active])?;
    let issued_at_s = enrollment.issued.as_ref().map_or(i64::MIN, |issued| issued.issued_at_s);
    Ok(Event::Revoked(Revoked {
        enrollment_id: enrollment.id.clone(),
        public_key: enrollment.public_key.clone(),
        revoked_until_s: now.as_second().max(issued_at_s),
        reason,
    }))
}

fn allowed(enrollment: &Enrollment, verb: &'static str, from: &[State]) -> Result<(), Refusal> {
    match from.contains(&enrollment.state) {
        true => Ok(()),
        false => Err(Refusal::State { verb, state: enrollment.state }),
    }
}
