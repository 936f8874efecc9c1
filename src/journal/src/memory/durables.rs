//! Durable places in memory. Nobody can follow one here, so none ever moves.

use super::journal::matches;
use super::{Memory, State};
use crate::contract::{Durable, DurableStart, DurableState, Durables, StoreError};
use domain::Position;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

pub(super) struct Kept {
    durable: Durable,
    created_at: Timestamp,
    /// The last position before its first fact.
    before: Position,
}

impl Durables for Memory {
    fn create_durable(&self, durable: Durable) -> BoxFuture<'_, Result<(), StoreError>> {
        let created = self.change(|state| match state.durables.get(&durable.name) {
            Some(kept) if kept.durable == durable => Ok(()),
            Some(_) => Err(StoreError::Conflict),
            None => {
                let (created_at, before) = (state.now(), before(state, durable.start));
                state.durables.insert(durable.name.clone(), Kept { durable, created_at, before });
                Ok(())
            }
        });
        Box::pin(async move { created })
    }

    fn durables(&self) -> BoxFuture<'_, Result<Vec<DurableState>, StoreError>> {
        let state = self.lock();
        let all = state.durables.values().map(|kept| {
            let waits = state.facts.iter().filter(|fact| fact.position > kept.before);
            let pending = waits.filter(|fact| matches(&kept.durable.filter, &fact.subject)).count() as u64;
            DurableState {
                name: kept.durable.name.clone(),
                created_at: kept.created_at,
                delivered: kept.before,
                acknowledged: kept.before,
                unacknowledged: 0,
                pending,
            }
        });
        let all = all.collect();
        drop(state);
        Box::pin(async move { Ok(all) })
    }

    fn remove_durable(&self, name: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(|state| state.durables.remove(name));
        Box::pin(async { Ok(()) })
    }
}

fn before(state: &State, start: DurableStart) -> Position {
    let last = state.facts.last().map_or(Position::START, |fact| fact.position);
    match start {
        DurableStart::Beginning => Position::START,
        DurableStart::New => last,
        DurableStart::Position(position) => Position(position.0.saturating_sub(1)).min(last),
        DurableStart::Time(time) => {
            let first = state.facts.iter().find(|fact| fact.time >= time);
            first.map_or(last, |fact| Position(fact.position.0.saturating_sub(1)))
        }
    }
}
