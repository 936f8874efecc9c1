//! Heartbeat batches: a stream that forgets.

use super::JetStream;
use super::ordered::{Delivery, Ordered, Start};
use crate::contract::{BODY_BYTES_MAX, Pulse, PulseKind, PulseMessage, StoreError};
use crate::declaration::PULSE;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::time::Duration;

pub(super) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

impl Pulse for JetStream {
    fn publish(&self, kind: PulseKind, edge: &str, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        let subject = format!("pulse.{}.{edge}", kind.token());
        Box::pin(async move {
            if body.len() > BODY_BYTES_MAX {
                return Err(StoreError::TooLarge(format!("a pulse of {} bytes", body.len())));
            }
            self.api.publish(subject, None, body, PUBLISH_TIMEOUT).await?;
            Ok(())
        })
    }

    fn follow(&self) -> BoxStream<'static, PulseMessage> {
        Ordered::new(self.api.clone(), PULSE, Start::After(0)).into_stream(pulse)
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(self.api.info(PULSE).await?.state.last_seq) })
    }
}

fn pulse(delivery: Delivery) -> Option<PulseMessage> {
    let Delivery { sequence, time, message, .. } = delivery;
    let (kind, edge) = message.subject.strip_prefix("pulse.")?.split_once('.')?;
    let kind = PulseKind::from_token(kind)?;
    Some(PulseMessage { sequence, time, kind, edge: edge.to_owned(), body: message.payload })
}
