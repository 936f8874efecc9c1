//! Hashes of node keys, API keys and join tokens: records of the `credentials` bucket, mirrored in memory so that a heartbeat costs no
//! read. What the mirror does not know is asked of the bucket's leader, so a node registered on one replica is known on all.
//!
//! A secret is 256 random bits and only its SHA-256 is kept; looking that hash up in a map tells a guesser nothing.

mod node_keys;

pub(crate) use node_keys::KeyOwner;

use crate::control::Control;
use crate::execute::{now, store_error, unavailable};
use contract::ApiError;
use domain::{ApiKeyId, JoinTokenId, NodeId};
use futures_util::StreamExt;
use jiff::Timestamp;
use journal::{Bucket, Record, RecordChange, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) type SecretHash = [u8; 32];

/// `node.<node id>`
#[derive(Serialize, Deserialize)]
struct NodeKey {
    hash: SecretHash,
    created_at: Timestamp,
    /// As the fact `node.key_rotated` names it; none for the key of the registration.
    #[serde(default)]
    key_id: Option<String>,
    /// The key that this one replaced, while it is still good.
    #[serde(default)]
    previous: Option<Previous>,
}

#[derive(Serialize, Deserialize)]
struct Previous {
    hash: SecretHash,
    until: Timestamp,
}

/// `api_key.<SHA-256 of the key, hex>`
#[derive(Serialize, Deserialize)]
struct ApiKey {
    id: String,
    created_at: Timestamp,
}

/// `join_token.<SHA-256 of the token, hex>`
#[derive(Serialize, Deserialize)]
struct JoinToken {
    id: String,
    created_at: Timestamp,
}

#[derive(Default)]
pub(crate) struct Credentials(RwLock<Mirror>);

#[derive(Default)]
struct Mirror {
    nodes: HashMap<NodeId, NodeKey>,
    node_by_hash: HashMap<SecretHash, NodeId>,
    api_keys: HashMap<SecretHash, (ApiKeyId, Timestamp)>,
    join_tokens: HashMap<SecretHash, (JoinTokenId, Timestamp)>,
    caught_up: bool,
}

impl Credentials {
    pub fn is_caught_up(&self) -> bool {
        self.read().caught_up
    }

    /// Records older than `before` whose owner `is_known` denies.
    pub fn orphans(
        &self,
        before: Timestamp,
        node_known: impl Fn(NodeId) -> bool,
        key_known: impl Fn(ApiKeyId) -> bool,
        token_known: impl Fn(JoinTokenId) -> bool,
    ) -> Vec<String> {
        let mirror = self.read();
        let nodes = mirror.nodes.iter().filter(|(id, key)| key.created_at < before && !node_known(**id));
        let keys = mirror.api_keys.iter().filter(|(_, (id, at))| *at < before && !key_known(*id));
        let tokens = mirror.join_tokens.iter().filter(|(_, (id, at))| *at < before && !token_known(*id));
        let secrets = keys.map(|(hash, _)| api_key_record(hash)).chain(tokens.map(|(hash, _)| join_token_record(hash)));
        nodes.map(|(id, _)| node_record(*id)).chain(secrets).collect()
    }

    /// The join token with this hash, if the mirror knows it.
    pub fn join_token(&self, hash: &SecretHash) -> Option<JoinTokenId> {
        self.read().join_tokens.get(hash).map(|(id, _)| *id)
    }

    fn read(&self) -> RwLockReadGuard<'_, Mirror> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Mirror> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mirror {
    fn put(&mut self, key: &str, value: &[u8]) {
        let known = match key.split_once('.') {
            Some(("node", id)) => self.put_node(id, value),
            Some(("api_key", hash)) => self.put_api_key(hash, value),
            Some(("join_token", hash)) => self.put_join_token(hash, value),
            _ => None,
        };
        if known.is_none() {
            tracing::error!(key, "a record of the credentials bucket cannot be read");
        }
    }

    fn put_node(&mut self, id: &str, value: &[u8]) -> Option<()> {
        let (id, record): (NodeId, NodeKey) = (id.parse().ok()?, rmp_serde::from_slice(value).ok()?);
        self.remove_node(id);
        self.node_by_hash.insert(record.hash, id);
        if let Some(previous) = &record.previous {
            self.node_by_hash.insert(previous.hash, id);
        }
        self.nodes.insert(id, record);
        Some(())
    }

    fn remove_node(&mut self, id: NodeId) {
        if let Some(old) = self.nodes.remove(&id) {
            self.node_by_hash.remove(&old.hash);
            if let Some(previous) = old.previous {
                self.node_by_hash.remove(&previous.hash);
            }
        }
    }

    fn put_api_key(&mut self, hash: &str, value: &[u8]) -> Option<()> {
        let record: ApiKey = rmp_serde::from_slice(value).ok()?;
        self.api_keys.insert(read_hash(hash)?, (record.id.parse().ok()?, record.created_at));
        Some(())
    }

    fn put_join_token(&mut self, hash: &str, value: &[u8]) -> Option<()> {
        let record: JoinToken = rmp_serde::from_slice(value).ok()?;
        self.join_tokens.insert(read_hash(hash)?, (record.id.parse().ok()?, record.created_at));
        Some(())
    }

    fn remove(&mut self, key: &str) {
        match key.split_once('.') {
            Some(("node", id)) => {
                if let Ok(id) = id.parse() {
                    self.remove_node(id);
                }
            }
            Some(("api_key", hash)) => {
                if let Some(hash) = read_hash(hash) {
                    self.api_keys.remove(&hash);
                }
            }
            Some(("join_token", hash)) => {
                if let Some(hash) = read_hash(hash) {
                    self.join_tokens.remove(&hash);
                }
            }
            _ => {}
        }
    }
}

