//! Late joiners: nodes that completed rollouts had to leave out get the bundle when they are online again. It wakes on nodes that
//! come online, and on the ends of rollouts: a node may have returned while one was still under way. After a start, or when facts
//! were missed, it looks at every node once.

use crate::control::Control;
use crate::execute::{Decision, Fact, Meta};
use contract::ApiError;
use domain::node::{self, Node};
use domain::rollout::{self, Command, LateAssigned, Owed, Rollout};
use domain::{Aggregate, Event, NodeId, Recorded, RolloutId, Slug};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use views::{FleetView, PresenceState, State};

/// Facts in a row, before what happened meanwhile is looked at.
const PASSES_MAX: u32 = 64;
const CAUGHT_UP_PAUSE: Duration = Duration::from_millis(20);
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Which nodes to look at.
#[derive(Default)]
struct Wake {
    all: bool,
    nodes: BTreeSet<NodeId>,
    /// Those that these were meant for.
    ended: BTreeSet<RolloutId>,
}

/// A fact to come: the rollout, as it stood at this position, and what it assigns.
struct Due {
    rollout: RolloutId,
    project: Slug,
    position: domain::Position,
    node_ids: Vec<NodeId>,
}

pub(crate) async fn run(control: Control) {
    let mut facts = control.views().listen();
    while !control.is_caught_up() {
        tokio::time::sleep(CAUGHT_UP_PAUSE).await;
    }
    let mut wake = Wake::all();
    loop {
        if let Err(e) = look(&control, &wake).await {
            tracing::warn!(error = &e as &dyn std::error::Error, "late joiners wait for the store");
            tokio::time::sleep(FAILURE_PAUSE).await;
            continue;
        }
        wake = next_wake(&mut facts).await;
    }
}

impl Wake {
    fn all() -> Wake {
        Wake { all: true, ..Wake::default() }
    }

    fn is_empty(&self) -> bool {
        !self.all && self.nodes.is_empty() && self.ended.is_empty()
    }

    fn add(&mut self, fact: &Recorded) {
        match (&fact.aggregate, &fact.envelope.event) {
            (Aggregate::Node { id, .. }, Event::Node(node::Event::Online(_) | node::Event::ActivationFailed(_))) => {
                self.nodes.insert(*id);
            }
            (
                Aggregate::Rollout { id, .. },
                Event::Rollout(
                    rollout::Event::Completed(_)
                    | rollout::Event::Failed(_)
                    | rollout::Event::Cancelled(_)
                    | rollout::Event::RollbackStarted(_),
                ),
            ) => {
                self.ended.insert(*id);
            }
            _ => {}
        }
    }
}

async fn next_wake(facts: &mut Receiver<Arc<Recorded>>) -> Wake {
    let mut wake = Wake::default();
    while wake.is_empty() {
        match facts.recv().await {
            Ok(fact) => wake.add(&fact),
            Err(RecvError::Lagged(_)) => return Wake::all(),
            // The views of this replica are gone, and this task with them in a moment.
            Err(RecvError::Closed) => tokio::time::sleep(FAILURE_PAUSE).await,
        }
    }
    loop {
        match facts.try_recv() {
            Ok(fact) => wake.add(&fact),
            Err(TryRecvError::Lagged(_)) => return Wake::all(),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return wake,
        }
    }
}

async fn look(control: &Control, wake: &Wake) -> Result<(), ApiError> {
    for _ in 0..PASSES_MAX {
        let due = due(&control.views().read(), wake);
        if due.is_empty() {
            break;
        }
        for due in due {
            assign(control, &due).await?;
        }
    }
    Ok(())
}

/// Two replicas that act at the same position are one command: the first is stored, the second recognised. What the second had
/// found beyond that, its next pass finds.
async fn assign(control: &Control, due: &Due) -> Result<(), ApiError> {
    let (rollout, position) = (due.rollout.to_string(), due.position.to_string());
    let meta = Meta::system(&["late joiners", &rollout, &position]);
    let decide = |state: &State| {
        let nodes = due.node_ids.iter().filter_map(|id| state.nodes.get(*id));
        let owed = owed(state, &due.project, nodes).into_iter().find(|(rollout, _)| rollout.id == due.rollout);
        let Some((rollout, late)) = owed else { return Ok(Decision::Nothing(())) };
        let count = late.node_ids.len();
        let Ok(event) = rollout::decide(rollout, Command::AssignLate(late)) else {
            return Ok(Decision::Nothing(()));
        };
        tracing::info!(rollout = %rollout.id, nodes = count, "deferred nodes have returned");
        let (org, project, id) = (rollout.org.clone(), rollout.project.clone(), rollout.id);
        let fact = Fact::next(Aggregate::Rollout { org, project, id }, rollout.position, Event::Rollout(event));
        Ok(Decision::Append(Box::new(fact), ()))
    };
    control.commit(&meta, decide).await.map(drop)
}

fn due<'s>(state: &'s State, wake: &Wake) -> Vec<Due> {
    let mut by_project: BTreeMap<&Slug, BTreeMap<NodeId, &Node>> = BTreeMap::new();
    let mut add = |node: &'s Node| {
        by_project.entry(&node.project).or_default().insert(node.id, node);
    };
    if wake.all {
        state.nodes.rows().for_each(|row| add(&row.node));
    } else {
        wake.nodes.iter().filter_map(|id| state.nodes.get(*id)).for_each(&mut add);
        for rollout in wake.ended.iter().filter_map(|id| state.rollouts.get(*id)) {
            let nodes = state.nodes.of_project(&rollout.project);
            nodes.filter(|node| rollout::is_meant(rollout, node)).for_each(&mut add);
        }
    }
    let owed = by_project.into_iter().flat_map(|(project, nodes)| owed(state, project, nodes.into_values()));
    let due = |(rollout, late): (&Rollout, LateAssigned)| Due {
        rollout: rollout.id,
        project: rollout.project.clone(),
        position: rollout.position,
        node_ids: late.node_ids,
    };
    owed.map(due).collect()
}

fn owed<'a, 'n>(
    state: &'a State,
    project: &Slug,
    nodes: impl Iterator<Item = &'n Node>,
) -> Vec<(&'a Rollout, LateAssigned)> {
    let presence = PresenceState::default();
    let rollouts = state.rollouts.newest_first(project, None).map(|(_, rollout)| rollout);
    Owed::of(rollouts).to(nodes, &FleetView { state, presence: &presence })
}
