//! `subscriber create|list|remove`

use super::Call;
use crate::execute::{Decision, Fact, now, store_error, unavailable};
use contract::{Answer, ApiError, CreateSubscriber, SubscriberBody, SubscriberList, SubscriberProgress};
use domain::subscriber::{self, Created, Rejection, Start, Subscriber};
use domain::{Aggregate, Position, Slug, SubscriberId, facts_filter};
use journal::{Durable, DurableStart, DurableState, StoreError};
use serde_json::{Value, json};
use std::collections::HashMap;
use views::State;

impl Call<'_> {
    /// The consumer first, then the fact: a consumer without a fact is swept, a fact without a consumer would leave its
    /// subscriber with nothing to follow. The same request again, under whatever command, finds both and changes neither.
    pub(super) async fn create_subscriber(&self) -> Result<Answer, ApiError> {
        if let Some(answer) = self.replay(render)? {
            return Ok(answer);
        }
        let wanted = CreateSubscriber::parse(self.request.body.clone())?;
        let created = self.check(&wanted).await?;
        let (id, org) = (wanted.public_key, self.caller.org.clone());
        let aggregate = Aggregate::Subscriber { org: org.clone(), id: id.clone() };
        let decide = |state: &State| decide(state, &aggregate, &id, &created);
        // What will be refused leaves no consumer.
        decide(&self.control.views().read())?;
        let durable = Durable {
            name: subscriber::durable(&id),
            filter: facts_filter(&org, created.project.as_ref()),
            start: durable_start(created.start),
        };
        self.control.durables().create_durable(durable).await.map_err(|e| match e {
            StoreError::Conflict => refused(Rejection::KeyUsed),
            e => store_error(e),
        })?;
        let answer = self.mutate(decide, render).await;
        let lost = answer.as_ref().is_err_and(|e| e.code.status() < 500);
        if lost && !self.control.views().read().subscribers.get(&id).is_some_and(Subscriber::is_live) {
            // Left where it cannot be removed now, it is swept.
            let _ = self.control.durables().remove_durable(&subscriber::durable(&id)).await;
        }
        answer
    }

    /// With how far each has come, as the server knows it at this moment.
    pub(super) async fn list_subscribers(&self) -> Result<Answer, ApiError> {
        let durables = self.control.durables().durables().await.map_err(store_error)?;
        let mut progress: HashMap<String, SubscriberProgress> =
            durables.into_iter().map(|state| (state.name.clone(), told(&state))).collect();
        self.read(|state| {
            let seen = state.subscribers.live(&self.caller.org).filter(|subscriber| self.sees_subscriber(subscriber));
            let mut subscribers: Vec<SubscriberBody> = seen.map(SubscriberBody::from).collect();
            for subscriber in &mut subscribers {
                subscriber.progress = progress.remove(&subscriber.durable);
            }
            subscribers.sort_by(|a, b| a.name.cmp(&b.name));
            let (org, total) = (self.caller.org.to_string(), subscribers.len());
            serde_json::to_value(SubscriberList { org, total, subscribers })
                .map_err(|e| unavailable(&format!("the list cannot be written: {e}")))
        })
    }

    /// The fact first: from then on the consumer is nobody's. What the repeat finds removed, it removes once more.
    pub(super) async fn remove_subscriber(&self) -> Result<Answer, ApiError> {
        let decide = |state: &State| {
            let subscriber = self.find_subscriber(state).ok_or_else(|| ApiError::not_found("Subscriber"))?;
            let aggregate = Aggregate::Subscriber { org: subscriber.org.clone(), id: subscriber.id.clone() };
            Ok(match subscriber::remove(subscriber) {
                Some(event) => {
                    let event = domain::Event::Subscriber(event);
                    Decision::Append(Box::new(Fact::next(aggregate.clone(), subscriber.position, event)), aggregate)
                }
                None => Decision::Nothing(aggregate),
            })
        };
        let answer = self.mutate(decide, |_, aggregate, _| Some(json!({"id": aggregate.id()}))).await?;
        if let Some(id) = answer.body.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok()) {
            self.control.durables().remove_durable(&subscriber::durable(&id)).await.map_err(store_error)?;
        }
        Ok(answer)
    }

    /// What the fact will say, when the journal and the caller allow it.
    async fn check(&self, wanted: &CreateSubscriber) -> Result<Created, ApiError> {
        let project = wanted.project.clone().or_else(|| self.caller.project.clone());
        if let Some(project) = &project {
            let knows = || {
                let state = self.control.views().read();
                state.orgs.project(project).is_some_and(|found| self.caller.sees(&found.org, &found.slug))
            };
            if !knows() {
                self.control.catch_up().await?;
            }
            if !knows() {
                return Err(ApiError::field("project", "does not exist"));
            }
        }
        if wanted.expires_at.is_some_and(|at| at <= now()) {
            return Err(ApiError::field("expires_at", "must be in the future"));
        }
        if let Start::Position(position) = wanted.start {
            let last = self.control.reader().last_position().await.map_err(store_error)?;
            if position > last.0.saturating_add(1) {
                return Err(ApiError::field("start", format!("lies beyond the journal, which ends at {last}")));
            }
        }
        let (name, start, expires_at) = (wanted.name.clone(), wanted.start, wanted.expires_at);
        Ok(Created { name, project, start, expires_at })
    }

    /// By id, removed ones too, or by name.
    fn find_subscriber<'s>(&self, state: &'s State) -> Option<&'s Subscriber> {
        let found = match self.id().parse::<SubscriberId>() {
            Ok(id) => state.subscribers.get(&id),
            Err(_) => {
                let name: Slug = self.id().parse().ok()?;
                state.subscribers.live(&self.caller.org).find(|subscriber| subscriber.created.name == name)
            }
        };
        found.filter(|subscriber| self.sees_subscriber(subscriber))
    }

    fn sees_subscriber(&self, subscriber: &Subscriber) -> bool {
        let only = self.caller.project.as_ref();
        subscriber.org == self.caller.org && only.is_none_or(|only| subscriber.created.project.as_ref() == Some(only))
    }
}

