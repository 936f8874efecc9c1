//! `PULSE` in memory: forgets by the store's own time.

use super::{CHUNK_MAX, Memory, State};
use crate::contract::{Pulse, PulseKind, PulseMessage, StoreError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use jiff::SignedDuration;
use std::collections::VecDeque;

/// As long as the stream `PULSE` keeps a message.
const AGE_MAX: SignedDuration = SignedDuration::from_secs(600);

#[derive(Default)]
pub(super) struct Pulses {
    last: u64,
    held: VecDeque<PulseMessage>,
}

impl Pulse for Memory {
    fn publish(&self, kind: PulseKind, edge: &str, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        let edge = edge.to_owned();
        Box::pin(async move {
            self.change(|state| {
                let time = state.now();
                let pulses = &mut state.pulses;
                pulses.last += 1;
                pulses.held.push_back(PulseMessage { sequence: pulses.last, time, kind, edge, body });
                while pulses.held.front().is_some_and(|first| time.duration_since(first.time) > AGE_MAX) {
                    pulses.held.pop_front();
                }
            });
            Ok(())
        })
    }

    fn follow(&self) -> BoxStream<'static, PulseMessage> {
        self.tail(0, |state: &State, seen: &mut u64| {
            let fresh = |message: &&PulseMessage| {
                message.sequence > *seen && state.now().duration_since(message.time) <= AGE_MAX
            };
            let news: Vec<_> = state.pulses.held.iter().filter(fresh).take(CHUNK_MAX).cloned().collect();
            *seen = news.last().map_or(*seen, |message| message.sequence);
            news
        })
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        let last = self.lock().pulses.last;
        Box::pin(async move { Ok(last) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures_util::StreamExt;
    use jiff::Timestamp;

    #[tokio::test]
    async fn what_is_older_than_ten_minutes_is_forgotten() {
        let memory = Memory::new();
        for (edge, second) in [("old", 0), ("young", 500), ("new", 900)] {
            memory.set_time(Timestamp::from_second(second).unwrap());
            memory.publish(PulseKind::Tick, edge, Bytes::new()).await.unwrap();
        }
        let held: Vec<String> = Pulse::follow(&memory).take(2).map(|pulse| pulse.edge).collect().await;
        assert_eq!(held, ["young", "new"]);
        assert_eq!(memory.last_sequence().await.unwrap(), 3);
    }
}
