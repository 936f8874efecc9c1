//! Enrollment, the hosts' side: a challenge, the request that answers it, how it goes on, and the credentials at its end. The
//! words of refusals and the order of checks are the enrollment documents'.
//!
//! Absent on purpose: the operators' side (`operations/enroll.rs`), and what happens on its own (`reactors/enrollment.rs`).

mod challenge;
mod creds;
mod node_key;
mod rules;
mod submit;
mod watch;

pub use rules::AutoApproval;
pub use watch::{EnrollmentNews, EnrollmentWatch};

pub(crate) use node_key::approved_key_id;
pub(crate) use watch::{Watches, follow};

use crate::control::Control;
use contract::{ApiError, EnrollStatus, ErrorCode};
use domain::enrollment::{Enrollment, Host, Renewal};
use domain::{EnrollmentId, JoinTokenId};
use std::time::Duration;

/// How enrollment is run here.
#[derive(Clone, Debug)]
pub struct EnrollmentSettings {
    /// Seconds that credentials are valid, less a spread that keeps a fleet's from ending together.
    pub lifetime_s: i64,
    pub renewal: Renewal,
    /// Seconds that a request waits for a decision.
    pub pending_s: i64,
    /// Requests that may wait, all together, and of one site without a join token.
    pub pending_max: usize,
    pub pending_per_site_max: usize,
    pub auto_approve: Vec<AutoApproval>,
    /// Open streams of states, all together, of one enrollment, and of one site without a join token.
    pub streams_max: usize,
    pub streams_per_enrollment_max: usize,
    pub streams_per_site_max: usize,
    /// How long a stream may be silent before it says that it lives, and how long it may go on at all.
    pub stream_quiet: Duration,
    pub stream_time_max: Duration,
}

impl Default for EnrollmentSettings {
    fn default() -> EnrollmentSettings {
        EnrollmentSettings {
            lifetime_s: 180 * 86_400,
            renewal: Renewal::Renew,
            pending_s: 86_400,
            pending_max: 10_000,
            pending_per_site_max: 100,
            auto_approve: Vec::new(),
            streams_max: 2_000,
            streams_per_enrollment_max: 4,
            streams_per_site_max: 32,
            stream_quiet: Duration::from_secs(30),
            stream_time_max: Duration::from_secs(30 * 60),
        }
    }
}

impl Control {
    /// `GET /api/v1/enroll/{id}/status`
    pub async fn enrollment_status(&self, id: &str) -> Result<EnrollStatus, ApiError> {
        self.with_enrollment(id, |host, enrollment| EnrollStatus::of(&host.id, enrollment)).await
    }

    /// The join token, if this replica knows that it is good. Costs no question to the store.
    pub fn known_join_token(&self, secret: &str) -> Option<JoinTokenId> {
        let id = self.credentials().join_token(&trust::secret_hash(secret))?;
        let state = self.views().read();
        let token = state.join_tokens.get(id)?;
        token.obstacle(crate::execute::now()).is_none().then_some(id)
    }

    /// What this replica knows of an enrollment, after catching up when it knows nothing.
    pub(crate) async fn with_enrollment<T>(
        &self,
        id: &str,
        look: impl Fn(&Host, &Enrollment) -> T,
    ) -> Result<T, ApiError> {
        let id: EnrollmentId = id.parse().map_err(|_| enrollment_not_found())?;
        let known = || self.views().read().enrollments.get(&id).map(|(host, enrollment)| look(host, enrollment));
        if let Some(found) = known() {
            return Ok(found);
        }
        self.catch_up().await?;
        known().ok_or_else(enrollment_not_found)
    }
}

pub(crate) fn enrollment_not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "enrollment not found")
}
