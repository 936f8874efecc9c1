//! Records in memory. A bucket counts its changes like the stream behind a KV bucket; a removed record leaves a marker.

use super::{Memory, State};
use crate::contract::{self, Record, RecordChange, Records, StoreError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Bucket {
    revision: u64,
    /// Key and value at each revision; without a value it is a marker. One entry per key.
    changes: BTreeMap<u64, (String, Option<Bytes>)>,
    newest: BTreeMap<String, u64>,
}

impl Bucket {
    fn live(&self, key: &str) -> Option<(u64, &Bytes)> {
        let revision = *self.newest.get(key)?;
        Some((revision, self.changes.get(&revision)?.1.as_ref()?))
    }

    fn write(&mut self, key: &str, value: Option<Bytes>) -> u64 {
        self.revision += 1;
        if let Some(older) = self.newest.insert(key.to_owned(), self.revision) {
            self.changes.remove(&older);
        }
        self.changes.insert(self.revision, (key.to_owned(), value));
        self.revision
    }
}

struct Cursor {
    bucket: contract::Bucket,
    seen: u64,
    is_caught_up: bool,
}

impl Records for Memory {
    fn get(&self, bucket: contract::Bucket, key: &str) -> BoxFuture<'_, Result<Option<Record>, StoreError>> {
        let key = key.to_owned();
        Box::pin(async move {
            bucket.check(&key)?;
            let state = self.lock();
            let live = state.records.get(bucket.name()).and_then(|bucket| bucket.live(&key));
            let live = live.map(|(revision, value)| (revision, value.clone()));
            Ok(live.map(|(revision, value)| Record { key, value, revision }))
        })
    }

    fn create(&self, bucket: contract::Bucket, key: &str, value: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        let key = key.to_owned();
        Box::pin(async move {
            bucket.check(&key)?;
            self.change(|state| {
                let bucket = state.records.entry(bucket.name()).or_default();
                match bucket.live(&key) {
                    Some(_) => Err(StoreError::Conflict),
                    None => Ok(bucket.write(&key, Some(value))),
                }
            })
        })
    }

    fn update(
        &self,
        bucket: contract::Bucket,
        key: &str,
        value: Bytes,
        revision: u64,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        let key = key.to_owned();
        Box::pin(async move {
            bucket.check(&key)?;
            self.change(|state| {
                let bucket = state.records.entry(bucket.name()).or_default();
                match bucket.newest.get(&key).copied().unwrap_or(0) == revision {
                    true => Ok(bucket.write(&key, Some(value))),
                    false => Err(StoreError::Conflict),
                }
            })
        })
    }

    fn remove(&self, bucket: contract::Bucket, key: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.to_owned();
        Box::pin(async move {
            bucket.check(&key)?;
            self.change(|state| {
                let bucket = state.records.entry(bucket.name()).or_default();
                if bucket.live(&key).is_some() {
                    bucket.write(&key, None);
                }
            });
            Ok(())
        })
    }

    fn watch(&self, bucket: contract::Bucket) -> BoxStream<'static, RecordChange> {
        self.tail(Cursor { bucket, seen: 0, is_caught_up: false }, next)
    }
}

fn next(state: &State, cursor: &mut Cursor) -> Vec<RecordChange> {
    let mut found = Vec::new();
    if let Some(bucket) = state.records.get(cursor.bucket.name()) {
        for (&revision, (key, value)) in bucket.changes.range(cursor.seen + 1..) {
            let key = key.clone();
            match value {
                Some(value) => found.push(RecordChange::Put(Record { key, value: value.clone(), revision })),
                None if cursor.is_caught_up => found.push(RecordChange::Removed { key, revision }),
                None => {}
            }
        }
        cursor.seen = bucket.revision;
    }
    if !std::mem::replace(&mut cursor.is_caught_up, true) {
        found.push(RecordChange::CaughtUp);
    }
    found
}
