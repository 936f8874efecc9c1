//! A bundle: one immutable version of a project's configuration. Source and archive are blobs; the facts name their digests.

use crate::event::events;
use crate::{BundleId, BundleVersion, Digest, NodeId, Position, Slug};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

events! {
    /// Accepted; compiling begins.
    Created(Created) = "created" v 1,
    /// The configuration is valid; its archive is stored and signed.
    Compiled(Compiled) = "compiled" v 1,
    /// The configuration was refused.
    Failed(Failed) = "failed" v 1,
    /// Nobody may deploy it any more; nodes that run it keep running it.
    Revoked(Revoked) = "revoked" v 1,
    /// An operator assigned it to the listed nodes, without a rollout. Its position is the counter of their assignments.
    Assigned(Assigned) = "assigned" v 1,
    /// Removed; only what was never deployed can be.
    Deleted(Deleted) = "deleted" v 1,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    pub version: BundleVersion,
    /// SHA-256 of the configuration source, which lies in the blob store.
    pub source_digest: Digest,
    pub source_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    pub path: String,
    pub sha256: Digest,
    pub bytes: u64,
}

/// One finding of the compiler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable, snake_case.
    pub code: String,
    pub message: String,
    /// From 1; absent where the compiler knows no place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// In characters, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Compiled {
    /// SHA-256 of the archive: its name in the blob store.
    pub digest: Digest,
    pub size_bytes: u64,
    pub files: Vec<File>,
    /// Ed25519 over the archive's bytes, base64url without padding.
    pub signature: String,
    /// The org's bundle key that signed.
    pub key_id: String,
    /// The proxy release whose rules it was validated with.
    pub proxy_version: String,
    /// What only the node can check, and advice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assigned {
    /// SHA-256 of the archive that the nodes are to run.
    pub digest: Digest,
    /// Sorted and without repeats.
    pub node_ids: Vec<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Compiling,
    Compiled(Compiled),
    Failed(Failed),
    /// What it was compiled to stays known: nodes may still run it.
    Revoked(Compiled),
}

impl State {
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Compiling => "compiling",
            State::Compiled(_) => "compiled",
            State::Failed(_) => "failed",
            State::Revoked(_) => "revoked",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    pub id: BundleId,
    pub org: Slug,
    pub project: Slug,
    pub version: BundleVersion,
    pub source_digest: Digest,
    pub source_bytes: u64,
    pub state: State,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub position: Position,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The compiler is done.
    Finish(Result<Compiled, Failed>),
    Revoke {
        reason: Option<String>,
    },
    /// To nodes that exist and that no rollout is about to change.
    Assign {
        node_ids: Vec<NodeId>,
    },
    /// `deployed`: some rollout or direct assignment names it or some node runs it.
    Delete {
        deployed: bool,
    },
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    #[error("has already been taken")]
    VersionTaken,
    #[error("Only compiled bundles can be revoked")]
    NotCompiled,
    #[error("Bundle must be compiled before assignment")]
    NotAssignable,
    #[error("Bundle has been revoked")]
    Revoked,
    #[error("Bundle was deployed and cannot be deleted; revoke it instead")]
    Deployed,
    #[error("Bundle is still compiling; delete it when that has ended")]
    StillCompiling,
}

/// Decides a creation. `version_taken` is what the fold says at the guard's position.
pub fn create(fact: Created, version_taken: bool) -> Result<Event, Rejection> {
    if version_taken {
        return Err(Rejection::VersionTaken);
    }
    Ok(Event::Created(fact))
}

/// `Ok(None)`: the command changes nothing.
pub fn decide(bundle: &Bundle, command: Command) -> Result<Option<Event>, Rejection> {
    match (command, &bundle.state) {
        (Command::Finish(Ok(compiled)), State::Compiling) => Ok(Some(Event::Compiled(compiled))),
        (Command::Finish(Err(failed)), State::Compiling) => Ok(Some(Event::Failed(failed))),
        (Command::Finish(_), _) => Ok(None),
        (Command::Revoke { reason }, State::Compiled(_)) => Ok(Some(Event::Revoked(Revoked { reason }))),
        (Command::Revoke { .. }, State::Revoked(_)) => Ok(None),
        (Command::Revoke { .. }, _) => Err(Rejection::NotCompiled),
        (Command::Assign { mut node_ids }, State::Compiled(compiled)) => {
            node_ids.sort_unstable();
            node_ids.dedup();
            Ok(Some(Event::Assigned(Assigned { digest: compiled.digest.clone(), node_ids })))
        }
        (Command::Assign { .. }, State::Revoked(_)) => Err(Rejection::Revoked),
        (Command::Assign { .. }, _) => Err(Rejection::NotAssignable),
        (Command::Delete { deployed: true }, _) => Err(Rejection::Deployed),
        (Command::Delete { .. }, State::Compiling) => Err(Rejection::StillCompiling),
        (Command::Delete { .. }, _) => Ok(Some(Event::Deleted(Deleted {}))),
    }
}

impl Bundle {
    pub fn created(
        (org, project, id): (Slug, Slug, BundleId),
        fact: &Created,
        time: Timestamp,
        position: Position,
    ) -> Bundle {
        Bundle {
            id,
            org,
            project,
            version: fact.version.clone(),
            source_digest: fact.source_digest.clone(),
            source_bytes: fact.source_bytes,
            state: State::Compiling,
            created_at: time,
            updated_at: time,
            position,
        }
    }

    /// `Deleted` leaves the state as it is: whoever holds the bundle drops it.
    pub fn evolve(&mut self, event: &Event, time: Timestamp, position: Position) {
        self.position = position;
        self.updated_at = time;
        match event {
            Event::Created(_) | Event::Assigned(_) | Event::Deleted(_) => {}
            Event::Compiled(compiled) => self.state = State::Compiled(compiled.clone()),
            Event::Failed(failed) => self.state = State::Failed(failed.clone()),
            Event::Revoked(_) => {
                if let State::Compiled(compiled) = &self.state {
                    self.state = State::Revoked(compiled.clone());
                }
            }
        }
    }

    /// What may be deployed: compiled and not revoked.
    pub fn deployable(&self) -> Option<&Compiled> {
        match &self.state {
            State::Compiled(compiled) => Some(compiled),
            _ => None,
        }
    }

    /// The archive, whether or not it may still be deployed.
    pub fn archive(&self) -> Option<&Compiled> {
        match &self.state {
            State::Compiled(compiled) | State::Revoked(compiled) => Some(compiled),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
