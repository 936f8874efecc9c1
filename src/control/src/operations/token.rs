//! `token create|list|show|revoke`: join tokens of a project.

use super::{Call, Place};
use crate::execute::{Decision, Fact, now, unix_ms};
use contract::{Answer, ApiError, CreateJoinToken, JoinTokenBody, JoinTokenCreated};
use domain::join_token::{self, Created, Event, JoinToken};
use domain::{Aggregate, JoinTokenId, Position};
use serde_json::{Value, json};
use views::State;

/// Tells a join token from other secrets, for people and for scanners of leaked secrets.
const PREFIX: &str = "pjt_";
/// How many characters of a token its fact shows.
const SHOWN_CHARS: usize = PREFIX.len() + 8;

impl Call<'_> {
    /// The record first, then the fact, as at registration: a hash without a fact opens nothing.
    pub(super) async fn create_join_token(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let show = |state: &State, aggregate: &Aggregate, token: Option<String>| {
            let join_token = JoinTokenBody::from(state.join_tokens.get(aggregate.id().parse().ok()?)?);
            let replayed = token.is_none();
            serde_json::to_value(JoinTokenCreated { join_token, token, replayed }).ok()
        };
        if let Some(answer) = self.replay(|state, aggregate, _| show(state, aggregate, None))? {
            return Ok(answer);
        }
        let wanted = CreateJoinToken::parse(self.request.body.clone())?;
        if wanted.expires_at.is_some_and(|at| at <= now()) {
            return Err(ApiError::field("expires_at", "must be in the future"));
        }
        let token = format!("{PREFIX}{}", trust::new_secret());
        let hash = trust::secret_hash(&token);
        let id = JoinTokenId::from_parts(unix_ms(), trust::random_bytes());
        let created = Created {
            name: wanted.name,
            labels: wanted.labels,
            expires_at: wanted.expires_at,
            uses_max: wanted.uses_max,
            approval: wanted.approval,
            token_prefix: token.chars().take(SHOWN_CHARS).collect(),
        };
        self.control.keep_join_token(id, hash).await?;
        let aggregate = Aggregate::JoinToken { org: place.org, project: place.project, id };
        let decide = |_: &State| {
            let event = domain::Event::JoinToken(Event::Created(created.clone()));
            Ok(Decision::Append(Box::new(Fact::next(aggregate.clone(), Position::START, event)), aggregate.clone()))
        };
        let render = |state: &State, aggregate: &Aggregate, replayed: bool| {
            show(state, aggregate, (!replayed).then(|| token.clone()))
        };
        let answer = self.mutate(decide, render).await;
        let stored = answer.as_ref().is_ok_and(|answer| answer.body.get("token").is_some());
        let refused = answer.as_ref().is_err_and(|e| e.code.status() < 500);
        if !stored && (answer.is_ok() || refused) {
            self.control.drop_join_token_hash(&hash).await;
        }
        answer
    }

    pub(super) fn list_join_tokens(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        self.read(|state| {
            let tokens: Vec<JoinTokenBody> =
                state.join_tokens.of_project(&place.project).map(JoinTokenBody::from).collect();
            Ok(json!({"total": tokens.len(), "join_tokens": tokens}))
        })
    }

    pub(super) fn show_join_token(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        self.read(|state| Ok(json!({"join_token": JoinTokenBody::from(find(state, &place, self.id())?)})))
    }

    pub(super) async fn revoke_join_token(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let decide = |state: &State| {
            let token = find(state, &place, self.id())?;
            let (org, project) = (token.org.clone(), token.project.clone());
            let aggregate = Aggregate::JoinToken { org, project, id: token.id };
            Ok(match join_token::revoke(token) {
                Some(event) => {
                    let fact = Fact::next(aggregate.clone(), token.position, domain::Event::JoinToken(event));
                    Decision::Append(Box::new(fact), aggregate)
                }
                None => Decision::Nothing(aggregate),
            })
        };
        let answer = self.mutate(decide, render).await?;
        if let Ok(id) = self.id().parse() {
            self.control.drop_join_token(id).await;
        }
        Ok(answer)
    }
}

fn render(state: &State, aggregate: &Aggregate, _replayed: bool) -> Option<Value> {
    let token = state.join_tokens.get(aggregate.id().parse().ok()?)?;
    Some(json!({"join_token": JoinTokenBody::from(token)}))
}

fn find<'s>(state: &'s State, place: &Place, id: &str) -> Result<&'s JoinToken, ApiError> {
    let token = id.parse().ok().and_then(|id| state.join_tokens.get(id));
    let seen = token.filter(|token| token.org == place.org && token.project == place.project);
    seen.ok_or_else(|| ApiError::not_found("Join token"))
}