fn decide(
    state: &State,
    aggregate: &Aggregate,
    id: &SubscriberId,
    created: &Created,
) -> Result<Decision<Aggregate>, ApiError> {
    let org = aggregate.org();
    let same_name = state.subscribers.live(org).filter(|subscriber| subscriber.created.name == created.name);
    let same_key = state.subscribers.get(id);
    // A key of another org's subscriber is as used.
    if same_key.is_some_and(|known| known.org != *org) {
        return Err(refused(Rejection::KeyUsed));
    }
    Ok(match subscriber::create(created, same_key, same_name).map_err(refused)? {
        Some(event) => {
            let expected = state.subscribers.created_position(org);
            let event = domain::Event::Subscriber(event);
            Decision::Append(Box::new(Fact::first(aggregate.clone(), expected, event)), aggregate.clone())
        }
        None => Decision::Nothing(aggregate.clone()),
    })
}

fn refused(rejection: Rejection) -> ApiError {
    let field = match rejection {
        Rejection::NameTaken => "name",
        Rejection::KeyUsed => "public_key",
    };
    ApiError::field(field, rejection.to_string())
}

fn render(state: &State, aggregate: &Aggregate, _replayed: bool) -> Option<Value> {
    let subscriber = state.subscribers.get(&aggregate.id().parse().ok()?)?;
    serde_json::to_value(SubscriberBody::from(subscriber)).ok()
}

fn durable_start(start: Start) -> DurableStart {
    match start {
        Start::Beginning => DurableStart::Beginning,
        Start::New => DurableStart::New,
        Start::Position(position) => DurableStart::Position(Position(position)),
        Start::Time(time) => DurableStart::Time(time),
    }
}

fn told(state: &DurableState) -> SubscriberProgress {
    SubscriberProgress {
        delivered: state.delivered.0,
        acknowledged: state.acknowledged.0,
        unacknowledged: state.unacknowledged,
        pending: state.pending,
    }
}
