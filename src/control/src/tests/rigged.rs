//! A memory store whose bad days are chosen by the test, and which counts what it is asked.

use bytes::Bytes;
use domain::Position;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use journal::{
    Append, Blobs, Bucket, FactQuestion, Facts, JournalReader, JournalWriter, Memory, Outcome, Pulse, PulseKind,
    PulseMessage, Record, RecordChange, Records, StoreError, Stored,
};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tokio::sync::watch;

/// Cheap to clone; clones share the store and its bad days.
#[derive(Clone)]
pub(crate) struct Rigged {
    pub memory: Memory,
    pub days: Arc<Days>,
}

#[derive(Default)]
pub(crate) struct Days {
    /// So many of the next appends are carried out, and their answers get lost.
    pub answers_lost: AtomicU64,
    pub pulse_fails: AtomicBool,
    pub reader_fails: AtomicBool,
    pub records_fail: AtomicBool,
    pub blobs_lost: AtomicBool,
    pub blobs_damaged: AtomicBool,
    /// Appends wait until this is false.
    pub appends_held: watch::Sender<bool>,
    pub appends: AtomicU64,
    pub positions_asked: AtomicU64,
    pub records_read: AtomicU64,
    pub blobs_put: AtomicU64,
    pub blobs_read: AtomicU64,
    pub beats_written: AtomicU64,
}

impl Rigged {
    pub fn new() -> Rigged {
        Rigged { memory: Memory::new(), days: Arc::default() }
    }

    fn lost(&self, outcome: Outcome) -> Outcome {
        let lost = self.days.answers_lost.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        lost.map_or(outcome, |_| Outcome::Unknown("the answer got lost".to_owned()))
    }
}

impl JournalWriter for Rigged {
    fn append(&self, fact: Append) -> BoxFuture<'_, Outcome> {
        async move {
            self.days.appends.fetch_add(1, SeqCst);
            let mut held = self.days.appends_held.subscribe();
            held.wait_for(|held| !held).await.unwrap();
            let outcome = self.memory.append(fact).await;
            self.lost(outcome)
        }
        .boxed()
    }

    fn append_batch(&self, facts: Vec<Append>) -> BoxFuture<'_, Outcome> {
        async move {
            let outcome = self.memory.append_batch(facts).await;
            self.lost(outcome)
        }
        .boxed()
    }
}

impl JournalReader for Rigged {
    fn last_position(&self) -> BoxFuture<'_, Result<Position, StoreError>> {
        self.days.positions_asked.fetch_add(1, SeqCst);
        if self.days.reader_fails.load(SeqCst) {
            return async { Err(away()) }.boxed();
        }
        self.memory.last_position()
    }

    fn follow(&self, after: Position) -> BoxStream<'static, Stored> {
        JournalReader::follow(&self.memory, after)
    }

    fn facts(&self, question: FactQuestion) -> BoxFuture<'_, Result<Facts, StoreError>> {
        self.memory.facts(question)
    }
}

impl Pulse for Rigged {
    fn publish(&self, kind: PulseKind, edge: &str, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        if self.days.pulse_fails.load(SeqCst) {
            return async { Err(away()) }.boxed();
        }
        self.days.beats_written.fetch_add(u64::from(kind == PulseKind::Beat), SeqCst);
        self.memory.publish(kind, edge, body)
    }

    fn follow(&self) -> BoxStream<'static, PulseMessage> {
        Pulse::follow(&self.memory)
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.memory.last_sequence()
    }
}

impl Blobs for Rigged {
    fn put(&self, bytes: Bytes) -> BoxFuture<'_, Result<String, StoreError>> {
        self.days.blobs_put.fetch_add(1, SeqCst);
        self.memory.put(bytes)
    }

    fn len(&self, digest: &str) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        self.memory.len(digest)
    }

    fn read(&self, digest: &str, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.days.blobs_read.fetch_add(1, SeqCst);
        if self.days.blobs_lost.load(SeqCst) {
            return async { Ok(None) }.boxed();
        }
        let damaged = self.days.blobs_damaged.load(SeqCst);
        let read = self.memory.read(digest, range);
        async move {
            let bytes = read.await?;
            Ok(bytes.map(|bytes| match damaged {
                true => [&bytes[..bytes.len() - 1], &[!bytes[bytes.len() - 1]]].concat().into(),
                false => bytes,
            }))
        }
        .boxed()
    }
}

impl Records for Rigged {
    fn get(&self, bucket: Bucket, key: &str) -> BoxFuture<'_, Result<Option<Record>, StoreError>> {
        self.days.records_read.fetch_add(1, SeqCst);
        if self.days.records_fail.load(SeqCst) {
            return async { Err(away()) }.boxed();
        }
        self.memory.get(bucket, key)
    }

    fn create(&self, bucket: Bucket, key: &str, value: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        if self.days.records_fail.load(SeqCst) {
            return async { Err(away()) }.boxed();
        }
        self.memory.create(bucket, key, value)
    }

    fn update(&self, bucket: Bucket, key: &str, value: Bytes, revision: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.memory.update(bucket, key, value, revision)
    }

    fn remove(&self, bucket: Bucket, key: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        self.memory.remove(bucket, key)
    }

    fn watch(&self, bucket: Bucket) -> BoxStream<'static, RecordChange> {
        self.memory.watch(bucket)
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("away".to_owned())
}
