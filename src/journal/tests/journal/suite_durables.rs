//! What every backend does with durable places in the journal.

use crate::fact;
use crate::suite::{last, settle, stored};
use crate::suite_records::again;
use domain::Position;
use jiff::Timestamp;
use journal::{Durable, DurableStart, DurableState, Durables, JournalReader, JournalWriter, StoreError};

pub async fn durables<B: Durables + JournalWriter + JournalReader>(backend: &B) {
    assert_eq!(list(backend).await, []);
    let before = Timestamp::now();
    let first = stored(settle(backend, fact("dur", "n1", "registered", Position::START, "a.0")).await);
    let second = stored(settle(backend, fact("dur", "n1", "seen", first, "b.0")).await);
    stored(settle(backend, fact("else", "n1", "registered", Position::START, "c.0")).await);

    let starts = [
        ("sub-all", DurableStart::Beginning, 2),
        ("sub-new", DurableStart::New, 0),
        ("sub-position", DurableStart::Position(second), 1),
        ("sub-time", DurableStart::Time(before), 2),
    ];
    for (name, start, _) in starts {
        again(|| backend.create_durable(durable(name, start))).await.unwrap();
        again(|| backend.create_durable(durable(name, start))).await.unwrap();
    }
    let found = list(backend).await;
    let pending = found.iter().map(|state| (state.name.as_str(), state.pending)).collect::<Vec<_>>();
    assert_eq!(pending, starts.map(|(name, _, pending)| (name, pending)));
    assert!(found.iter().all(|state| state.created_at >= before && state.unacknowledged == 0));

    let other = again(|| backend.create_durable(durable("sub-all", DurableStart::New))).await;
    assert!(matches!(other, Err(StoreError::Conflict)), "{other:?}");
    let end = last(backend).await;
    stored(settle(backend, fact("dur", "n1", "left", second, "d.0")).await);
    assert!(list(backend).await.iter().any(|state| (state.name.as_str(), state.pending) == ("sub-new", 1)));

    for (name, ..) in starts {
        again(|| backend.remove_durable(name)).await.unwrap();
        again(|| backend.remove_durable(name)).await.unwrap();
    }
    assert_eq!(list(backend).await, []);
    assert_eq!(last(backend).await, Position(end.0 + 1), "no fact went with them");
}

fn durable(name: &str, start: DurableStart) -> Durable {
    Durable { name: name.to_owned(), filter: "fleet.dur.>".to_owned(), start }
}

async fn list(backend: &impl Durables) -> Vec<DurableState> {
    again(|| backend.durables()).await.unwrap()
}
