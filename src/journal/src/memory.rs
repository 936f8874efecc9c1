//! The same contract without a server: for router tests and simulations. Nothing outlives the process.
//!
//! Invariant: expectations, repeats, batches, revisions and the forgetting of `PULSE` behave as in JetStream. Clones share the
//! same store, like connections to the same server.

mod durables;
mod journal;
mod pulse;
mod records;
mod telemetry;

use crate::contract::{Blobs, Report, Snapshots, StoreError, Stored};
use bytes::Bytes;
use domain::Position;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How much a follower takes at once.
const CHUNK_MAX: usize = 512;

/// Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    /// Wakes all followers.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// `None`: the system's clock.
    clock: Option<Timestamp>,
    facts: Vec<Stored>,
    /// The message id of each fact.
    ids: Vec<String>,
    /// Message ids within the window in which repeats are recognised.
    known: HashMap<String, Known>,
    records: HashMap<&'static str, records::Bucket>,
    blobs: HashMap<String, Bytes>,
    pulses: pulse::Pulses,
    telemetry: Vec<Report>,
    durables: BTreeMap<String, durables::Kept>,
    snapshots: BTreeMap<String, (Position, Bytes)>,
}

#[derive(Clone, Copy)]
struct Known {
    position: Position,
    time: Timestamp,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Memory {
    pub fn new() -> Memory {
        Memory { inner: Arc::new(Inner { state: Mutex::default(), changed: watch::Sender::new(()) }) }
    }

    /// From now on the store's time is this one until it is set again.
    pub fn set_time(&self, time: Timestamp) {
        self.change(|state| state.clock = Some(time));
    }

    /// All telemetry that was recorded, oldest first: subject and body.
    pub fn telemetry(&self) -> Vec<(String, Bytes)> {
        self.lock().telemetry.iter().map(|report| (report.subject.clone(), report.body.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.inner.changed.send_replace(());
        result
    }

    /// Everything that `next` finds from a cursor on, now and after every change. `next` moves the cursor.
    fn tail<C, T>(&self, cursor: C, next: fn(&State, &mut C) -> Vec<T>) -> BoxStream<'static, T>
    where
        C: Send + 'static,
        T: Send + 'static,
    {
        let changed = self.inner.changed.subscribe();
        stream::unfold((self.clone(), cursor, changed), move |(this, mut cursor, mut changed)| async move {
            loop {
                changed.mark_unchanged();
                let found = next(&this.lock(), &mut cursor);
                if !found.is_empty() {
                    return Some((stream::iter(found), (this, cursor, changed)));
                }
                // Cannot fail: `this` holds the sender.
                changed.changed().await.ok()?;
            }
        })
        .flatten()
        .boxed()
    }
}

impl State {
    fn now(&self) -> Timestamp {
        self.clock.unwrap_or_else(Timestamp::now)
    }
}

impl Blobs for Memory {
    fn put(&self, bytes: Bytes) -> BoxFuture<'_, Result<String, StoreError>> {
        Box::pin(async move {
            let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
            self.change(|state| state.blobs.insert(digest.clone(), bytes));
            Ok(digest)
        })
    }

    fn len(&self, digest: &str) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        let length = self.lock().blobs.get(digest).map(|bytes| bytes.len() as u64);
        Box::pin(async move { Ok(length) })
    }

    fn read(&self, digest: &str, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let blob = self.lock().blobs.get(digest).cloned();
        Box::pin(async move {
            let (Some(blob), Some(range)) = (blob.clone(), range) else { return Ok(blob) };
            if range.start > range.end || range.end > blob.len() as u64 {
                return Err(StoreError::TooLarge(format!("bytes {range:?} of a blob of {}", blob.len())));
            }
            Ok(Some(blob.slice(range.start as usize..range.end as usize)))
        })
    }
}

impl Snapshots for Memory {
    fn save(&self, view: &str, position: Position, bytes: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        let view = view.to_owned();
        Box::pin(async move {
            self.change(|state| match state.snapshots.get(&view) {
                Some((newest, _)) if *newest >= position => {}
                _ => {
                    state.snapshots.insert(view, (position, bytes));
                }
            });
            Ok(())
        })
    }

    fn newest(&self, view: &str) -> BoxFuture<'_, Result<Option<(Position, Bytes)>, StoreError>> {
        let newest = self.lock().snapshots.get(view).cloned();
        Box::pin(async move { Ok(newest) })
    }
}
