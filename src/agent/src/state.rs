//! What the agent keeps: who it is (`credentials.json`), what it signs with (`node.nk`), what it accepted (`state.json`), and a
//! registration that is under way (`registration.json`).
//!
//! Invariant: each file is replaced whole and readable by its owner alone; while a [`DataDir`] lives, no other agent uses the
//! directory. The progress is written before the credentials, so credentials without a progress mean that the file was lost,
//! and with it the memory of what was accepted: that is an error, not a fresh start.

use crate::offer::Identity;
use crate::progress::Progress;
use contract::{PublicKeyBody, Registered};
use domain::NodeId;
use runtime::FileError;
use runtime::files::{read_secret, write_secret};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use trust::nats::{KeyKind, NatsKey};

const CREDENTIALS: &str = "credentials.json";
const PROGRESS: &str = "state.json";
const REGISTRATION: &str = "registration.json";
const SIGNING_KEY: &str = "node.nk";
const LOCK: &str = "lock";
/// The proxy may run as another user of the agent's group.
const DIRECTORY_MODE: u32 = 0o750;
const OTHERS_WRITE: u32 = 0o022;
const KEYS_MAX: usize = 16;

#[derive(Debug, Error)]
pub enum StateError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("could not use the data directory {}", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the data directory {} can be changed by other users (mode {mode:03o}): run `chmod go-w {}`", path.display(), path.display())]
    OpenDirectory { path: PathBuf, mode: u32 },
    #[error("the data directory {} belongs to another user", path.display())]
    ForeignDirectory { path: PathBuf },
    #[error("the data directory {} is in use by another pilothouse-agent: stop that one or choose another with --data-dir", path.display())]
    InUse { path: PathBuf },
    #[error("{} cannot be understood: restore it from a backup, or delete the node and the whole directory and register anew", path.display())]
    Damaged { path: PathBuf },
    #[error(
        "{} is missing, and with it the memory of which assignments were accepted: restore it from a backup, or delete the \
         node and {CREDENTIALS} and register anew", path.display()
    )]
    ProgressLost { path: PathBuf },
    #[error("the server's answer names the key {0:?}, which is not an Ed25519 public key")]
    Key(String),
    #[error("the server's answer names more than {KEYS_MAX} keys")]
    TooManyKeys,
    #[error("the server's answer names the node {0:?}, which is not an id")]
    NodeId(String),
    #[error("the server's answer has no node key")]
    NoNodeKey,
}

/// What the registration brought. Holds the node's secret: no Debug.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    pub node_id: String,
    node_key: String,
    pub org: String,
    pub project: String,
    pub name: String,
    pub server_url: String,
    pub bundle_keys: Vec<PublicKeyBody>,
    /// What it told that it signs with: the public half of `node.nk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

impl Credentials {
    pub fn new(
        answer: Registered,
        name: &str,
        server_url: &str,
        signing_key: &NatsKey,
    ) -> Result<Credentials, StateError> {
        if answer.node_id.parse::<NodeId>().is_err() {
            return Err(StateError::NodeId(answer.node_id));
        }
        let credentials = Credentials {
            node_id: answer.node_id,
            node_key: answer.node_key.ok_or(StateError::NoNodeKey)?,
            org: answer.org,
            project: answer.project,
            name: name.to_owned(),
            server_url: server_url.to_owned(),
            bundle_keys: answer.bundle_keys,
            public_key: Some(signing_key.public_key()),
        };
        credentials.identity().map(|_| credentials)
    }

    pub fn node_key(&self) -> &str {
        &self.node_key
    }

    pub fn identity(&self) -> Result<Identity, StateError> {
        if self.bundle_keys.len() > KEYS_MAX {
            return Err(StateError::TooManyKeys);
        }
        let key = |body: &PublicKeyBody| {
            let key = body.public_key.parse().map_err(|_| StateError::Key(body.key_id.clone()))?;
            Ok((body.key_id.clone(), key))
        };
        Ok(Identity {
            node_id: self.node_id.clone(),
            org: self.org.clone(),
            project: self.project.clone(),
            keys: self.bundle_keys.iter().map(key).collect::<Result<_, StateError>>()?,
        })
    }
}

