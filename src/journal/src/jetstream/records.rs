//! Records as KV buckets: one message per key, changed by compare-and-set on its stream sequence, read from the leader.
//!
//! Invariant: a removed record leaves an empty marker behind, so that a watch that was interrupted learns of the removal from
//! the stream itself.

use super::JetStream;
use super::api::{Api, Failure, RawMessage};
use super::ordered::{Delivery, Ordered, Start};
use crate::contract::{Bucket, Record, RecordChange, Records, StoreError};
use async_nats::header::{self, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::time::Duration;

const PUT_TIMEOUT: Duration = Duration::from_secs(3);
/// A create that meets a removed record, or another write in flight, looks again.
const CREATE_ATTEMPTS_MAX: u32 = 5;
const OPERATION: HeaderName = HeaderName::from_static("KV-Operation");
const REMOVED: &str = "DEL";

impl Records for JetStream {
    fn get(&self, bucket: Bucket, key: &str) -> BoxFuture<'_, Result<Option<Record>, StoreError>> {
        let key = key.to_owned();
        Box::pin(async move {
            let stored = last(&self.api, bucket, &key).await?;
            let live = stored.filter(|message| !is_marker(message));
            Ok(live.map(|message| Record { key, value: message.payload, revision: message.sequence }))
        })
    }

    fn create(&self, bucket: Bucket, key: &str, value: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        let key = key.to_owned();
        Box::pin(async move {
            let (subject, mut expected) = (bucket.subject(&key)?, 0);
            for _ in 0..CREATE_ATTEMPTS_MAX {
                match put(&self.api, subject.clone(), value.clone(), expected).await {
                    Err(failure) if failure.is_conflict() => {}
                    result => return Ok(result?),
                }
                match last(&self.api, bucket, &key).await? {
                    Some(message) if is_marker(&message) => expected = message.sequence,
                    Some(_) => return Err(StoreError::Conflict),
                    None => expected = 0,
                }
            }
            Err(StoreError::Conflict)
        })
    }

    fn update(&self, bucket: Bucket, key: &str, value: Bytes, revision: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        let key = key.to_owned();
        Box::pin(async move { Ok(put(&self.api, bucket.subject(&key)?, value, revision).await?) })
    }

    fn remove(&self, bucket: Bucket, key: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.to_owned();
        Box::pin(async move {
            let live = last(&self.api, bucket, &key).await?.filter(|message| !is_marker(message));
            if live.is_none() {
                return Ok(());
            }
            let mut headers = HeaderMap::new();
            headers.insert(OPERATION, REMOVED);
            self.api.publish(bucket.subject(&key)?, Some(headers), Bytes::new(), PUT_TIMEOUT).await?;
            Ok(())
        })
    }

    fn watch(&self, bucket: Bucket) -> BoxStream<'static, RecordChange> {
        let ordered = Ordered::new(self.api.clone(), bucket.stream(), Start::LastPerSubject);
        let watch = Box::new(Watch { ordered, bucket, is_caught_up: false });
        stream::unfold(watch, |mut watch| async move { Some((stream::iter(watch.next().await), watch)) })
            .flatten()
            .boxed()
    }
}

struct Watch {
    ordered: Ordered,
    bucket: Bucket,
    is_caught_up: bool,
}

impl Watch {
    async fn next(&mut self) -> Vec<RecordChange> {
        let mut changes = Vec::new();
        for delivery in self.ordered.next_chunk().await {
            let pending = delivery.pending;
            match self.change(delivery) {
                // What was removed before the watch began is not among what was there.
                Some(RecordChange::Removed { .. }) if !self.is_caught_up => {}
                Some(change) => changes.push(change),
                None => {}
            }
            self.tell_when(pending == 0, &mut changes);
        }
        self.tell_when(changes.is_empty() && self.ordered.is_empty(), &mut changes);
        changes
    }

    fn tell_when(&mut self, is_all: bool, changes: &mut Vec<RecordChange>) {
        if is_all && !self.is_caught_up {
            self.is_caught_up = true;
            changes.push(RecordChange::CaughtUp);
        }
    }

    fn change(&self, delivery: Delivery) -> Option<RecordChange> {
        let Delivery { sequence: revision, message, .. } = delivery;
        let key = message.subject.strip_prefix(&format!("$KV.{}.", self.bucket.name()))?.to_owned();
        let operation = message.headers.as_ref().and_then(|headers| headers.get(OPERATION));
        Some(match operation {
            Some(_) => RecordChange::Removed { key, revision },
            None => RecordChange::Put(Record { key, value: message.payload, revision }),
        })
    }
}

impl Bucket {
    fn stream(self) -> &'static str {
        match self {
            Bucket::Credentials => "KV_credentials",
            Bucket::Secrets => "KV_secrets",
            Bucket::Pointers => "KV_pointers",
            Bucket::Challenges => "KV_challenges",
            Bucket::Accounts => "KV_accounts",
        }
    }

    fn subject(self, key: &str) -> Result<String, StoreError> {
        self.check(key)?;
        Ok(format!("$KV.{}.{key}", self.name()))
    }
}

async fn last(api: &Api, bucket: Bucket, key: &str) -> Result<Option<RawMessage>, StoreError> {
    Ok(api.last(bucket.stream(), &bucket.subject(key)?).await?)
}

async fn put(api: &Api, subject: String, value: Bytes, expected: u64) -> Result<u64, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(expected));
    Ok(api.publish(subject, Some(headers), value, PUT_TIMEOUT).await?.seq)
}

fn is_marker(message: &RawMessage) -> bool {
    message.header("KV-Operation").is_some()
}
