//! Large bytes as chunks of a stream: how they are cut, written several at a time, and put together again.

use super::api::{Ack, Api, Failure};
use crate::contract::StoreError;
use async_nats::header::HeaderMap;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// 512 KiB less room for headers, so that a chunk fits twice into the server's default `max_payload`.
pub(super) const CHUNK_BYTES: usize = 512 * 1024 - 4096;
/// Chunks on their way at the same time.
const IN_FLIGHT_MAX: usize = 8;
const PUT_TIMEOUT: Duration = Duration::from_secs(5);
const PUT_ATTEMPTS_MAX: u32 = 5;
const PUT_PAUSE: Duration = Duration::from_millis(50);
/// Above this the digest is computed on a thread that may block.
const HASH_INLINE_BYTES_MAX: usize = 256 * 1024;

/// Writes every chunk; `put` gets its number and bytes. The results come in order.
pub(super) async fn write<T, Fut>(bytes: &Bytes, put: impl Fn(usize, Bytes) -> Fut) -> Result<Vec<T>, StoreError>
where
    Fut: Future<Output = Result<T, StoreError>>,
{
    let chunks = (0..bytes.len()).step_by(CHUNK_BYTES).enumerate();
    let chunks = chunks.map(|(n, from)| put(n, bytes.slice(from..bytes.len().min(from + CHUNK_BYTES))));
    stream::iter(chunks).buffered(IN_FLIGHT_MAX).try_collect().await
}

/// Reads `count` chunks and joins them; `None` when one is missing.
pub(super) async fn read<Fut>(count: usize, get: impl Fn(usize) -> Fut) -> Result<Option<Bytes>, StoreError>
where
    Fut: Future<Output = Result<Option<Bytes>, StoreError>>,
{
    if count == 1 {
        return get(0).await;
    }
    let mut chunks = stream::iter((0..count).map(get)).buffered(IN_FLIGHT_MAX);
    let mut joined = BytesMut::with_capacity(count * CHUNK_BYTES);
    while let Some(chunk) = chunks.try_next().await? {
        let Some(chunk) = chunk else { return Ok(None) };
        joined.extend_from_slice(&chunk);
    }
    Ok(Some(joined.freeze()))
}

/// Publishes something that may be published twice.
pub(super) async fn put(api: &Api, subject: &str, headers: Option<HeaderMap>, payload: Bytes) -> Result<Ack, Failure> {
    let mut attempt = 1;
    loop {
        match api.publish(subject.to_owned(), headers.clone(), payload.clone(), PUT_TIMEOUT).await {
            Err(failure) if attempt < PUT_ATTEMPTS_MAX && (failure.is_passing() || failure.is_in_flight()) => {
                tokio::time::sleep(PUT_PAUSE * attempt).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// The SHA-256 as 64 lowercase hex digits.
pub(super) async fn digest(bytes: Bytes) -> Result<String, StoreError> {
    let is_small = bytes.len() <= HASH_INLINE_BYTES_MAX;
    let hash = move || data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
    if is_small {
        return Ok(hash());
    }
    tokio::task::spawn_blocking(hash).await.map_err(|error| StoreError::Unavailable(error.to_string()))
}
