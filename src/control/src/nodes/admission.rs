//! Who may register: what the project's policy asks for, and what the join token brings along.

use crate::control::Control;
use contract::{ApiError, ErrorCode};
use domain::node::Registered;
use domain::project::Registration;
use domain::{Actor, JoinTokenId, Labels, Slug};
use std::collections::BTreeMap;

const MISSING: &str = "Missing join token. Provide X-Pilothouse-Join-Token header.";
const ENROLLED_ONLY: &str = "this project takes enrolled hosts only";

/// A registration that the project may let through.
pub(super) struct Admission {
    pub org: Slug,
    pub project: Slug,
    pub token: Option<ShownToken>,
}

/// A token of the project. Whether it still opens anything is decided with the registration.
pub(super) struct ShownToken {
    pub id: JoinTokenId,
    labels: Labels,
    approval: bool,
}

impl Admission {
    /// Part of the command's id too: holders of different tokens may choose the same `Idempotency-Key`.
    pub fn actor(&self) -> Actor {
        self.token.as_ref().map_or(Actor::Anonymous, |token| Actor::JoinToken(token.id.to_string()))
    }

    /// What the token says of its nodes stands over what they say of themselves.
    pub fn stamp(&self, fact: &mut Registered) -> Result<(), ApiError> {
        let Some(token) = &self.token else { return Ok(()) };
        let mut labels = BTreeMap::from(std::mem::take(&mut fact.labels));
        labels.extend(BTreeMap::from(token.labels.clone()));
        fact.labels = Labels::try_from(labels).map_err(|e| ApiError::field("labels", e.to_string()))?;
        fact.join_token_id = Some(token.id);
        fact.approval_required = token.approval;
        Ok(())
    }
}

impl Control {
    /// A token is judged wherever it is shown: in an open project a wrong one is a mistake worth telling.
    pub(super) async fn admit(&self, slug: &str, join_token: Option<&str>) -> Result<Admission, ApiError> {
        let (org, project, policy) = self.project_to_join(slug).await?;
        let token = match (policy, join_token) {
            (Registration::Enrolled, _) => {
                return Err(ApiError::new(ErrorCode::RegistrationClosed, ENROLLED_ONLY));
            }
            (Registration::Token, None) => return Err(ApiError::new(ErrorCode::MissingCredential, MISSING)),
            (Registration::Open, None) => None,
            (Registration::Open | Registration::Token, Some(secret)) => {
                Some(self.shown_token(&org, &project, secret).await?)
            }
        };
        Ok(Admission { org, project, token })
    }

    async fn shown_token(&self, org: &Slug, project: &Slug, secret: &str) -> Result<ShownToken, ApiError> {
        let id = self.owner_of_join_token(secret).await?.ok_or_else(token_refused)?;
        if self.views().read().join_tokens.get(id).is_none() {
            self.catch_up().await?;
        }
        let state = self.views().read();
        let token = state.join_tokens.get(id).filter(|token| token.org == *org && token.project == *project);
        let token = token.ok_or_else(token_refused)?;
        Ok(ShownToken { id, labels: token.created.labels.clone(), approval: token.created.approval })
    }

    async fn project_to_join(&self, slug: &str) -> Result<(Slug, Slug, Registration), ApiError> {
        let not_found = || ApiError::not_found("Project");
        let slug: Slug = slug.parse().map_err(|_| not_found())?;
        let known = || {
            let state = self.views().read();
            state.orgs.project(&slug).map(|project| (project.org.clone(), project.slug.clone(), project.registration))
        };
        if let Some(found) = known() {
            return Ok(found);
        }
        self.catch_up().await?;
        known().ok_or_else(not_found)
    }
}

/// Unknown, another project's, revoked, expired, used up: a stranger is not told which.
pub(crate) fn token_refused() -> ApiError {
    ApiError::new(ErrorCode::InvalidCredential, "Invalid or expired join token")
}
