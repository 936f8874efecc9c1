//! Enrollment on the wire, as its two documents fix it: names, encodings, the words of errors and the order of checks. What
//! they leave open follows the encoding of the server that they describe: unknown fields are ignored, names may be spelled in
//! any case, what follows the first JSON value is not read.

mod admin;
mod request;

pub use admin::{ApproveEnrollment, EnrollmentBody, EnrollmentReason};
pub use request::{ENROLL_BYTES_MAX, EnrollRequest};

use crate::node::Registered;
use domain::HostId;
use domain::enrollment::Enrollment;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /api/v1/enroll/nonce`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NonceAnswer {
    pub challenge_id: String,
    /// 32 bytes, base64 with padding.
    pub challenge: String,
    #[schemars(with = "String")]
    pub expires_at: Timestamp,
}

/// `POST /api/v1/enroll`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnrollAnswer {
    pub id: String,
    pub peel_id: String,
    /// `pending`, or `approved` when credentials are renewed.
    pub state: String,
    pub message: String,
}

/// `GET /api/v1/enroll/{id}/status`, and the data of each state event of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnrollStatus {
    pub id: String,
    pub peel_id: String,
    pub state: String,
}

/// `GET /api/v1/enroll/{id}/creds`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredsAnswer {
    pub peel_id: String,
    /// The user JWT's text, base64 with padding. The host's seed is the host's own.
    pub creds_data: String,
    #[schemars(with = "String")]
    pub expires_at: Timestamp,
    /// The node that the approval made the host, with its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Registered>,
}

impl EnrollStatus {
    pub fn of(host: &HostId, enrollment: &Enrollment) -> EnrollStatus {
        let state = enrollment.shown_state().as_str().to_owned();
        EnrollStatus { id: enrollment.id.to_string(), peel_id: host.to_string(), state }
    }
}
