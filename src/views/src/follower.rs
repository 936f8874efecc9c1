//! Following the journal: one ordered follower per replica feeds the state and wakes everybody who waits for a fact.

use crate::snapshot::VIEW;
use crate::state::State;
use domain::{DecodeError, Envelope, Position, Recorded};
use futures_util::StreamExt;
use journal::{JournalReader, Snapshots, StoreError, Stored};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

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
    /// Facts of a batch whose last one has not arrived: half a batch is never shown.
    arrived: Mutex<Vec<Arc<Recorded>>>,
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
        Views { inner: Arc::new(Inner { state: RwLock::new(state), arrived: Mutex::default(), position, facts }) }
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
                tracing::warn!(error = &e as &dyn std::error::Error, "snapshot ignored: rebuilding from the journal");
                Ok(Views::default())
            }
        }
    }

    /// The state at one moment. Hold it briefly and never across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.inner.state.read().unwrap_or_else(PoisonError::into_inner)
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
    /// Writes a snapshot every `snapshot_every` facts, one at a time, while following goes on.
    pub async fn follow(
        &self,
        reader: Arc<dyn JournalReader>,
        snapshots: Arc<dyn Snapshots>,
        snapshot_every: u64,
    ) -> FollowError {
        // What an earlier follower left half comes again.
        self.arrived().clear();
        let mut last_snapshot = self.position();
        let mut saving: Option<JoinHandle<()>> = None;
        let mut journal = reader.follow(last_snapshot).ready_chunks(APPLY_BATCH_MAX);
        let mut outcome = Ok(());
        while let (Ok(()), Some(chunk)) = (&outcome, journal.next().await) {
            outcome = self.apply(chunk);
            let due = self.position().0.saturating_sub(last_snapshot.0) >= snapshot_every;
            if due && saving.as_ref().is_none_or(JoinHandle::is_finished) {
                last_snapshot = self.position();
                let (views, snapshots) = (self.clone(), snapshots.clone());
                saving = Some(tokio::spawn(async move { views.save(snapshots.as_ref()).await }));
            }
        }
        if let Some(saving) = saving {
            // A panic in there is no reason to hide why following ended.
            let _ = saving.await;
        }
        match outcome {
            Err(e) => e.into(),
            Ok(()) => FollowError::Ended,
        }
    }

    /// Writes a snapshot; a failure costs only the next start some time and is logged.
    pub async fn save(&self, snapshots: &dyn Snapshots) {
        let views = self.clone();
        // Encoding a large fleet takes longer than a runtime thread may be held.
        let encoding = tokio::task::spawn_blocking(move || {
            let state = views.read();
            state.to_snapshot().map(|bytes| (state.position, bytes))
        });
        match encoding.await {
            Ok(Ok((position, bytes))) => {
                if let Err(e) = snapshots.save(VIEW, position, bytes.into()).await {
                    tracing::warn!(error = &e as &dyn std::error::Error, "snapshot not saved");
                }
            }
            Ok(Err(e)) => tracing::error!(error = &e as &dyn std::error::Error, "snapshot not encoded"),
            Err(e) => tracing::error!(error = &e as &dyn std::error::Error, "snapshot not encoded"),
        }
    }

    /// Takes facts in, in order. The facts of a batch are held back until its last one is here. An error leaves out the fact that
    /// cannot be understood and all after it.
    pub fn apply(&self, chunk: Vec<Stored>) -> Result<(), DecodeError> {
        let mut arrived = self.arrived();
        let (mut whole, mut outcome) = (0, Ok(()));
        for stored in chunk {
            match Envelope::decode(stored.position, &stored.subject, &stored.body) {
                Ok(fact) => arrived.push(Arc::new(fact)),
                Err(e) => {
                    outcome = Err(e);
                    break;
                }
            }
            if stored.batch_end {
                whole = arrived.len();
            }
        }
        let facts: Vec<Arc<Recorded>> = arrived.drain(..whole).collect();
        let position = {
            let mut state = self.write();
            facts.iter().for_each(|fact| state.apply(fact));
            state.position
        };
        self.inner.position.send_if_modified(|known| std::mem::replace(known, position) != position);
        if self.inner.facts.receiver_count() > 0 {
            for fact in facts {
                // Fails only when the last listener has just left.
                let _ = self.inner.facts.send(fact);
            }
        }
        outcome
    }

    fn arrived(&self) -> MutexGuard<'_, Vec<Arc<Recorded>>> {
        self.inner.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.inner.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
