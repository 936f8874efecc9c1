//! `rollout why`, `node why`: the decision made once more on this replica's views, with what it rests on.

use super::rollout::sentence;
use super::{Call, node, rollout as rollouts};
use crate::execute::now;
use contract::{Answer, ApiError, NodeWhy, RolloutWhy};
use domain::rollout;
use serde_json::json;
use views::FleetView;

impl Call<'_> {
    pub(super) fn explain_rollout(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        self.read(|state| {
            let rollout = rollouts::find(state, &place, self.id()).ok_or_else(rollouts::not_found)?;
            let presence = self.control.presence().read();
            let fleet = FleetView { state, presence: &presence };
            let found = rollout::explain(rollout, &fleet, self.control.settings().rollout_limits(), now());
            let blocker = found.blocker.as_ref();
            let told = blocker.map_or_else(|| "its turn, at this very moment".to_owned(), |b| sentence(state, b));
            Ok(json!(RolloutWhy::of(rollout, found, told)))
        })
    }

    pub(super) fn explain_node(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        self.read(|state| {
            let row = node::find(state, &place, self.id()).ok_or_else(node::not_found)?;
            let presence = self.control.presence().read();
            let fleet = FleetView { state, presence: &presence };
            let live = state.rollouts.live().filter(|rollout| rollout.project == place.project);
            let found = rollout::explain_node(row.node.id, &fleet, live).ok_or_else(node::not_found)?;
            Ok(json!(NodeWhy::from(found)))
        })
    }
}
