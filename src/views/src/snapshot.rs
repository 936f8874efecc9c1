//! Snapshots of the state: zstd MessagePack of the rows. Indexes are rebuilt on reading.

use crate::commands::Done;
use crate::nodes::NodeRow;
use crate::state::State;
use domain::api_key::ApiKey;
use domain::bundle::Bundle;
use domain::enrollment::Host;
use domain::join_token::JoinToken;
use domain::org::Org;
use domain::project::Project;
use domain::rollout::Rollout;
use domain::{BundleId, CommandId, Position, Slug};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Name and schema version under which the snapshot is kept. A change of any row type needs a new number; the state is then
/// rebuilt from the journal.
pub(crate) const VIEW: &str = "fleet-v6";
const ZSTD_LEVEL: i32 = 1;
/// The most bytes that a snapshot may unpack to.
const UNPACKED_BYTES_MAX: usize = 8 * 1024 * 1024 * 1024;

#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error("the snapshot cannot be written")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error("the snapshot cannot be read")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("the snapshot cannot be unpacked")]
    Zstd(#[from] std::io::Error),
}

#[derive(Deserialize)]
struct Rows {
    position: Position,
    orgs: Vec<Org>,
    projects: Vec<Project>,
    api_keys: Vec<ApiKey>,
    join_tokens: Vec<JoinToken>,
    hosts: Vec<Host>,
    nodes: Vec<NodeRow>,
    registered: Vec<(Slug, Position)>,
    bundles: Vec<(Position, Bundle)>,
    bundles_created: Vec<(Slug, Position)>,
    deployed: Vec<BundleId>,
    rollouts: Vec<(Position, Rollout)>,
    commands: Vec<(CommandId, Done)>,
}

/// The same on its way out, without a copy of the state.
#[derive(Serialize)]
struct RowsOf<'a> {
    position: Position,
    orgs: Vec<&'a Org>,
    projects: Vec<&'a Project>,
    api_keys: Vec<&'a ApiKey>,
    join_tokens: Vec<&'a JoinToken>,
    hosts: Vec<&'a Host>,
    nodes: Vec<&'a NodeRow>,
    registered: Vec<(&'a Slug, Position)>,
    bundles: Vec<(Position, &'a Bundle)>,
    bundles_created: Vec<(&'a Slug, Position)>,
    deployed: Vec<BundleId>,
    rollouts: Vec<(Position, &'a Rollout)>,
    commands: Vec<(&'a CommandId, &'a Done)>,
}

impl State {
    /// Equal states give equal bytes.
    pub fn to_snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        let rows = RowsOf {
            position: self.position,
            orgs: self.orgs.orgs().collect(),
            projects: self.orgs.projects().collect(),
            api_keys: self.orgs.api_keys().collect(),
            join_tokens: self.join_tokens.rows().collect(),
            hosts: self.enrollments.rows().collect(),
            nodes: sorted(self.nodes.rows(), |row| row.node.id),
            registered: sorted(self.nodes.registered_positions(), |(slug, _)| *slug),
            bundles: sorted(self.bundles.rows(), |(position, _)| *position),
            bundles_created: sorted(self.bundles.created_positions(), |(slug, _)| *slug),
            deployed: sorted(self.bundles.deployed(), |id| *id),
            rollouts: sorted(self.rollouts.rows(), |(position, _)| *position),
            commands: self.commands.rows().collect(),
        };
        Ok(zstd::bulk::compress(&rmp_serde::to_vec_named(&rows)?, ZSTD_LEVEL)?)
    }

    pub fn from_snapshot(bytes: &[u8]) -> Result<State, SnapshotError> {
        let mut unpacked = Vec::new();
        let limited = std::io::Read::take(zstd::Decoder::new(bytes)?, UNPACKED_BYTES_MAX as u64);
        std::io::Read::read_to_end(&mut { limited }, &mut unpacked)?;
        let rows: Rows = rmp_serde::from_slice(&unpacked)?;
        let mut state = State { position: rows.position, ..State::default() };
        rows.orgs.into_iter().for_each(|org| state.orgs.insert_org(org));
        rows.projects.into_iter().for_each(|project| state.orgs.insert_project(project));
        rows.api_keys.into_iter().for_each(|key| state.orgs.insert_api_key(key));
        rows.join_tokens.into_iter().for_each(|token| state.join_tokens.insert(token));
        for host in rows.hosts.into_iter().filter(|host| !host.enrollments.is_empty()) {
            state.enrollments.insert(host);
        }
        rows.nodes.into_iter().for_each(|row| state.nodes.insert(row));
        rows.registered.into_iter().for_each(|(slug, p)| state.nodes.set_registered_position(slug, p));
        rows.bundles.into_iter().for_each(|(p, bundle)| state.bundles.insert(p, bundle));
        rows.bundles_created.into_iter().for_each(|(slug, p)| state.bundles.set_created_position(slug, p));
        rows.deployed.into_iter().for_each(|id| state.bundles.set_deployed(id));
        for (position, rollout) in rows.rollouts {
            state.rollouts.insert(position, rollout);
        }
        rows.commands.into_iter().for_each(|(id, done)| state.commands.insert(id, done));
        Ok(state)
    }
}

/// Rows of a hash map in an order that does not depend on the process.
fn sorted<T, K: Ord>(rows: impl Iterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut rows: Vec<T> = rows.collect();
    rows.sort_unstable_by_key(key);
    rows
}
