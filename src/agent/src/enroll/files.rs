//! What enrolling keeps in `auth/` of the data directory: seed and credentials of the host, how far it came, and its id.
//!
//! Invariant: the directory has mode 0700 and each file 0600, replaced whole and synced. A seed that is there is never
//! replaced, only put aside when that was asked for; one that cannot be read is an error, not a new key.

use super::credential::Credential;
use super::machine::Known;
use crate::settings::EnrollSettings;
use crate::state::DataDir;
use domain::HostId;
use runtime::FileError;
use runtime::files::{ensure_private_dir, read_secret, write_secret};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use thiserror::Error;
use trust::nats::{KeyKind, NatsError, NatsKey};

const DIRECTORY: &str = "auth";
const HOST_ID: &str = "host-id";

#[derive(Debug, Error)]
pub enum AuthError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("could not put {} aside", path.display())]
    Aside {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} {source}: restore it from a backup, or remove it to enroll this host as a new one", path.display())]
    Seed { path: PathBuf, source: NatsError },
    #[error("{} {source}: restore it from a backup, or remove it to enroll again", path.display())]
    Credentials { path: PathBuf, source: NatsError },
    #[error("{} cannot be understood: remove it", path.display())]
    Damaged { path: PathBuf },
    #[error("{0}: give this host an id of its own with the setting host_id")]
    HostName(String),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    known: Known,
    fetch: Option<FetchKey>,
    /// The enrollment that the credentials are of.
    issued: Option<String>,
}

/// Names the fetching of one enrollment's credentials, so that one whose answer was lost can be repeated as the same one.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FetchKey {
    enrollment: String,
    idempotency_key: String,
}

pub struct AuthFiles {
    directory: PathBuf,
    pub host: HostId,
}

impl AuthFiles {
    /// Settles the host's id: what the settings say, else what was settled before, else the host name.
    pub fn open(data: &DataDir, settings: &EnrollSettings) -> Result<AuthFiles, AuthError> {
        let directory = data.path().join(DIRECTORY);
        ensure_private_dir(&directory)?;
        let host = match &settings.host {
            Some(host) => host.clone(),
            None => remembered(&directory.join(HOST_ID), settings)?,
        };
        Ok(AuthFiles { directory, host })
    }

    pub fn credentials_path(&self) -> PathBuf {
        self.path("creds")
    }

    pub fn credential(&self) -> Result<Option<Credential>, AuthError> {
        let path = self.credentials_path();
        let Some(text) = read(&path)? else { return Ok(None) };
        Credential::read(&text).map(Some).map_err(|source| AuthError::Credentials { path, source })
    }

    pub fn save_credentials(&self, text: &str, enrollment: &str) -> Result<(), AuthError> {
        write_secret(&self.credentials_path(), text.as_bytes())?;
        let mut held = self.held()?;
        held.issued = Some(enrollment.to_owned());
        self.save(&held)
    }

    /// The enrollment that the credentials are of, where they did not come from elsewhere.
    pub fn issued(&self) -> Result<Option<String>, AuthError> {
        Ok(self.held()?.issued)
    }

    /// This host's key, made where there is none.
    pub fn key(&self) -> Result<NatsKey, AuthError> {
        if let Some(key) = self.known_key()? {
            return Ok(key);
        }
        let key = NatsKey::generate(KeyKind::User);
        write_secret(&self.path("seed"), key.seed().as_bytes())?;
        Ok(key)
    }

    pub fn known_key(&self) -> Result<Option<NatsKey>, AuthError> {
        let path = self.path("seed");
        let Some(text) = read(&path)? else { return Ok(None) };
        NatsKey::from_seed(KeyKind::User, &text).map(Some).map_err(|source| AuthError::Seed { path, source })
    }

    /// Puts key and credentials aside; the newest of such stay. Credentials go first: they alone would be used.
    pub fn put_aside(&self) -> Result<(), AuthError> {
        for kind in ["creds", "seed"] {
            let (path, aside) = (self.path(kind), self.path(&format!("{kind}.revoked")));
            match fs::rename(&path, &aside) {
                Err(source) if source.kind() != ErrorKind::NotFound => return Err(AuthError::Aside { path, source }),
                _ => {}
            }
        }
        Ok(())
    }

    pub fn known(&self) -> Result<Known, AuthError> {
        Ok(self.held()?.known)
    }

    /// Also forgets how credentials of any other enrollment were asked for.
    pub fn save_known(&self, known: &Known) -> Result<(), AuthError> {
        let mut held = self.held()?;
        held.fetch = held.fetch.filter(|fetch| known.enrollment.as_ref() == Some(&fetch.enrollment));
        held.known = known.clone();
        self.save(&held)
    }

    /// The same for one enrollment until [`AuthFiles::save_known`] says that it is over.
    pub fn idempotency_key(&self, enrollment: &str) -> Result<String, AuthError> {
        let mut held = self.held()?;
        if let Some(fetch) = held.fetch.filter(|fetch| fetch.enrollment == enrollment) {
            return Ok(fetch.idempotency_key);
        }
        let idempotency_key = trust::new_secret();
        held.fetch = Some(FetchKey { enrollment: enrollment.to_owned(), idempotency_key: idempotency_key.clone() });
        self.save(&held)?;
        Ok(idempotency_key)
    }

    fn held(&self) -> Result<Held, AuthError> {
        let path = self.path("enrollment.json");
        let Some(text) = read(&path)? else { return Ok(Held::default()) };
        serde_json::from_str(&text).map_err(|_| AuthError::Damaged { path })
    }

    fn save(&self, held: &Held) -> Result<(), AuthError> {
        let path = self.path("enrollment.json");
        let bytes = serde_json::to_vec_pretty(held).map_err(|_| AuthError::Damaged { path: path.clone() })?;
        Ok(write_secret(&path, &bytes)?)
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{}.{kind}", self.host))
    }
}

fn remembered(path: &Path, settings: &EnrollSettings) -> Result<HostId, AuthError> {
    if let Some(text) = read(path)? {
        return text.trim().parse().map_err(|_: domain::HostIdError| AuthError::Damaged { path: path.to_owned() });
    }
    let host = settings.host_from_name.clone().map_err(AuthError::HostName)?;
    write_secret(path, host.as_str().as_bytes())?;
    Ok(host)
}

fn read(path: &Path) -> Result<Option<String>, AuthError> {
    match read_secret(path) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| AuthError::Damaged { path: path.to_owned() }),
        Err(e) if e.io_kind() == Some(ErrorKind::NotFound) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
#[path = "files/tests.rs"]
mod tests;
