//! Facts of the past, read message by message from the leader: nothing is left behind on the server (no consumer), and no right
//! is needed beyond that of looking at a message.

use super::api::{Api, RawMessage};
use crate::contract::{FactQuestion, Facts, StoreError, Stored};
use crate::declaration::FLEET;
use domain::Position;

const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

pub(super) async fn facts(api: &Api, question: FactQuestion) -> Result<Facts, StoreError> {
    let FactQuestion { filter, after, facts_max, bytes_max } = question;
    let (mut facts, mut bytes) = (Facts::default(), 0);
    let mut next = api.next(FLEET, &filter, after.0.saturating_add(1)).await?;
    while let Some(message) = next {
        if facts.found.len() >= facts_max || bytes >= bytes_max {
            facts.is_cut = true;
            break;
        }
        bytes += message.payload.len();
        let after = message.sequence;
        facts.found.push(stored(message)?);
        next = api.next(FLEET, &filter, after + 1).await?;
    }
    Ok(facts)
}

fn stored(message: RawMessage) -> Result<Stored, StoreError> {
    let damaged = |error| StoreError::Corrupt(format!("time of message {}: {error}", message.sequence));
    let time = message.time.parse().map_err(damaged)?;
    let batch_end = message.header(BATCH_ID).is_none() || message.header(BATCH_COMMIT).is_some();
    let RawMessage { sequence, subject, payload, .. } = message;
    Ok(Stored { position: Position(sequence), subject, time, body: payload, batch_end })
}
