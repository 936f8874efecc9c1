//! The pure part of Pilothouse: ids, commands, facts, state, decisions.
//!
//! Absent on purpose: clock, randomness, logging, IO and async. Whoever calls `decide` puts the time, fresh ids and facts of
//! other aggregates into the command.

pub mod api_key;
pub mod bundle;
pub mod enrollment;
mod envelope;
mod event;
pub mod fleet;
mod host;
mod ids;
pub mod join_token;
mod ksuid;
pub mod node;
pub mod org;
mod position;
pub mod project;
pub mod rollout;
mod subject;
mod text;

pub use envelope::{Actor, DecodeError, Envelope, Recorded};
pub use event::{Declaration, Event};
pub use host::{HostId, HostIdError};
pub use ids::{ApiKeyId, BundleId, CommandId, Digest, IdError, JoinTokenId, NodeId, ProjectId, RolloutId};
pub use ksuid::{ChallengeId, EnrollmentId};
pub use position::Position;
pub use subject::{Aggregate, Kind, SubjectError};
pub use text::{BundleVersion, Labels, NodeName, Slug, TextError};
