//! Blobs in `BLOBS`: chunks `blob.<sha256>.<n>`, and `blob.<sha256>.head`, which is written last and says how many there are.
//!
//! Invariant: a blob with a head has all its chunks. Every subject is written once; writing again finds it there.

use super::api::{Api, Failure};
use super::{JetStream, chunks};
use crate::contract::{Blobs, StoreError};
use crate::declaration::BLOBS;
use async_nats::header::{self, HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::ops::Range;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    bytes: u64,
    /// Length of every chunk but the last.
    chunk_bytes: u64,
}

impl Blobs for JetStream {
    fn put(&self, bytes: Bytes) -> BoxFuture<'_, Result<String, StoreError>> {
        Box::pin(async move {
            let digest = chunks::digest(bytes.clone()).await?;
            if head(&self.api, &digest).await?.is_some() {
                return Ok(digest);
            }
            let put = |n, chunk| put_once(&self.api, format!("blob.{digest}.{n}"), chunk);
            chunks::write(&bytes, put).await?;
            let head = Head { bytes: bytes.len() as u64, chunk_bytes: chunks::CHUNK_BYTES as u64 };
            let head = rmp_serde::to_vec_named(&head).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            put_once(&self.api, format!("blob.{digest}.head"), head.into()).await?;
            Ok(digest)
        })
    }

    fn len(&self, digest: &str) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        let digest = digest.to_owned();
        Box::pin(async move { Ok(head(&self.api, &digest).await?.map(|head| head.bytes)) })
    }

    fn read(&self, digest: &str, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let digest = digest.to_owned();
        Box::pin(async move {
            let Some(head) = head(&self.api, &digest).await? else { return Ok(None) };
            let is_whole = range.is_none();
            let range = range.unwrap_or(0..head.bytes);
            let Some(bytes) = read_range(&self.api, &digest, &head, range).await? else {
                return Err(StoreError::Corrupt(format!("a chunk of blob {digest} is missing")));
            };
            if is_whole && chunks::digest(bytes.clone()).await? != digest {
                return Err(StoreError::Corrupt(format!("blob {digest} is not what its name says")));
            }
            Ok(Some(bytes))
        })
    }
}

async fn read_range(api: &Api, digest: &str, head: &Head, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
    if range.start > range.end || range.end > head.bytes {
        return Err(StoreError::TooLarge(format!("bytes {range:?} of blob {digest}, which has {}", head.bytes)));
    }
    if range.is_empty() {
        return Ok(Some(Bytes::new()));
    }
    let first = range.start / head.chunk_bytes;
    let count = (range.end - 1) / head.chunk_bytes - first + 1;
    let get = |n: usize| {
        let subject = format!("blob.{digest}.{}", first + n as u64);
        async move { written_once(api, &subject).await }
    };
    let Some(joined) = chunks::read(count as usize, get).await? else { return Ok(None) };
    let from = (range.start - first * head.chunk_bytes) as usize;
    let length = (range.end - range.start) as usize;
    // A chunk that is shorter than the head says is as good as missing.
    Ok((joined.len() >= from + length).then(|| joined.slice(from..from + length)))
}

/// From the leader, so that a blob is found on whichever replica it was stored.
async fn head(api: &Api, digest: &str) -> Result<Option<Head>, StoreError> {
    if digest.len() != 64 || !digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    let Some(message) = api.last(BLOBS, &format!("blob.{digest}.head")).await? else { return Ok(None) };
    let head: Head = rmp_serde::from_slice(&message.payload)
        .map_err(|error| StoreError::Corrupt(format!("head of blob {digest}: {error}")))?;
    match head.chunk_bytes {
        0 => Err(StoreError::Corrupt(format!("head of blob {digest}: chunks without length"))),
        _ => Ok(Some(head)),
    }
}

/// Any replica may answer; one that lags does not have the chunk yet, but the leader has.
async fn written_once(api: &Api, subject: &str) -> Result<Option<Bytes>, StoreError> {
    if let Some(chunk) = api.direct_last(BLOBS, subject).await? {
        return Ok(Some(chunk));
    }
    Ok(api.last(BLOBS, subject).await?.map(|message| message.payload))
}

async fn put_once(api: &Api, subject: String, payload: Bytes) -> Result<(), StoreError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(0u64));
    match chunks::put(api, &subject, Some(headers), payload).await {
        Ok(_) => Ok(()),
        // It is there already: the same bytes, since the name is their digest.
        Err(failure) if failure.is_conflict() && !failure.is_in_flight() => Ok(()),
        Err(Failure::Silent(cause)) => Err(StoreError::Unavailable(cause)),
        Err(failure) => Err(failure.into()),
    }
}
