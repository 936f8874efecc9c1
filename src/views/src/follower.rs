//! Following the journal: one ordered follower per replica feeds the state and wakes everybody who waits for a fact.

use crate::snapshot::VIEW;
use crate::state::State;
use domain::{DecodeError, Envelope, Position, Recorded};
use futures_util::StreamExt;
use journal::{JournalReader, Snapshots, StoreError, Stored};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{broadcast, watch};

/// How many facts are taken in under one lock.
const APPLY_BATCH_MAX: usize = 512;
/// How far a listener may fall behind before it has to look at the state instead.
const LISTENER_FACTS_MAX: usize = 16_384;

#[derive(Debug, Error)]
pub enum FollowError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the journal ended")]
    Ended,
}

/// The views of one replica. Cheap to clone.
#[derive(Clone)]
pub struct Views {
    inner: Arc<Inner>,
}

struct Inner {
    state: RwLock<State>,
    position: watch::Sender<Position>,
    facts: broadcast::Sender<Arc<Recorded>>,
}

impl Default for Views {
    fn default() -> Self {
        Views::new(State::default())
    }
}

impl Views {
    pub fn new(state: State) -> Views {
        let position = watch::Sender::new(state.position);
        let facts = broadcast::Sender::new(LISTENER_FACTS_MAX);
        Views {
            inner: Arc::new(Inner {
                state: RwLock::new(state),
                position,
                facts,
            }),
        }
    }

    /// Starts from the newest usable snapshot; without one, or with one that cannot be read, from nothing.
    pub async fn load(snapshots: &dyn Snapshots) -> Result<Views, StoreError> {
        let Some((position, bytes)) = snapshots.newest(VIEW).await? else {
            return Ok(Views::default());
        };
        match State::from_snapshot(&bytes) {
            Ok(state) if state.position == position => Ok(Views::new(state)),
            Ok(state) => {
                tracing::warn!(named = %position, holds = %state.position, "snapshot ignored: it is not what its name says");
                Ok(Views::default())
            }
            Err(e) => {
                tracing::warn!(
                    error = &e as &dyn std::error::Error,
                    "snapshot ignored: rebuilding from the journal"
                );
                Ok(Views::default())
            }
        }
    }

    /// The state at one moment. Hold it briefly and never across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.inner
            .state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub fn position(&self) -> Position {
        *self.inner.position.borrow()
    }

    /// Every fact from now on. A listener that falls too far behind is told and looks at the state instead.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Recorded>> {
        self.inner.facts.subscribe()
    }

    /// Waits until the state holds `position`; false when that takes longer than `patience`.
    pub async fn wait_for(&self, position: Position, patience: Duration) -> bool {
        let mut seen = self.inner.position.subscribe();
        let reached = seen.wait_for(|now| *now >= position);
        matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
    }

    /// Follows until the process ends. Returns only when a fact cannot be understood: going on would mean to skip it.
    /// Writes a snapshot every `snapshot_every` facts.
    pub async fn follow(
        &self,
        reader: Arc<dyn JournalReader>,
        snapshots: Arc<dyn Snapshots>,
        snapshot_every: u64,
    ) -> FollowError {
        let mut last_snapshot = self.position();
        let mut journal = reader.follow(last_snapshot).ready_chunks(APPLY_BATCH_MAX);
        let mut arrived = Vec::new();
        while let Some(chunk) = journal.next().await {
            arrived.extend(chunk);
            // Half a batch is never shown: its facts wait for the last one.
            let Some(whole) = arrived.iter().rposition(|stored| stored.batch_end) else { continue };
            let rest = arrived.split_off(whole + 1);
            if let Err(e) = self.apply(std::mem::replace(&mut arrived, rest)) {
                return e.into();
            }
            if self.position().0.saturating_sub(last_snapshot.0) >= snapshot_every {
                last_snapshot = self.position();
                self.save(snapshots.as_ref()).await;
            }
        }
        FollowError::Ended
    }

    /// Writes a snapshot; a failure costs only the next start some time and is logged.
    pub async fn save(&self, snapshots: &dyn Snapshots) {
        let encoded = {
            let state = self.read();
            state.to_snapshot().map(|bytes| (state.position, bytes))
        };
        match encoded {
            Ok((position, bytes)) => {
                if let Err(e) = snapshots.save(VIEW, position, bytes.into()).await {
                    tracing::warn!(error = &e as &dyn std::error::Error, "snapshot not saved");
                }
            }
            Err(e) => tracing::error!(error = &e as &dyn std::error::Error, "snapshot not encoded"),
        }
    }

    /// Takes facts in, in order; only whole batches.
    pub fn apply(&self, chunk: Vec<Stored>) -> Result<(), DecodeError> {
        let mut facts = Vec::with_capacity(chunk.len());
        let mut whole = None;
        for stored in &chunk {
            facts.push(Arc::new(Envelope::decode(
                stored.position,
                &stored.subject,
                &stored.body,
            )?));
            if stored.batch_end {
                whole = Some(stored.position);
            }
        }
        {
            let mut state = self.write();
            facts.iter().for_each(|fact| state.apply(fact));
        }
        if let Some(position) = whole {
            self.inner.position.send_replace(position);
        }
        if self.inner.facts.receiver_count() > 0 {
            for fact in facts {
                // Fails only when the last listener has just left.
                let _ = self.inner.facts.send(fact);
            }
        }
        Ok(())
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.inner
            .state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