/// Written before the first registration call, so that a call whose answer was lost is repeated as the same one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    pub idempotency_key: String,
    pub project: String,
    pub name: String,
}

/// The directory that one running agent owns.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory where it is missing, and locks it. The lock ends with the process, however that ends.
    pub fn open(path: &Path) -> Result<DataDir, StateError> {
        let failed = |source| StateError::Directory { path: path.to_owned(), source };
        if !path.exists() {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path).map_err(failed)?;
        }
        let path = path.canonicalize().map_err(failed)?;
        let found = fs::metadata(&path).map_err(failed)?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(StateError::ForeignDirectory { path });
        }
        let mode = found.mode() & 0o777;
        if mode & OTHERS_WRITE != 0 {
            return Err(StateError::OpenDirectory { path, mode });
        }
        let mut options = OpenOptions::new();
        let lock =
            options.write(true).create(true).truncate(false).mode(0o600).open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDir { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn credentials(&self) -> Result<Option<Credentials>, StateError> {
        read_credentials(&self.path)
    }

    pub fn save_credentials(&self, credentials: &Credentials) -> Result<(), StateError> {
        write(&self.path.join(CREDENTIALS), credentials)
    }

    /// The key that the node signs with, made where there is none. Replaced only by an approval that makes the host this node: the
    /// control plane knows one key of a node.
    pub fn signing_key(&self) -> Result<NatsKey, StateError> {
        let path = self.path.join(SIGNING_KEY);
        match read_secret(&path) {
            Ok(seed) => {
                let key = std::str::from_utf8(&seed).ok().and_then(|seed| NatsKey::from_seed(KeyKind::User, seed).ok());
                key.ok_or(StateError::Damaged { path })
            }
            Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => {
                let key = NatsKey::generate(KeyKind::User);
                write_secret(&path, format!("{}\n", key.seed()).as_bytes())?;
                Ok(key)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// From now on this node signs with `key`.
    pub fn save_signing_key(&self, key: &NatsKey) -> Result<(), StateError> {
        Ok(write_secret(&self.path.join(SIGNING_KEY), key.seed().as_bytes())?)
    }

    pub fn progress(&self) -> Result<Option<Progress>, StateError> {
        read_progress(&self.path)
    }

    pub fn save_progress(&self, progress: &Progress) -> Result<(), StateError> {
        write(&self.path.join(PROGRESS), progress)
    }

    pub fn registration(&self) -> Result<Option<Registration>, StateError> {
        read(&self.path.join(REGISTRATION))
    }

    pub fn save_registration(&self, registration: &Registration) -> Result<(), StateError> {
        write(&self.path.join(REGISTRATION), registration)
    }

    pub fn end_registration(&self) -> Result<(), StateError> {
        let path = self.path.join(REGISTRATION);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StateError::Directory { path, source }),
            _ => Ok(()),
        }
    }
}

/// For `status`, which takes no lock.
pub fn read_credentials(data_dir: &Path) -> Result<Option<Credentials>, StateError> {
    read(&data_dir.join(CREDENTIALS))
}

/// None: never written. Lost while there are credentials is an error.
pub fn read_progress(data_dir: &Path) -> Result<Option<Progress>, StateError> {
    let path = data_dir.join(PROGRESS);
    let progress = read(&path)?;
    if progress.is_none() && data_dir.join(CREDENTIALS).exists() {
        return Err(StateError::ProgressLost { path });
    }
    Ok(progress)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    let bytes = match read_secret(path) {
        Ok(bytes) => bytes,
        Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    // What serde would say may quote the content, which is a secret.
    serde_json::from_slice(&bytes).map(Some).map_err(|_| StateError::Damaged { path: path.to_owned() })
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), StateError> {
    let damaged = |_| StateError::Damaged { path: path.to_owned() };
    let bytes = serde_json::to_vec_pretty(value).map_err(damaged)?;
    Ok(write_secret(path, &bytes)?)
}

#[cfg(test)]
#[path = "state/tests.rs"]
mod tests;
