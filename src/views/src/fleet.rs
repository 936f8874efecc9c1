//! What the rollout engine may look at, from the views of this replica.

use crate::presence::PresenceState;
use crate::state::State;
use domain::fleet::{Beat, Desired, Fleet};
use domain::node::Node;
use domain::{BundleId, Digest, NodeId, Slug};

pub struct FleetView<'a> {
    pub state: &'a State,
    pub presence: &'a PresenceState,
}

impl Fleet for FleetView<'_> {
    fn nodes<'a>(&'a self, project: &'a Slug) -> Box<dyn Iterator<Item = &'a Node> + 'a> {
        Box::new(self.state.nodes.of_project(project))
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.state.nodes.get(id)
    }

    fn desired(&self, id: NodeId) -> Option<&Desired> {
        self.state.nodes.row(id)?.desired.as_ref()
    }

    fn beat(&self, id: NodeId) -> Option<Beat> {
        self.presence.seen(id).and_then(|seen| Some(Beat { at: seen.at?, healthy: seen.healthy }))
    }

    fn deployable_digest(&self, id: BundleId) -> Option<&Digest> {
        self.state.bundles.get(id)?.deployable().map(|compiled| &compiled.digest)
    }
}