impl Control {
    pub(crate) async fn owner_of_api_key(&self, key: &str) -> Result<Option<ApiKeyId>, ApiError> {
        let hash = trust::secret_hash(key);
        if let Some((id, _)) = self.credentials().read().api_keys.get(&hash) {
            return Ok(Some(*id));
        }
        let Some(record) = self.ask(&api_key_record(&hash)).await? else {
            return Ok(None);
        };
        self.credentials().write().put(&record.key, &record.value);
        Ok(self.credentials().read().api_keys.get(&hash).map(|(id, _)| *id))
    }

    pub(crate) async fn owner_of_join_token(&self, token: &str) -> Result<Option<JoinTokenId>, ApiError> {
        let hash = trust::secret_hash(token);
        if let Some((id, _)) = self.credentials().read().join_tokens.get(&hash) {
            return Ok(Some(*id));
        }
        let Some(record) = self.ask(&join_token_record(&hash)).await? else {
            return Ok(None);
        };
        self.credentials().write().put(&record.key, &record.value);
        Ok(self.credentials().read().join_tokens.get(&hash).map(|(id, _)| *id))
    }

    /// What the bucket's leader knows.
    async fn ask(&self, key: &str) -> Result<Option<Record>, ApiError> {
        let _turn = self.asking().acquire().await.map_err(|_| unavailable("this replica is stopping"))?;
        self.records().get(Bucket::Credentials, key).await.map_err(store_error)
    }

    pub(crate) async fn keep_node_key(&self, id: NodeId, hash: SecretHash) -> Result<(), ApiError> {
        let record = NodeKey { hash, created_at: now(), key_id: None, previous: None };
        self.keep_credential(node_record(id), rmp_serde::to_vec_named(&record)).await
    }

    pub(crate) async fn keep_api_key(&self, id: ApiKeyId, hash: SecretHash) -> Result<(), ApiError> {
        let record = ApiKey { id: id.to_string(), created_at: now() };
        self.keep_credential(api_key_record(&hash), rmp_serde::to_vec_named(&record)).await
    }

    pub(crate) async fn keep_join_token(&self, id: JoinTokenId, hash: SecretHash) -> Result<(), ApiError> {
        let record = JoinToken { id: id.to_string(), created_at: now() };
        self.keep_credential(join_token_record(&hash), rmp_serde::to_vec_named(&record)).await
    }

    async fn keep_credential(
        &self,
        key: String,
        value: Result<Vec<u8>, rmp_serde::encode::Error>,
    ) -> Result<(), ApiError> {
        let value = value.map_err(|e| store_error(StoreError::Corrupt(e.to_string())))?;
        self.records().create(Bucket::Credentials, &key, value.clone().into()).await.map_err(store_error)?;
        self.credentials().write().put(&key, &value);
        Ok(())
    }

    pub(crate) async fn drop_node_key(&self, id: NodeId) {
        self.drop_credential(node_record(id)).await;
    }

    pub(crate) async fn drop_api_key_hash(&self, hash: &SecretHash) {
        self.drop_credential(api_key_record(hash)).await;
    }

    pub(crate) async fn drop_api_key(&self, id: ApiKeyId) {
        let hash = {
            let mirror = self.credentials().read();
            mirror.api_keys.iter().find(|(_, (known, _))| *known == id).map(|(hash, _)| *hash)
        };
        if let Some(hash) = hash {
            self.drop_api_key_hash(&hash).await;
        }
    }

    pub(crate) async fn drop_join_token_hash(&self, hash: &SecretHash) {
        self.drop_credential(join_token_record(hash)).await;
    }

    pub(crate) async fn drop_join_token(&self, id: JoinTokenId) {
        let hash = {
            let mirror = self.credentials().read();
            mirror.join_tokens.iter().find(|(_, (known, _))| *known == id).map(|(hash, _)| *hash)
        };
        if let Some(hash) = hash {
            self.drop_join_token_hash(&hash).await;
        }
    }

    /// A failure leaves an orphan that opens nothing, because the fact decides; the sweep collects it.
    pub(crate) async fn drop_credential(&self, key: String) {
        if let Err(e) = self.records().remove(Bucket::Credentials, &key).await {
            tracing::warn!(key, error = &e as &dyn std::error::Error, "credential record not removed yet");
        }
        self.credentials().write().remove(&key);
    }
}

/// Keeps the mirror up to date for as long as the replica runs.
pub(crate) async fn follow(control: Control) {
    let mut changes = control.records().watch(Bucket::Credentials);
    while let Some(change) = changes.next().await {
        let mut mirror = control.credentials().write();
        match change {
            RecordChange::Put(Record { key, value, .. }) => mirror.put(&key, &value),
            RecordChange::Removed { key, .. } => mirror.remove(&key),
            RecordChange::CaughtUp => mirror.caught_up = true,
        }
    }
}

fn node_record(id: NodeId) -> String {
    format!("node.{id}")
}

fn api_key_record(hash: &SecretHash) -> String {
    format!("api_key.{}", data_encoding::HEXLOWER.encode(hash))
}

fn join_token_record(hash: &SecretHash) -> String {
    format!("join_token.{}", data_encoding::HEXLOWER.encode(hash))
}

fn read_hash(hex: &str) -> Option<SecretHash> {
    data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}
