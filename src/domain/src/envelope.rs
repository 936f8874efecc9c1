//! The body of a fact: lean JSON whose field names are CloudEvents' where they overlap. What follows from the subject or is
//! constant (source, spec version, content type) is derived, not stored.

use crate::{Aggregate, CommandId, Event, Position, SubjectError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Who caused a fact. Comes from the connection (API key, node credential, NATS user), never from a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Actor {
    /// Pilothouse itself: timers, reactors, provisioning.
    System,
    ApiKey(String),
    Node(String),
    /// A host that registers with a join token, by the token's id.
    JoinToken(String),
    /// A host that enrolls and has proven its key, by its id.
    Host(String),
    /// An operator by the public nkey of the NATS user.
    Operator(String),
    /// A client without credentials, as at registration in an open project.
    Anonymous,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::System => f.write_str("system"),
            Actor::Anonymous => f.write_str("anonymous"),
            Actor::ApiKey(id) => write!(f, "api_key:{id}"),
            Actor::JoinToken(id) => write!(f, "join_token:{id}"),
            Actor::Node(id) => write!(f, "node:{id}"),
            Actor::Host(id) => write!(f, "host:{id}"),
            Actor::Operator(nkey) => write!(f, "operator:{nkey}"),
        }
    }
}

impl FromStr for Actor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.split_once(':') {
            None if text == "system" => Actor::System,
            None if text == "anonymous" => Actor::Anonymous,
            Some(("api_key", id)) => Actor::ApiKey(id.to_owned()),
            Some(("join_token", id)) => Actor::JoinToken(id.to_owned()),
            Some(("node", id)) => Actor::Node(id.to_owned()),
            Some(("host", id)) => Actor::Host(id.to_owned()),
            Some(("operator", nkey)) => Actor::Operator(nkey.to_owned()),
            _ => return Err(format!("{text:?} is not an actor")),
        })
    }
}

impl TryFrom<String> for Actor {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> String {
        actor.to_string()
    }
}

/// What is common to all facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub command: CommandId,
    /// Index of the fact among those of its command.
    pub index: u32,
    pub time: Timestamp,
    pub actor: Actor,
    /// First 8 bytes of the SHA-256 of the request body, where the command came with an `Idempotency-Key`: tells a repeat from
    /// another request under the same key.
    pub request: Option<u64>,
    pub event: Event,
}

/// A fact as a view receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub position: Position,
    pub aggregate: Aggregate,
    pub envelope: Envelope,
}

#[derive(Debug, Error)]
pub enum DecodeError {
    #[error(transparent)]
    Subject(#[from] SubjectError),
    #[error("the body of {subject} is not a fact")]
    Body { subject: String, source: serde_json::Error },
    #[error(
        "{subject} carries {found}, an event that this version does not know; upgrade before following the journal"
    )]
    UnknownEvent { subject: String, found: String },
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    /// `<command id>.<index>`
    #[serde(borrow)]
    id: Cow<'a, str>,
    /// `<kind>.<event>`
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    v: u32,
    time: Timestamp,
    actor: Actor,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    request: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Envelope {
    /// `<command id>.<index>`: the id of the fact and its `Nats-Msg-Id`.
    pub fn id(&self) -> String {
        format!("{}.{}", self.command, self.index)
    }

    pub fn encode(&self) -> Vec<u8> {
        let data = self.event.data();
        let wire = Wire {
            id: self.id().into(),
            kind: self.event.type_name().into(),
            v: self.event.version(),
            time: self.time,
            actor: self.actor.clone(),
            request: self.request.map(|hash| format!("{hash:016x}")),
            data: &data,
        };
        serde_json::to_vec(&wire).expect("strings, integers and already encoded JSON always encode")
    }

    /// Reads a stored fact. An event that this version does not know is an error, never skipped.
    pub fn decode(position: Position, subject: &str, body: &[u8]) -> Result<Recorded, DecodeError> {
        let (aggregate, name) = Aggregate::parse(subject)?;
        let wrong = |source| DecodeError::Body { subject: subject.to_owned(), source };
        let invalid = |text: &str| wrong(serde::de::Error::custom(text.to_owned()));
        let wire: Wire = serde_json::from_slice(body).map_err(wrong)?;
        let (command, index) = wire.id.split_once('.').ok_or_else(|| invalid("id has no index"))?;
        if index.starts_with('+') || (index.starts_with('0') && index != "0") {
            return Err(invalid("index has more than one spelling"));
        }
        let event = Event::read(aggregate.kind(), name, wire.v, wire.data.get()).map_err(wrong)?.ok_or_else(|| {
            DecodeError::UnknownEvent { subject: subject.to_owned(), found: format!("{} v{}", wire.kind, wire.v) }
        })?;
        if wire.kind.split_once('.') != Some((aggregate.kind().token(), name)) {
            return Err(invalid("type does not fit the subject"));
        }
        let request = wire.request.map(|hex| u64::from_str_radix(&hex, 16)).transpose();
        let envelope = Envelope {
            command: command.parse().map_err(|_| invalid("id is not a command id"))?,
            index: index.parse().map_err(|_| invalid("index is not a number"))?,
            time: wire.time,
            actor: wire.actor,
            request: request.map_err(|_| invalid("request is not a hash"))?,
            event,
        };
        Ok(Recorded { position, aggregate, envelope })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
