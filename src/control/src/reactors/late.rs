//! Late joiners: a node that comes online, and that a completed rollout had to leave out, gets that rollout's bundle. It wakes on
//! facts of nodes; after a start, or when facts were missed, it looks at every node once.

use crate::control::Control;
use crate::execute::{Decision, Fact, Meta};
use contract::ApiError;
use domain::node::{self, Status};
use domain::rollout::{self, Command, LateAssigned, Rollout};
use domain::{Aggregate, Event, NodeId, Recorded};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use views::{FleetView, PresenceState, State};

const CAUGHT_UP_PAUSE: Duration = Duration::from_millis(20);
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Which nodes to look at.
enum Wake {
    All,
    Nodes(BTreeSet<NodeId>),
}

pub(crate) async fn run(control: Control) {
    let mut facts = control.views().listen();
    while !control.is_caught_up() {
        tokio::time::sleep(CAUGHT_UP_PAUSE).await;
    }
    let mut wake = Wake::All;
    loop {
        if let Err(e) = look(&control, &wake).await {
            tracing::warn!(error = &e as &dyn std::error::Error, "late joiners wait for the store");
            tokio::time::sleep(FAILURE_PAUSE).await;
            wake = Wake::All;
            continue;
        }
        wake = next_wake(&mut facts).await;
    }
}

async fn next_wake(facts: &mut Receiver<Arc<Recorded>>) -> Wake {
    let mut nodes = BTreeSet::new();
    while nodes.is_empty() {
        match facts.recv().await {
            Ok(fact) => nodes.extend(came_online(&fact)),
            Err(RecvError::Lagged(_)) => return Wake::All,
            // The views of this replica are gone, and this task with them in a moment.
            Err(RecvError::Closed) => tokio::time::sleep(FAILURE_PAUSE).await,
        }
    }
    loop {
        match facts.try_recv() {
            Ok(fact) => nodes.extend(came_online(&fact)),
            Err(TryRecvError::Lagged(_)) => return Wake::All,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Wake::Nodes(nodes),
        }
    }
}

fn came_online(fact: &Recorded) -> Option<NodeId> {
    match (&fact.aggregate, &fact.envelope.event) {
        (Aggregate::Node { id, .. }, Event::Node(node::Event::Online(_) | node::Event::ActivationFailed(_))) => {
            Some(*id)
        }
        _ => None,
    }
}

async fn look(control: &Control, wake: &Wake) -> Result<(), ApiError> {
    let due: Vec<(NodeId, Aggregate)> = {
        let state = control.views().read();
        let one = |id: NodeId| due(&state, id).map(|(rollout, _)| (id, aggregate(rollout)));
        match wake {
            Wake::Nodes(ids) => ids.iter().filter_map(|id| one(*id)).collect(),
            Wake::All => {
                let online = state.nodes.rows().filter(|row| row.node.status == Status::Online);
                online.filter_map(|row| one(row.node.id)).collect()
            }
        }
    };
    for (id, aggregate) in due {
        assign(control, id, &aggregate).await?;
    }
    Ok(())
}

/// Two replicas that see the same node return form the same command.
async fn assign(control: &Control, id: NodeId, wanted: &Aggregate) -> Result<(), ApiError> {
    let meta = Meta::system(&["late joiner", &id.to_string(), &wanted.id()]);
    let decide = |state: &State| {
        let Some((rollout, late)) = due(state, id).filter(|(rollout, _)| aggregate(rollout) == *wanted) else {
            return Ok(Decision::Nothing(()));
        };
        let Ok(event) = rollout::decide(rollout, Command::AssignLate(late)) else {
            return Ok(Decision::Nothing(()));
        };
        tracing::info!(rollout = %rollout.id, node = %id, "a deferred node has returned");
        let fact = Fact::next(aggregate(rollout), rollout.position, Event::Rollout(event));
        Ok(Decision::Append(Box::new(fact), ()))
    };
    control.commit(&meta, decide).await.map(drop)
}

/// The newest completed rollout that went on without the node, unless one that is under way is for it.
fn due(state: &State, id: NodeId) -> Option<(&Rollout, LateAssigned)> {
    let node = state.nodes.get(id)?;
    let mut awaiting = state.rollouts.awaiting(&node.project);
    let first = awaiting.next()?;
    let is_for_it = |rollout: &Rollout| rollout.project == node.project && rollout.spec.target_selector.matches(node);
    if state.rollouts.live().any(|rollout| rollout.holds_nodes() && is_for_it(rollout)) {
        return None;
    }
    let presence = PresenceState::default();
    let fleet = FleetView { state, presence: &presence };
    let mut all = std::iter::once(first).chain(awaiting);
    all.find_map(|rollout| Some((rollout, rollout::late_joiner(rollout, node, &fleet)?)))
}

fn aggregate(rollout: &Rollout) -> Aggregate {
    Aggregate::Rollout { org: rollout.org.clone(), project: rollout.project.clone(), id: rollout.id }
}
