//! Gauges of the fleet and of this replica's views, read when somebody asks. Each replica shows what it sees itself.

use super::ClassLabels;
use control::Control;
use domain::node::Status;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;

/// The states that a rollout can be left in; it ends in the others.
const LIVE: [&str; 2] = ["running", "paused"];

pub(super) struct Fleet {
    position: Gauge,
    nodes: Family<ClassLabels, Gauge>,
    live_rollouts: Family<ClassLabels, Gauge>,
    compiling_bundles: Gauge,
    projects: Gauge,
    waiting: Gauge,
}

impl Fleet {
    pub fn register(registry: &mut Registry) -> Fleet {
        let (position, nodes, live_rollouts) = (Gauge::default(), Family::default(), Family::default());
        let (compiling_bundles, projects, waiting) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("views_position", "The newest fact that this replica's views hold", position.clone());
        registry.register("fleet_nodes", "Registered nodes by status", Family::clone(&nodes));
        registry.register(
            "fleet_live_rollouts",
            "Rollouts that have not ended, by state",
            Family::clone(&live_rollouts),
        );
        registry.register("fleet_compiling_bundles", "Bundles that wait for a compiler", compiling_bundles.clone());
        registry.register("fleet_projects", "Projects of all orgs", projects.clone());
        registry.register("nodes_waiting", "Nodes that wait for an offer at this replica", waiting.clone());
        let fleet = Fleet { position, nodes, live_rollouts, compiling_bundles, projects, waiting };
        fleet.set_nodes(&BTreeMap::new());
        fleet.set_live_rollouts(&BTreeMap::new());
        fleet
    }

    pub fn look(&self, control: &Control) {
        self.waiting.set(number(control.waiting() as u64));
        let state = control.views().read();
        self.position.set(number(state.position.0));
        let mut nodes = BTreeMap::new();
        for row in state.nodes.rows() {
            *nodes.entry(row.node.status.as_str()).or_default() += 1;
        }
        let mut rollouts = BTreeMap::new();
        for rollout in state.rollouts.live() {
            *rollouts.entry(rollout.state.as_str()).or_default() += 1;
        }
        self.set_nodes(&nodes);
        self.set_live_rollouts(&rollouts);
        self.compiling_bundles.set(number(state.bundles.compiling().count() as u64));
        self.projects.set(number(state.orgs.projects().count() as u64));
    }

    fn set_nodes(&self, counts: &BTreeMap<&str, u64>) {
        for status in Status::ALL {
            let count = counts.get(status.as_str()).copied().unwrap_or(0);
            self.nodes.get_or_create(&[("status", status.as_str())]).set(number(count));
        }
    }

    fn set_live_rollouts(&self, counts: &BTreeMap<&str, u64>) {
        for state in LIVE {
            let count = counts.get(state).copied().unwrap_or(0);
            self.live_rollouts.get_or_create(&[("state", state)]).set(number(count));
        }
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
