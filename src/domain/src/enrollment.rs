//! A host's way into the installation: it proves its key, somebody approves it, it gets credentials for NATS. The aggregate is
//! the host id: all its enrollments share one expected position, so at most one of them is live whoever races.
//!
//! Seven transitions and no other: pending → approved, rejected; approved → issued, revoked; issued → active, revoked;
//! active → revoked. `expired` is a rejection by Pilothouse itself. `renewed` changes no state: fresh credentials may be
//! fetched once. A submission that names the enrollment that it supersedes ends that one as revoked by Pilothouse.
//!
//! Absent on purpose: the credentials themselves. Facts hold their hash and their times.

mod decide;
mod host;

pub use decide::{
    Admitted, Refusal, Renewal, Submission, SubmitRefusal, activate, approve, expire, issue, reject, revoke, submit,
};
pub use host::{Host, HostNode, Revocation};

use crate::event::events;
use crate::{Actor, Digest, EnrollmentId, JoinTokenId, NodeId, Position, Slug};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

events! {
    /// A host proved its key and asks to be let in. Ends the enrollment that it supersedes.
    Submitted(Submitted) = "submitted" v 1,
    /// The host may fetch credentials; stored in one batch with `node.registered` where it becomes a node.
    Approved(Approved) = "approved" v 1,
    /// An operator refused the host.
    Rejected(Rejected) = "rejected" v 1,
    /// Nobody decided in time: rejected by Pilothouse itself.
    Expired(Expired) = "expired" v 1,
    /// Credentials were signed. The host gets them after this fact is stored, never before.
    Issued(Issued) = "issued" v 1,
    /// The host was seen with its credentials.
    Activated(Activated) = "activated" v 1,
    /// The host may fetch fresh credentials because its old ones end soon.
    Renewed(Renewed) = "renewed" v 1,
    /// An operator took the credentials back and blocked the key.
    Revoked(Revoked) = "revoked" v 1,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Submitted {
    pub enrollment_id: EnrollmentId,
    /// Public nkey of the host, `U…`.
    pub public_key: String,
    /// X25519 public key of the host, `X…`.
    pub curve_public_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Address that the request came from.
    pub remote_addr: String,
    /// What the host showed, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token_id: Option<JoinTokenId>,
    /// The live enrollment of the same key that ends with this fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<EnrollmentId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approved {
    pub enrollment_id: EnrollmentId,
    /// The key that was approved.
    pub public_key: String,
    /// Where the host is a node from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Slug>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The rule of the settings that approved it, where nobody else did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    pub enrollment_id: EnrollmentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expired {
    pub enrollment_id: EnrollmentId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Issued {
    pub enrollment_id: EnrollmentId,
    /// Issue time of the JWT in seconds since 1970; later than every revocation of the key.
    pub issued_at_s: i64,
    /// Its end, in seconds since 1970.
    pub expires_at_s: i64,
    /// SHA-256 of the JWT's text.
    pub jwt_sha256: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Activated {
    pub enrollment_id: EnrollmentId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Renewed {
    pub enrollment_id: EnrollmentId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {
    pub enrollment_id: EnrollmentId,
    pub public_key: String,
    /// JWTs of the key that were issued until then, in seconds since 1970, count no more.
    pub revoked_until_s: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for a decision.
    Pending,
    /// Credentials may be fetched.
    Approved,
    Rejected,
    /// Credentials were fetched.
    Issued,
    /// Seen with its credentials.
    Active,
    Revoked,
}

impl State {
    pub const ALL: [State; 6] =
        [State::Pending, State::Approved, State::Rejected, State::Issued, State::Active, State::Revoked];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Approved => "approved",
            State::Rejected => "rejected",
            State::Issued => "issued",
            State::Active => "active",
            State::Revoked => "revoked",
        }
    }

    pub fn parse(text: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Holds the host's id against other keys.
    pub fn is_live(self) -> bool {
        !matches!(self, State::Rejected | State::Revoked)
    }
}

/// Who ended or decided something, when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub by: Actor,
    pub at: Timestamp,
    pub reason: Option<String>,
}

/// The newest credentials of an enrollment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuance {
    pub issued_at_s: i64,
    pub expires_at_s: i64,
    pub jwt_sha256: Digest,
    /// When the fact was made.
    pub at: Timestamp,
    pub position: Position,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    pub id: EnrollmentId,
    pub public_key: String,
    pub curve_public_key: String,
    pub hostname: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub remote_addr: String,
    pub join_token: Option<JoinTokenId>,
    pub state: State,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The approval or rejection; nothing later overwrites it.
    pub decided: Option<Verdict>,
    /// The revocation.
    pub revoked: Option<Verdict>,
    pub issued: Option<Issuance>,
    /// Fresh credentials may be fetched although the state is not `approved`.
    pub renewing: bool,
    /// Where its approval made the host a node.
    pub node: Option<(Slug, NodeId)>,
}

impl Enrollment {
    /// As the host sees it: while fresh credentials wait for it, it is told what it was told the first time.
    pub fn shown_state(&self) -> State {
        if self.renewing { State::Approved } else { self.state }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
