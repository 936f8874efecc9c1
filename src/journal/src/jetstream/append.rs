//! The one place that publishes into the journal.
//!
//! The server checks the expectation before it looks at the message id: a repeat of an append that was stored (its answer got
//! lost) is answered like a lost race. So every conflict is looked into: when the first fact that matches the guard after the
//! expected position carries our message id, it is ours, and the answer is its position.

use super::{Api, Failure, JetStream};
use crate::contract::{Append, BATCH_FACTS_MAX, BODY_BYTES_MAX, Guard, JournalWriter, Outcome};
use crate::declaration::FLEET;
use async_nats::header::{self, HeaderMap, HeaderName, HeaderValue};
use domain::Position;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::time::Duration;

/// How long the server may take to acknowledge a fact; a synced disk under load needs a few hundred milliseconds.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
const BATCH_TIMEOUT: Duration = Duration::from_secs(4);
const GUARD_FILTER: HeaderName = HeaderName::from_static("Nats-Expected-Last-Subject-Sequence-Subject");

impl JournalWriter for JetStream {
    fn append(&self, fact: Append) -> BoxFuture<'_, Outcome> {
        Box::pin(append(&self.api, fact))
    }

    fn append_batch(&self, mut facts: Vec<Append>) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            match facts.len() {
                // A batch of one would take one of the few places for open batches.
                1 => append(&self.api, facts.remove(0)).await,
                2..=BATCH_FACTS_MAX => self.append_many(facts).await,
                n => Outcome::Unknown(format!("a batch holds 1 to {BATCH_FACTS_MAX} facts, not {n}")),
            }
        })
    }
}

async fn append(api: &Api, fact: Append) -> Outcome {
    let (subject, headers) = match prepare(&fact, true) {
        Ok(prepared) => prepared,
        Err(cause) => return Outcome::Unknown(cause),
    };
    match api.publish(subject, Some(headers), fact.body, APPEND_TIMEOUT).await {
        Ok(ack) => Outcome::Committed { position: Position(ack.seq), duplicate: ack.duplicate },
        Err(failure) if failure.is_conflict() => {
            let ours = find(api, &fact.guard, &fact.message_id).await;
            ours.unwrap_or_else(|| conflict(&failure))
        }
        Err(failure) => Outcome::Unknown(failure.to_string()),
    }
}

impl JetStream {
    async fn append_many(&self, facts: Vec<Append>) -> Outcome {
        let Ok(_place) = self.batches.acquire().await else {
            return Outcome::Unknown("the journal is closed".to_owned());
        };
        let count = facts.len();
        let (Some(first), Some(last)) = (facts.first(), facts.last()) else {
            return Outcome::Unknown("a batch holds at least one fact".to_owned());
        };
        let (guard, first_id, last_id) = (first.guard.clone(), first.message_id.clone(), last.message_id.clone());
        match self.publish_batch(facts).await {
            Ok(outcome) => outcome,
            Err(failure) if failure.is_conflict() || failure.is_batch_duplicate() => {
                match find_batch(&self.api, &guard, &first_id, &last_id, count).await {
                    Some(ours) => ours,
                    None if failure.is_conflict() => conflict(&failure),
                    None => Outcome::Unknown(failure.to_string()),
                }
            }
            Err(failure) => Outcome::Unknown(failure.to_string()),
        }
    }

    /// All but the last are plain publishes on the same connection; the last one commits and is the one that is answered.
    async fn publish_batch(&self, facts: Vec<Append>) -> Result<Outcome, Failure> {
        let batch_id = self.api.client().new_inbox();
        let batch_id = batch_id.rsplit('.').next().unwrap_or(&batch_id).to_owned();
        let count = facts.len();
        let mut guarded: HashMap<String, Position> = HashMap::with_capacity(count);
        let mut messages = Vec::with_capacity(count);
        for (index, fact) in facts.into_iter().enumerate() {
            // The server accepts one expectation per aggregate and batch, on its first message.
            let is_first = match guarded.get(&fact.guard.filter) {
                Some(expected) if *expected == fact.guard.expected => false,
                Some(_) => return Ok(Outcome::Conflict { actual: None }),
                None => true,
            };
            let (subject, mut headers) = match prepare(&fact, is_first) {
                Ok(prepared) => prepared,
                Err(cause) => return Ok(Outcome::Unknown(cause)),
            };
            headers.insert(header::NATS_BATCH_ID, batch_id.as_str());
            headers.insert(header::NATS_BATCH_SEQUENCE, HeaderValue::from(index + 1));
            guarded.insert(fact.guard.filter, fact.guard.expected);
            messages.push((subject, headers, fact.body));
        }
        let Some((subject, mut headers, body)) = messages.pop() else {
            return Ok(Outcome::Unknown("a batch holds at least one fact".to_owned()));
        };
        for (subject, headers, body) in messages {
            let sent = self.api.client().publish_with_headers(subject, headers, body).await;
            sent.map_err(|error| Failure::Silent(error.to_string()))?;
        }
        headers.insert(header::NATS_BATCH_COMMIT, header::NATS_BATCH_COMMIT_FINAL);
        let ack = self.api.publish(subject, Some(headers), body, BATCH_TIMEOUT).await?;
        Ok(Outcome::Committed { position: Position(ack.seq), duplicate: ack.duplicate })
    }
}

