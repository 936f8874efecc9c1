//! Snapshots in `SNAPSHOTS`, and which one is the newest in the bucket `pointers`.
//!
//! Invariant: the pointer names the stream sequence of every chunk, so that a snapshot is read as it was written or not at all,
//! however many replicas write at once. The pointer only ever moves to a higher position. The stream keeps a fixed number of
//! versions of each chunk number, so that it is bounded by the size of a snapshot and nobody needs the right to purge.

use super::{JetStream, chunks};
use crate::contract::{Bucket, Record, Records, Snapshots, StoreError};
use crate::declaration::SNAPSHOTS;
use bytes::Bytes;
use domain::Position;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// How often a pointer is looked at again because it moved meanwhile.
const ATTEMPTS_MAX: u32 = 5;
/// A saver loses once to every other one that saves at the same time; there are as many as replicas.
const POINT_ATTEMPTS_MAX: usize = 32;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pointer {
    position: u64,
    sha256: String,
    /// Stream sequence of each chunk.
    chunks: Vec<u64>,
}

impl Snapshots for JetStream {
    fn save(&self, view: &str, position: Position, bytes: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        let view = view.to_owned();
        Box::pin(async move {
            if self.pointer(&view).await?.is_some_and(|(_, pointer)| pointer.position >= position.0) {
                return Ok(());
            }
            let sha256 = chunks::digest(bytes.clone()).await?;
            let put = |n, chunk| {
                let subject = format!("snapshot.{view}.{n}");
                async move { Ok(chunks::put(&self.api, &subject, None, chunk).await?.seq) }
            };
            let chunks = chunks::write(&bytes, put).await?;
            self.point(&view, &Pointer { position: position.0, sha256, chunks }).await
        })
    }

    fn newest(&self, view: &str) -> BoxFuture<'_, Result<Option<(Position, Bytes)>, StoreError>> {
        let view = view.to_owned();
        Box::pin(async move {
            let mut seen = None;
            for _ in 0..ATTEMPTS_MAX {
                let Some((_, pointer)) = self.pointer(&view).await? else { return Ok(None) };
                if seen.as_ref() == Some(&pointer) {
                    tracing::warn!(view, position = pointer.position, "snapshot ignored: it is damaged");
                    return Ok(None);
                }
                let get = |n: usize| self.chunk(pointer.chunks.get(n).copied().unwrap_or(0));
                if let Some(bytes) = chunks::read(pointer.chunks.len(), get).await?
                    && chunks::digest(bytes.clone()).await? == pointer.sha256
                {
                    return Ok(Some((Position(pointer.position), bytes)));
                }
                // Newer ones may have pushed it out while it was read; then the pointer has moved.
                seen = Some(pointer);
            }
            Ok(None)
        })
    }
}

impl JetStream {
    async fn pointer(&self, view: &str) -> Result<Option<(Record, Pointer)>, StoreError> {
        let Some(record) = self.get(Bucket::Pointers, view).await? else { return Ok(None) };
        match rmp_serde::from_slice(&record.value) {
            Ok(pointer) => Ok(Some((record, pointer))),
            Err(error) => Err(StoreError::Corrupt(format!("pointer of {view}: {error}"))),
        }
    }

    async fn point(&self, view: &str, pointer: &Pointer) -> Result<(), StoreError> {
        let value = rmp_serde::to_vec_named(pointer).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let value = Bytes::from(value);
        for _ in 0..POINT_ATTEMPTS_MAX {
            let written = match self.pointer(view).await? {
                Some((_, other)) if other.position >= pointer.position => return Ok(()),
                Some((record, _)) => self.update(Bucket::Pointers, view, value.clone(), record.revision).await,
                None => self.create(Bucket::Pointers, view, value.clone()).await,
            };
            match written {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict) => continue,
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Unavailable(format!("the pointer of {view} keeps moving")))
    }

    async fn chunk(&self, sequence: u64) -> Result<Option<Bytes>, StoreError> {
        if let Some(chunk) = self.api.direct_at(SNAPSHOTS, sequence).await? {
            return Ok(Some(chunk));
        }
        Ok(self.api.at(SNAPSHOTS, sequence).await?.map(|message| message.payload))
    }
}
