//! `bundle assign`: a bundle for nodes without a rollout.

use super::bundle::{find, not_found, rejected};
use super::rollout::unknown_nodes;
use super::{Call, Place};
use crate::execute::{Decision, Fact};
use contract::{Answer, ApiError, AssignBundle, BundleAssigned, ErrorCode};
use domain::bundle::{self, Command};
use domain::fleet::Assigner;
use domain::{NodeId, node::Node};
use serde_json::json;
use views::State;

impl Call<'_> {
    /// The fact is guarded by the bundle alone: a rollout that begins at the same moment takes the nodes over, or is taken over,
    /// and both say so.
    pub(super) async fn assign_bundle(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let decide = |state: &State| {
            let bundle = find(state, &place, self.id()).ok_or_else(not_found)?;
            let node_ids = AssignBundle::parse(self.request.body.clone())?.node_ids;
            check_nodes(state, &place, &node_ids)?;
            let event = bundle::decide(bundle, Command::Assign { node_ids }).map_err(rejected)?;
            let aggregate = place.bundle(bundle.id);
            Ok(match event {
                Some(event) => {
                    let fact = Fact::next(aggregate.clone(), bundle.position, domain::Event::Bundle(event));
                    Decision::Append(Box::new(fact), aggregate)
                }
                None => Decision::Nothing(aggregate),
            })
        };
        self.mutate(decide, |_, _, _| {
            let assigned = AssignBundle::parse(self.request.body.clone()).ok()?.node_ids.len() as u64;
            Some(json!(BundleAssigned { assigned }))
        })
        .await
    }
}

/// They exist here and take part, and no rollout is about to change or to restore them.
fn check_nodes(state: &State, place: &Place, node_ids: &[NodeId]) -> Result<(), ApiError> {
    let is_here = |node: &&Node| node.project == place.project && node.org == place.org && node.approved;
    let here = |id: &NodeId| state.nodes.get(*id).filter(is_here);
    let nodes: Vec<&Node> = node_ids.iter().filter_map(here).collect();
    if nodes.len() < node_ids.len() {
        return Err(unknown_nodes("node_ids", node_ids, &nodes));
    }
    let live: Vec<_> = state.rollouts.live().filter(|rollout| rollout.project == place.project).collect();
    for node in nodes {
        let by = state.nodes.row(node.id).and_then(|row| row.desired.as_ref()).map(|desired| desired.by);
        let owner = live.iter().find(|rollout| {
            (rollout.holds_nodes() && rollout.spec.target_selector.matches(node))
                || by == Some(Assigner::Rollback(rollout.id))
        });
        if let Some(rollout) = owner {
            let (doing, way_out) = match rollout.rollback {
                Some(_) => ("being rolled back", "wait for the end of that"),
                None => (rollout.state.as_str(), "wait for its end or cancel it"),
            };
            let message = format!("Rollout {} is {doing} on node {}; {way_out}", rollout.id, node.name);
            return Err(ApiError::new(ErrorCode::Conflict, message));
        }
    }
    Ok(())
}
