//! The real backend: every trait of `contract.rs` over one connection to NATS.
//!
//! Invariant: what was answered with a position or a revision was acknowledged by the stream; what got no answer is never
//! reported as refused. Absent: the creation of streams (`provision`), and any request that removes a message.

mod api;
mod append;
mod blobs;
mod chunks;
mod facts;
mod ordered;
mod pulse;
mod records;
mod snapshots;
mod telemetry;

pub(crate) use api::{Api, Failure};

use crate::contract::{FactQuestion, Facts, JournalReader, StoreError, Stored};
use crate::declaration::FLEET;
use async_nats::{Client, header};
use domain::Position;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use ordered::{Delivery, Ordered, Start};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Atomic batches open at once. The server refuses the 51st of a stream, whoever opened the others.
const BATCHES_OPEN_MAX: usize = 40;

/// Cheap to clone.
#[derive(Clone)]
pub struct JetStream {
    api: Api,
    batches: Arc<Semaphore>,
}

impl JetStream {
    /// The streams must be there already (`provision`).
    pub fn new(client: Client) -> JetStream {
        JetStream { api: Api::new(client), batches: Arc::new(Semaphore::new(BATCHES_OPEN_MAX)) }
    }

    /// How many servers keep each fact.
    pub async fn replicas(&self) -> Result<usize, StoreError> {
        Ok(self.api.info(FLEET).await?.config.num_replicas)
    }
}

impl JournalReader for JetStream {
    fn last_position(&self) -> BoxFuture<'_, Result<Position, StoreError>> {
        Box::pin(async move { Ok(Position(self.api.info(FLEET).await?.state.last_seq)) })
    }

    fn follow(&self, after: Position) -> BoxStream<'static, Stored> {
        let facts = Ordered::new(self.api.clone(), FLEET, Start::After(after.0));
        facts.without_gaps().into_stream(|delivery| Some(stored(delivery)))
    }

    fn facts(&self, question: FactQuestion) -> BoxFuture<'_, Result<Facts, StoreError>> {
        Box::pin(facts::facts(&self.api, question))
    }
}

fn stored(delivery: Delivery) -> Stored {
    let Delivery { sequence, time, message, .. } = delivery;
    // A batch is open from its first message to the one that carries the commit.
    let batch_end = message
        .headers
        .as_ref()
        .is_none_or(|h| h.get(header::NATS_BATCH_ID).is_none() || h.get(header::NATS_BATCH_COMMIT).is_some());
    let subject = message.subject.to_string();
    Stored { position: Position(sequence), subject, time, body: message.payload, batch_end }
}