/// The subject that writers may publish on, and the headers; or why this is not a fact.
fn prepare(fact: &Append, is_guarded: bool) -> Result<(String, HeaderMap), String> {
    let rest =
        fact.subject.strip_prefix("fleet.").ok_or_else(|| format!("{:?} is not a fact's subject", fact.subject))?;
    if fact.body.len() > BODY_BYTES_MAX {
        return Err(format!("a fact's body is at most {BODY_BYTES_MAX} bytes, not {}", fact.body.len()));
    }
    let value = |text: &str| text.parse::<HeaderValue>().map_err(|_| format!("{text:?} cannot stand in a header"));
    let mut headers = HeaderMap::new();
    headers.insert(header::NATS_MESSAGE_ID, value(&fact.message_id)?);
    if is_guarded {
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(fact.guard.expected.0));
        headers.insert(GUARD_FILTER, value(&fact.guard.filter)?);
    }
    Ok((format!("append.{rest}"), headers))
}

/// Our own fact, when it was stored under this very guard: then it is the first one that matches after the expected position.
async fn find(api: &Api, guard: &Guard, message_id: &str) -> Option<Outcome> {
    match api.next(FLEET, &guard.filter, guard.expected.0 + 1).await {
        Ok(Some(stored)) if stored.header("Nats-Msg-Id") == Some(message_id) => {
            Some(Outcome::Committed { position: Position(stored.sequence), duplicate: true })
        }
        Ok(_) => None,
        Err(failure) => Some(Outcome::Unknown(failure.to_string())),
    }
}

/// The same for a batch, whose facts stand one after the other.
async fn find_batch(api: &Api, guard: &Guard, first_id: &str, last_id: &str, count: usize) -> Option<Outcome> {
    let position = match find(api, guard, first_id).await? {
        Outcome::Committed { position, .. } => position.0 + count as u64 - 1,
        other => return Some(other),
    };
    match api.at(FLEET, position).await {
        Ok(Some(stored)) if stored.header("Nats-Msg-Id") == Some(last_id) => {
            Some(Outcome::Committed { position: Position(position), duplicate: true })
        }
        Ok(_) => None,
        Err(failure) => Some(Outcome::Unknown(failure.to_string())),
    }
}

/// The server has no field for the actual position; its text ends with it. This is a hint alone: without it the caller asks.
fn conflict(failure: &Failure) -> Outcome {
    let actual = match failure {
        Failure::Refused(refusal) => refusal.description.rsplit(' ').next().and_then(|word| word.parse().ok()),
        Failure::Silent(_) => None,
    };
    Outcome::Conflict { actual: actual.map(Position) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn fact(subject: &str, message_id: &str) -> Append {
        let guard = Guard { filter: "fleet.o.p.node.n.>".to_owned(), expected: Position(3) };
        Append { subject: subject.to_owned(), guard, message_id: message_id.to_owned(), body: Bytes::new() }
    }

    #[test]
    fn what_cannot_be_sent_is_not_sent() {
        assert!(prepare(&fact("append.o.p.node.n.x", "a.0"), true).is_err());
        assert!(prepare(&fact("fleet.o.p.node.n.x", "a\r\nNats-Rollup: all"), true).is_err());
        let sent =
            prepare(&fact("fleet.o.p.node.n.x", "a.0"), false).map(|(subject, headers)| (subject, headers.len()));
        assert_eq!(sent, Ok(("append.o.p.node.n.x".to_owned(), 1)));
    }

    #[test]
    fn the_actual_position_is_a_hint() {
        let refused = |description: &str| {
            let description = description.to_owned();
            conflict(&Failure::Refused(super::super::api::Refusal { code: 400, err_code: 10071, description }))
        };
        assert_eq!(refused("wrong last sequence: 17"), Outcome::Conflict { actual: Some(Position(17)) });
        assert_eq!(refused("wrong last sequence"), Outcome::Conflict { actual: None });
    }
}
