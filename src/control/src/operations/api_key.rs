//! `apikey create|list|show|revoke`

use super::Call;
use crate::caller::Grants;
use crate::execute::{Decision, Fact, now, unix_ms};
use contract::{Answer, ApiError, ApiKeyBody, ApiKeyCreated, CreateApiKey, ErrorCode};
use domain::api_key::{ApiKey, Created, Event, Revoked, Scope};
use domain::{Actor, Aggregate, ApiKeyId, Position};
use jiff::Timestamp;
use serde_json::json;
use views::State;

/// How many characters of a key its fact shows.
const PREFIX_CHARS: usize = 8;

impl Call<'_> {
    /// The record first, then the fact, as at registration: a hash without a fact opens nothing.
    pub(super) async fn create_api_key(&self) -> Result<Answer, ApiError> {
        let show = |state: &State, aggregate: &Aggregate, key: Option<String>| {
            let api_key = ApiKeyBody::from(state.orgs.api_key(aggregate.id().parse().ok()?)?);
            let replayed = key.is_none();
            serde_json::to_value(ApiKeyCreated { api_key, key, replayed }).ok()
        };
        if let Some(answer) = self.replay(|state, aggregate, _| show(state, aggregate, None))? {
            return Ok(answer);
        }
        let wanted = CreateApiKey::parse(self.request.body.clone())?;
        let expires_at = self.check_grant(&wanted)?;
        let key = trust::new_secret();
        let hash = trust::secret_hash(&key);
        let id = ApiKeyId::from_parts(unix_ms(), trust::random_bytes());
        let created = Created {
            name: wanted.name,
            scopes: wanted.scopes,
            project: wanted.project.or_else(|| self.caller.project.clone()),
            expires_at,
            key_prefix: key.chars().take(PREFIX_CHARS).collect(),
        };
        self.control.keep_api_key(id, hash).await?;
        let aggregate = Aggregate::ApiKey { org: self.caller.org.clone(), id };
        let decide = |_: &State| {
            let event = domain::Event::ApiKey(Event::Created(created.clone()));
            let fact = Fact::next(aggregate.clone(), Position::START, event);
            Ok(Decision::Append(Box::new(fact), aggregate.clone()))
        };
        let render = |state: &State, aggregate: &Aggregate, replayed: bool| {
            show(state, aggregate, (!replayed).then(|| key.clone()))
        };
        let answer = self.mutate(decide, render).await;
        let stored = answer.as_ref().is_ok_and(|answer| answer.body.get("key").is_some());
        let refused = answer.as_ref().is_err_and(|e| e.code.status() < 500);
        if !stored && (answer.is_ok() || refused) {
            self.control.drop_api_key_hash(&hash).await;
        }
        answer
    }

    pub(super) fn list_api_keys(&self) -> Result<Answer, ApiError> {
        self.read(|state| {
            let keys: Vec<ApiKeyBody> =
                state.orgs.api_keys().filter(|key| self.sees(key)).map(ApiKeyBody::from).collect();
            Ok(json!({"total": keys.len(), "api_keys": keys}))
        })
    }

    pub(super) fn show_api_key(&self) -> Result<Answer, ApiError> {
        self.read(|state| Ok(json!({"api_key": ApiKeyBody::from(self.find_api_key(state)?)})))
    }

    pub(super) async fn revoke_api_key(&self) -> Result<Answer, ApiError> {
        let decide = |state: &State| {
            let key = self.find_api_key(state)?;
            let aggregate = Aggregate::ApiKey { org: key.org.clone(), id: key.id };
            if key.revoked_at.is_some() {
                return Ok(Decision::Nothing(aggregate));
            }
            let event = domain::Event::ApiKey(Event::Revoked(Revoked {}));
            Ok(Decision::Append(Box::new(Fact::next(aggregate.clone(), key.position, event)), aggregate))
        };
        let render = |state: &State, aggregate: &Aggregate, _| {
            let key = state.orgs.api_key(aggregate.id().parse().ok()?)?;
            Some(json!({"api_key": ApiKeyBody::from(key)}))
        };
        let answer = self.mutate(decide, render).await?;
        if let Ok(id) = self.id().parse() {
            self.control.drop_api_key(id).await;
        }
        Ok(answer)
    }

    /// A key never may more than its maker, nor for longer. Returns when it expires.
    fn check_grant(&self, wanted: &CreateApiKey) -> Result<Option<Timestamp>, ApiError> {
        if let Some(project) = &wanted.project {
            let state = self.control.views().read();
            let known = state.orgs.project(project).is_some_and(|p| self.caller.sees(&p.org, &p.slug));
            if !known {
                return Err(ApiError::field("project", "does not exist"));
            }
        }
        if wanted.expires_at.is_some_and(|at| at <= now()) {
            return Err(ApiError::field("expires_at", "must be in the future"));
        }
        let until = self.makers_expiry();
        if let (Some(at), Some(until)) = (wanted.expires_at, until)
            && at > until
        {
            let message = format!("must not be after that of the key that asks: {until}");
            return Err(ApiError::field("expires_at", message));
        }
        let expires_at = wanted.expires_at.or(until);
        let Grants::Scopes(own) = &self.caller.grants else { return Ok(expires_at) };
        if wanted.scopes.is_empty() || !wanted.scopes.is_subset(own) {
            let own: Vec<&str> = own.iter().copied().map(Scope::as_str).collect();
            let message = format!("must be among those of the key that asks: {}", own.join(", "));
            return Err(ApiError::field("scopes", message));
        }
        Ok(expires_at)
    }

    /// When the key that asks expires; none for operators, whose credentials NATS judges.
    fn makers_expiry(&self) -> Option<Timestamp> {
        let Actor::ApiKey(id) = &self.caller.actor else { return None };
        self.control.views().read().orgs.api_key(id.parse().ok()?)?.created.expires_at
    }

    fn sees(&self, key: &ApiKey) -> bool {
        key.org == self.caller.org
            && self.caller.project.as_ref().is_none_or(|only| key.created.project.as_ref() == Some(only))
    }

    fn find_api_key<'s>(&self, state: &'s State) -> Result<&'s ApiKey, ApiError> {
        let key = self.id().parse().ok().and_then(|id| state.orgs.api_key(id));
        key.filter(|key| self.sees(key)).ok_or_else(|| ApiError::new(ErrorCode::NotFound, "API key not found"))
    }
}
