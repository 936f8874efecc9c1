//! Keys of nodes: who shows one, and how one takes another's place.
//!
//! The fact `node.key_rotated` comes first and decides whose key counts; the record follows. Until it is there, a key that a
//! node replaced itself stays good, so that no lost answer locks a node out, and one that an operator replaced is good for
//! nothing.

use super::{NodeKey, Previous, SecretHash, node_record};
use crate::control::Control;
use crate::execute::{now, store_error, unavailable};
use contract::{ApiError, ErrorCode};
use domain::NodeId;
use jiff::{SignedDuration, Timestamp};
use journal::{Bucket, Record, StoreError};

/// How long a key stays good that a node has replaced, unless the new one is used before.
const PREVIOUS_FOR: SignedDuration = SignedDuration::from_mins(10);
/// How often a record that others write too is written before giving up.
const ATTEMPTS_MAX: u32 = 8;

/// Whose key was shown on the path of node `wanted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyOwner {
    Wanted,
    AnotherNode,
    Nobody,
}

/// Which of a node's keys was shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Current,
    Previous,
}

/// What the node's facts say of its key.
#[derive(PartialEq, Eq)]
struct Decided {
    key_id: Option<String>,
    /// An operator's decision: no older key is good for anything.
    reset: bool,
}

impl NodeKey {
    fn shows(&self, hash: &SecretHash, now: Timestamp) -> Option<Shown> {
        if trust::same_bytes(&self.hash, hash) {
            return Some(Shown::Current);
        }
        let previous = self.live_previous(now)?;
        trust::same_bytes(&previous.hash, hash).then_some(Shown::Previous)
    }

    fn live_previous(&self, now: Timestamp) -> Option<&Previous> {
        self.previous.as_ref().filter(|previous| now < previous.until)
    }
}

impl Control {
    /// A mirror that is behind the node's facts is not trusted, in either direction: the bucket's leader is asked. Guessing the
    /// key of a node costs the store nothing but a shared question for the journal's end.
    pub(crate) async fn owner_of_node_key(&self, wanted: NodeId, key: &str) -> Result<KeyOwner, ApiError> {
        let hash = trust::secret_hash(key);
        let (mut known, mut shown) = self.mirrored(wanted, &hash);
        if shown.is_none() {
            if self.credentials().read().node_by_hash.get(&hash).is_some_and(|owner| *owner != wanted) {
                return Ok(KeyOwner::AnotherNode);
            }
            if known.is_some() {
                // Another replica may have taken a new key in.
                self.catch_up().await?;
                (known, shown) = self.mirrored(wanted, &hash);
            }
        }
        let decided = self.decided(wanted);
        if known.as_ref().is_none_or(|key_id| *key_id != decided.key_id) {
            let Some(record) = self.ask(&node_record(wanted)).await? else { return Ok(KeyOwner::Nobody) };
            self.credentials().write().put(&record.key, &record.value);
            let stored = read_record(&record)?;
            shown = stored.shows(&hash, now());
            if decided.reset && stored.key_id != decided.key_id {
                return Ok(KeyOwner::Nobody);
            }
        }
        match shown {
            Some(Shown::Current) => {
                self.retire_previous(wanted).await;
                Ok(KeyOwner::Wanted)
            }
            Some(Shown::Previous) => Ok(KeyOwner::Wanted),
            None => Ok(KeyOwner::Nobody),
        }
    }

    /// The id of the key that the mirror has of the node, if it has one, and whether this is it.
    fn mirrored(&self, id: NodeId, hash: &SecretHash) -> (Option<Option<String>>, Option<Shown>) {
        let mirror = self.credentials().read();
        let key = mirror.nodes.get(&id);
        (key.map(|key| key.key_id.clone()), key.and_then(|key| key.shows(hash, now())))
    }

    fn decided(&self, id: NodeId) -> Decided {
        let state = self.views().read();
        let node = state.nodes.get(id);
        Decided {
            key_id: node.and_then(|node| node.key_id.clone()),
            reset: node.is_some_and(|node| node.key_was_reset),
        }
    }

    /// The new key was used, so the node has it: the old one ends. A failure is made up for by its time.
    async fn retire_previous(&self, id: NodeId) {
        let has_previous = self.credentials().read().nodes.get(&id).is_some_and(|key| key.previous.is_some());
        if !has_previous {
            return;
        }
        let retired = async {
            let Some(record) = self.ask(&node_record(id)).await? else { return Ok(()) };
            let mut key = read_record(&record)?;
            if key.previous.take().is_some() {
                self.write_record(record, &key).await.map_err(store_error)?;
            }
            Ok::<(), ApiError>(())
        };
        if let Err(e) = retired.await {
            tracing::warn!(error = %e, "the old key of a node stays good until its time is over");
        }
    }

    /// Puts the key into the record whose fact `node.key_rotated` names it. With `keep_old` the key that the node has used so
    /// far stays good for a while; returns until when.
    pub(crate) async fn replace_node_key(
        &self,
        id: NodeId,
        key_id: &str,
        hash: SecretHash,
        keep_old: bool,
    ) -> Result<Option<Timestamp>, ApiError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(record) = self.ask(&node_record(id)).await? else { return Err(ApiError::not_found("Node")) };
            if self.decided(id).key_id.as_deref() != Some(key_id) {
                return Err(ApiError::new(ErrorCode::Conflict, "The key was replaced once more meanwhile"));
            }
            let old = read_record(&record)?;
            let until = now().saturating_add(PREVIOUS_FOR).unwrap_or(Timestamp::MAX);
            // Where the last replacement was never used, the node still has the key before that.
            let used = old.live_previous(now()).map_or(old.hash, |previous| previous.hash);
            let previous = keep_old.then_some(Previous { hash: used, until });
            let key = NodeKey { hash, created_at: old.created_at, key_id: Some(key_id.to_owned()), previous };
            match self.write_record(record, &key).await {
                Ok(()) => return Ok(keep_old.then_some(until)),
                Err(StoreError::Conflict) => self.catch_up().await?,
                Err(e) => return Err(store_error(e)),
            }
        }
        Err(unavailable("the key's record is written by others all the time; try again"))
    }

    /// Whether the node has a key at all.
    pub(crate) async fn has_node_key(&self, id: NodeId) -> Result<bool, ApiError> {
        Ok(self.ask(&node_record(id)).await?.is_some())
    }

    /// The first record of a node whose facts name its key already.
    pub(crate) async fn keep_named_node_key(&self, id: NodeId, hash: SecretHash, key_id: &str) -> Result<(), ApiError> {
        let record = NodeKey { hash, created_at: now(), key_id: Some(key_id.to_owned()), previous: None };
        self.keep_credential(node_record(id), rmp_serde::to_vec_named(&record)).await
    }

    async fn write_record(&self, record: Record, key: &NodeKey) -> Result<(), StoreError> {
        let value = rmp_serde::to_vec_named(key).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        self.records().update(Bucket::Credentials, &record.key, value.clone().into(), record.revision).await?;
        self.credentials().write().put(&record.key, &value);
        Ok(())
    }
}

fn read_record(record: &Record) -> Result<NodeKey, ApiError> {
    rmp_serde::from_slice(&record.value).map_err(|e| store_error(StoreError::Corrupt(e.to_string())))
}
