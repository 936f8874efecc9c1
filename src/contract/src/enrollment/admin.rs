//! Enrollments as operators see them.

use crate::fields::{FieldErrors, Fields};
use domain::enrollment::{Enrollment, Host};
use domain::{Labels, Slug};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

const REASON_CHARS_MAX: usize = 1000;
const FINGERPRINT_CHARS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnrollmentBody {
    pub id: String,
    pub peel_id: String,
    pub hostname: Option<String>,
    /// `pending`, `approved`, `rejected`, `issued`, `active` or `revoked`
    pub state: String,
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    pub metadata: BTreeMap<String, String>,
    #[schemars(with = "String")]
    pub updated_at: Timestamp,
    /// Slug of the org.
    pub org: String,
    /// Public nkey of the host.
    pub public_key: String,
    /// `SHA256:` and 43 characters: what an approval can be bound to.
    pub fingerprint: String,
    pub curve_public_key: String,
    /// Where the request came from.
    pub remote_addr: String,
    pub join_token_id: Option<String>,
    /// Who approved or rejected it.
    pub decided_by: Option<String>,
    #[schemars(with = "Option<String>")]
    pub decided_at: Option<Timestamp>,
    pub reject_reason: Option<String>,
    pub revoked_by: Option<String>,
    #[schemars(with = "Option<String>")]
    pub revoked_at: Option<Timestamp>,
    pub revoke_reason: Option<String>,
    #[schemars(with = "Option<String>")]
    pub issued_at: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    /// Fresh credentials wait for the host.
    pub renewing: bool,
    /// An operator revoked this host before.
    pub revoked_before: bool,
    pub project: Option<String>,
    pub node_id: Option<String>,
}

impl EnrollmentBody {
    /// `fingerprint` is the key's.
    pub fn of(host: &Host, enrollment: &Enrollment, fingerprint: String) -> EnrollmentBody {
        let (decided, revoked) = (enrollment.decided.as_ref(), enrollment.revoked.as_ref());
        let issued = enrollment.issued.as_ref();
        let rejected = decided.filter(|_| enrollment.state == domain::enrollment::State::Rejected);
        let second = |s: i64| Timestamp::from_second(s).ok();
        EnrollmentBody {
            id: enrollment.id.to_string(),
            peel_id: host.id.to_string(),
            hostname: enrollment.hostname.clone(),
            state: enrollment.state.as_str().to_owned(),
            created_at: enrollment.created_at,
            metadata: enrollment.metadata.clone(),
            updated_at: enrollment.updated_at,
            org: host.org.to_string(),
            public_key: enrollment.public_key.clone(),
            fingerprint,
            curve_public_key: enrollment.curve_public_key.clone(),
            remote_addr: enrollment.remote_addr.clone(),
            join_token_id: enrollment.join_token.map(|id| id.to_string()),
            decided_by: decided.map(|verdict| verdict.by.to_string()),
            decided_at: decided.map(|verdict| verdict.at),
            reject_reason: rejected.and_then(|verdict| verdict.reason.clone()),
            revoked_by: revoked.map(|verdict| verdict.by.to_string()),
            revoked_at: revoked.map(|verdict| verdict.at),
            revoke_reason: revoked.and_then(|verdict| verdict.reason.clone()),
            issued_at: issued.and_then(|issued| second(issued.issued_at_s)),
            expires_at: issued.and_then(|issued| second(issued.expires_at_s)),
            renewing: enrollment.renewing,
            revoked_before: !host.blocked.is_empty(),
            project: enrollment.node.as_ref().map(|(project, _)| project.to_string()),
            node_id: enrollment.node.as_ref().map(|(_, id)| id.to_string()),
        }
    }
}

/// `POST /api/v1/enrollments/{id}/approve`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApproveEnrollment {
    /// The key that was looked at: its fingerprint, or the public key itself. Another one is refused.
    pub fingerprint: Option<String>,
    /// Makes the host a node of this project.
    pub project: Option<Slug>,
    /// Labels of that node.
    pub labels: Labels,
}

impl ApproveEnrollment {
    pub fn parse(body: Value) -> Result<ApproveEnrollment, FieldErrors> {
        let mut fields = Fields::new(body);
        let fingerprint = fields.text("fingerprint", FINGERPRINT_CHARS_MAX);
        let project = fields.parsed::<Slug>("project");
        let labels = fields.labels("labels");
        if !labels.is_empty() && project.is_none() {
            fields.error("labels", "are a node's: name a project too");
        }
        fields.refuse_rest("known are fingerprint, project, labels");
        fields.finish(Some(ApproveEnrollment { fingerprint, project, labels }))
    }
}

/// `POST /api/v1/enrollments/{id}/reject` and `…/revoke`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnrollmentReason {
    pub reason: Option<String>,
}

impl EnrollmentReason {
    pub fn parse(body: Value) -> Result<EnrollmentReason, FieldErrors> {
        let mut fields = Fields::new(body);
        let reason = fields.text("reason", REASON_CHARS_MAX).filter(|reason| !reason.is_empty());
        fields.finish(Some(EnrollmentReason { reason }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_approval_may_be_bare() {
        let bare = ApproveEnrollment { fingerprint: None, project: None, labels: Labels::default() };
        assert_eq!(ApproveEnrollment::parse(json!({})), Ok(bare));
        let full = json!({"fingerprint": "SHA256:x", "project": "demo", "labels": {"env": "prod"}});
        assert_eq!(ApproveEnrollment::parse(full).unwrap().project, Some("demo".parse().unwrap()));
        for (body, field) in [
            (json!({"labels": {"env": "prod"}}), "labels"),
            (json!({"project": "No!"}), "project"),
            (json!({"fingerprint": 1}), "fingerprint"),
            (json!({"force": true}), "force"),
        ] {
            let errors = ApproveEnrollment::parse(body.clone()).unwrap_err();
            assert_eq!(errors.0.keys().collect::<Vec<_>>(), [field], "{body}");
        }
        assert_eq!(EnrollmentReason::parse(json!({"reason": ""})), Ok(EnrollmentReason { reason: None }));
        assert!(EnrollmentReason::parse(json!({"reason": "x".repeat(1001)})).is_err());
    }
}
