//! The read side: what the facts add up to, in memory, indexed for the questions that are asked. One file per read model.
//!
//! Absent on purpose: any way to append. Views hold the reading half of the journal only.

mod bundles;
mod commands;
mod enrollments;
mod fleet;
mod follower;
mod join_tokens;
mod nodes;
mod orgs;
mod presence;
mod rollouts;
mod snapshot;
mod state;

pub use bundles::Bundles;
pub use commands::{Commands, Done};
pub use enrollments::Enrollments;
pub use fleet::FleetView;
pub use follower::{FollowError, Views};
pub use join_tokens::JoinTokens;
pub use nodes::{NodeFilter, NodeRow, Nodes};
pub use orgs::Orgs;
pub use presence::{BeatRecord, Presence, PresenceState, Seen};
pub use rollouts::Rollouts;
pub use snapshot::SnapshotError;
pub use state::State;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
