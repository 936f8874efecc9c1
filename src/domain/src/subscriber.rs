//! A subscriber: a program outside of the control plane that follows an org's facts at its own pace. Its place in the journal is
//! a durable consumer that the server keeps, so how far it has come is no fact; that it exists, and what it may hear, is.

use crate::event::events;
use crate::{Position, Slug, SubscriberId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Tells the consumers of subscribers from others of the same stream.
const DURABLE_PREFIX: &str = "sub-";

events! {
    /// A program was given a durable place in the journal. Its id is the public key of its NATS user; its credential was made elsewhere.
    Created(Created) = "created" v 1,
    /// The durable place is gone; the credential ends when it expires.
    Removed(Removed) = "removed" v 1,
}

/// The first fact that a subscriber is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The first one of all.
    Beginning,
    /// The first one after its creation.
    New,
    /// The one at this position, or the next one.
    Position(u64),
    /// The first one that was stored at this time or later.
    Time(#[schemars(with = "String")] Timestamp),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// Unique among the subscribers of the org.
    pub name: Slug,
    /// Absent: all facts of the org.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Slug>,
    pub start: Start,
    /// When its credential ends, as its maker said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscriber {
    pub id: SubscriberId,
    pub org: Slug,
    pub created: Created,
    pub created_at: Timestamp,
    pub created_position: Position,
    pub removed_at: Option<Timestamp>,
    pub position: Position,
}

/// Why there will be no such subscriber.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    #[error("has already been taken")]
    NameTaken,
    #[error("was used before; make a new key")]
    KeyUsed,
}

/// Decides on a new subscriber. `same_key` and `same_name` are those that have its key, or its name in the same org, removed ones
/// included. None: it exists already, exactly so.
pub fn create<'a>(
    wanted: &Created,
    same_key: Option<&Subscriber>,
    same_name: impl IntoIterator<Item = &'a Subscriber>,
) -> Result<Option<Event>, Rejection> {
    if let Some(known) = same_key {
        return match known.is_live() && known.created == *wanted {
            true => Ok(None),
            false => Err(Rejection::KeyUsed),
        };
    }
    match same_name.into_iter().any(Subscriber::is_live) {
        true => Err(Rejection::NameTaken),
        false => Ok(Some(Event::Created(wanted.clone()))),
    }
}

/// None: it is removed already.
pub fn remove(subscriber: &Subscriber) -> Option<Event> {
    subscriber.is_live().then_some(Event::Removed(Removed {}))
}

/// The name of the consumer of a subscriber.
pub fn durable(id: &SubscriberId) -> String {
    format!("{DURABLE_PREFIX}{id}")
}

/// Whose consumer it is; none when it is no subscriber's.
pub fn owner_of_durable(name: &str) -> Option<SubscriberId> {
    name.strip_prefix(DURABLE_PREFIX)?.parse().ok()
}

impl Subscriber {
    pub fn created(org: Slug, id: SubscriberId, fact: &Created, time: Timestamp, position: Position) -> Subscriber {
        let created = fact.clone();
        Subscriber { id, org, created, created_at: time, created_position: position, removed_at: None, position }
    }

    pub fn evolve(&mut self, event: &Event, time: Timestamp, position: Position) {
        self.position = position;
        match event {
            Event::Created(_) => {}
            Event::Removed(_) => self.removed_at = Some(time),
        }
    }

    pub fn is_live(&self) -> bool {
        self.removed_at.is_none()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
