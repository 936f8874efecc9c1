//! Subscribers on the wire.

use crate::fields::{FieldErrors, Fields};
use domain::subscriber::{self, Start, Subscriber};
use domain::{Slug, SubscriberId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The stream that holds the facts.
const STREAM: &str = "FLEET";
/// Under this domain clients outside of the control plane reach their consumers: `$JS.<domain>.API`.
const DOMAIN: &str = "fleet";
const START_ADVICE: &str = r#"must be "beginning", "new", {"position": 17} or {"time": "2026-02-23T10:00:00Z"}"#;

/// `POST /api/v1/subscribers`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateSubscriber {
    /// Unique among the subscribers of the org.
    pub name: Slug,
    /// Of the NATS user that will follow: its id from now on.
    pub public_key: SubscriberId,
    /// Slug of the only project whose facts it gets; absent: all facts of the org.
    pub project: Option<Slug>,
    /// The first fact that it gets; absent: the first of all.
    pub start: Start,
    /// When the credential ends, as a remark; the credential itself decides.
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
}

impl CreateSubscriber {
    pub fn parse(body: Value) -> Result<CreateSubscriber, FieldErrors> {
        let mut fields = Fields::new(body);
        let name = fields.required_parsed("name");
        let public_key = fields.required_parsed("public_key");
        let project = fields.parsed("project");
        let start = fields.typed("start", START_ADVICE).unwrap_or(Start::Beginning);
        if start == Start::Position(0) {
            fields.error("start", "must name a position from 1 on");
        }
        let expires_at = fields.time("expires_at");
        fields.refuse_rest("known are name, public_key, project, start, expires_at");
        let both = name.zip(public_key);
        let value = both.map(|(name, public_key)| CreateSubscriber { name, public_key, project, start, expires_at });
        fields.finish(value)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriberBody {
    /// The public key of its NATS user.
    pub id: String,
    pub name: String,
    pub org: String,
    /// The only project whose facts it gets.
    pub project: Option<String>,
    pub start: Start,
    /// Where its facts are.
    pub stream: String,
    /// Its consumer of that stream.
    pub durable: String,
    /// The JetStream domain under which it reaches the consumer.
    pub domain: String,
    /// What the inboxes of its connection must begin with.
    pub inbox_prefix: String,
    /// The facts that it gets, also as plain messages.
    pub filter: String,
    /// Absent: not known, or the consumer is missing.
    pub progress: Option<SubscriberProgress>,
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    #[schemars(with = "String")]
    pub inserted_at: Timestamp,
}

/// `GET /api/v1/subscribers`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriberList {
    /// Slug of the org that the list is of.
    pub org: String,
    pub total: usize,
    pub subscribers: Vec<SubscriberBody>,
}

/// How far a subscriber has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriberProgress {
    /// Position of the newest fact that it was given.
    pub delivered: u64,
    /// All of its facts up to this position are acknowledged.
    pub acknowledged: u64,
    /// Facts that were given and not acknowledged yet.
    pub unacknowledged: u64,
    /// Facts that it was not given yet: its lag.
    pub pending: u64,
}

impl From<&Subscriber> for SubscriberBody {
    fn from(subscriber: &Subscriber) -> SubscriberBody {
        let project = subscriber.created.project.as_ref();
        SubscriberBody {
            id: subscriber.id.to_string(),
            name: subscriber.created.name.to_string(),
            org: subscriber.org.to_string(),
            project: project.map(Slug::to_string),
            start: subscriber.created.start,
            stream: STREAM.to_owned(),
            durable: subscriber::durable(&subscriber.id),
            domain: DOMAIN.to_owned(),
            inbox_prefix: format!("_INBOX_{}", subscriber.id),
            filter: domain::facts_filter(&subscriber.org, project),
            progress: None,
            expires_at: subscriber.created.expires_at,
            inserted_at: subscriber.created_at,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key() -> String {
        "U".repeat(56)
    }

    #[test]
    fn a_subscriber_needs_a_name_and_a_key() {
        let bare = CreateSubscriber::parse(json!({"name": "billing", "public_key": key()})).unwrap();
        assert_eq!((bare.project, bare.start, bare.expires_at), (None, Start::Beginning, None));
        let full = json!({"name": "billing", "public_key": key(), "project": "demo", "start": {"position": 17},
            "expires_at": "2027-01-01T00:00:00Z"});
        let full = CreateSubscriber::parse(full).unwrap();
        assert_eq!((full.start, full.project.unwrap().as_str()), (Start::Position(17), "demo"));
    }

    #[test]
    fn every_refusal_names_its_field() {
        for (field, value) in [
            ("name", json!("Bill.ing")),
            ("name", json!(null)),
            ("public_key", json!("A".repeat(56))),
            ("public_key", json!(format!("{}.", "U".repeat(55)))),
            ("project", json!("*")),
            ("start", json!("tomorrow")),
            ("start", json!({"position": 0})),
            ("start", json!({"position": -1})),
            ("start", json!({"time": "tomorrow"})),
            ("start", json!({"position": 1, "time": "2026-02-23T10:00:00Z"})),
            ("expires_at", json!("tomorrow")),
            ("seed", json!("SU")),
        ] {
            let mut body = json!({"name": "billing", "public_key": key()});
            body[field] = value;
            let errors = CreateSubscriber::parse(body.clone()).unwrap_err();
            assert_eq!(errors.0.keys().collect::<Vec<_>>(), [field], "{body}");
        }
    }
}
