//! The rollout engine at work: asks the pure decision what should happen next, and lets it happen. It wakes on facts, on
//! heartbeats and when the decision says that time alone changes it; there is no polling.

use crate::control::Control;
use crate::execute::{Decision, Fact, Meta, now};
use contract::ApiError;
use domain::rollout::{self, Rollout};
use domain::{Aggregate, Event, Recorded, RolloutId, Slug};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use views::{FleetView, State};

/// Actions of one rollout in a row, before others get their turn.
const ACTIONS_MAX: u32 = 64;
/// Heartbeats come in floods; looking once after each flood is enough.
const HEARD_PAUSE: Duration = Duration::from_millis(20);
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
const CAUGHT_UP_PAUSE: Duration = Duration::from_millis(20);
const DUE_PAUSE: SignedDuration = SignedDuration::from_millis(200);
/// Longest sleep without any deadline.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Which rollouts to look at.
enum Wake {
    All,
    Projects(BTreeSet<Slug>),
}

pub(crate) async fn run(control: Control) {
    let mut facts = control.views().listen();
    while !control.is_caught_up() {
        tokio::time::sleep(CAUGHT_UP_PAUSE).await;
    }
    let mut wake = Wake::All;
    loop {
        let deadline = match look(&control, &wake).await {
            Ok(deadline) => deadline,
            Err(e) => {
                tracing::warn!(error = &e as &dyn std::error::Error, "rollouts wait for the store");
                tokio::time::sleep(FAILURE_PAUSE).await;
                wake = Wake::All;
                continue;
            }
        };
        wake = next_wake(&control, &mut facts, deadline).await;
    }
}

async fn next_wake(control: &Control, facts: &mut Receiver<Arc<Recorded>>, deadline: Option<Timestamp>) -> Wake {
    let sleep = deadline.map_or(SLEEP_MAX, |at| Duration::try_from(at.duration_since(now())).unwrap_or_default());
    tokio::select! {
        fact = facts.recv() => match fact {
            Ok(fact) => drain(&fact, facts),
            Err(RecvError::Lagged(_)) => Wake::All,
            // The views of this replica are gone, and this task with them in a moment.
            Err(RecvError::Closed) => {
                tokio::time::sleep(FAILURE_PAUSE).await;
                Wake::All
            }
        },
        () = control.heard().notified() => {
            tokio::time::sleep(HEARD_PAUSE).await;
            Wake::All
        }
        () = tokio::time::sleep(sleep.min(SLEEP_MAX)) => Wake::All,
    }
}

/// All facts that are there by now, as one wake-up.
fn drain(first: &Recorded, facts: &mut Receiver<Arc<Recorded>>) -> Wake {
    let mut projects: BTreeSet<Slug> = first.aggregate.project().cloned().into_iter().collect();
    loop {
        match facts.try_recv() {
            Ok(fact) => projects.extend(fact.aggregate.project().cloned()),
            Err(TryRecvError::Lagged(_)) => return Wake::All,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Wake::Projects(projects),
        }
    }
}

/// Lets every live rollout take the steps that are due, also when one of them cannot; returns when time alone changes the next
/// answer.
async fn look(control: &Control, wake: &Wake) -> Result<Option<Timestamp>, ApiError> {
    let woken = |rollout: &&Rollout| match wake {
        Wake::All => true,
        Wake::Projects(projects) => projects.contains(&rollout.project),
    };
    let live: Vec<RolloutId> = control.views().read().rollouts.live().filter(woken).map(|r| r.id).collect();
    let mut failure = None;
    for id in live {
        if let Err(e) = act(control, id).await {
            failure.get_or_insert(e);
        }
    }
    match failure {
        Some(e) => Err(e),
        None => Ok(next_deadline(control)),
    }
}

async fn act(control: &Control, id: RolloutId) -> Result<(), ApiError> {
    for _ in 0..ACTIONS_MAX {
        if !step(control, id).await? {
            break;
        }
    }
    Ok(())
}

fn next_deadline(control: &Control) -> Option<Timestamp> {
    let limits = control.settings().rollout_limits();
    let state = control.views().read();
    let presence = control.presence().read();
    let fleet = FleetView { state: &state, presence: &presence };
    let deadline = |rollout| {
        let verdict = rollout::evaluate(rollout, &fleet, limits, now());
        // What is due already was not looked at this time, or could not be done: its turn comes soon.
        verdict.action.map_or(verdict.next_deadline, |_| now().checked_add(DUE_PAUSE).ok())
    };
    state.rollouts.live().filter_map(deadline).min()
}

/// One action, if one is due.
async fn step(control: &Control, id: RolloutId) -> Result<bool, ApiError> {
    let position = control.views().read().rollouts.get(id).map(|rollout| rollout.position);
    let Some(position) = position else { return Ok(false) };
    // Two replicas that act at the same position are one command: the first is stored, the second recognised.
    let meta = Meta::system(&["rollout", &id.to_string(), &position.to_string()]);
    let decide = |state: &State| Ok(decide(control, state, id));
    control.commit(&meta, decide).await.map(|done| done.value)
}

fn decide(control: &Control, state: &State, id: RolloutId) -> Decision<bool> {
    let Some(rollout) = state.rollouts.get(id) else { return Decision::Nothing(false) };
    let action = {
        let presence = control.presence().read();
        let fleet = FleetView { state, presence: &presence };
        rollout::evaluate(rollout, &fleet, control.settings().rollout_limits(), now()).action
    };
    let Some(Ok(event)) = action.map(|action| rollout::decide(rollout, action)) else {
        return Decision::Nothing(false);
    };
    let (org, project) = (rollout.org.clone(), rollout.project.clone());
    tracing::info!(rollout = %id, event = event.name(), "rollout moves on");
    let fact = Fact::next(Aggregate::Rollout { org, project, id }, rollout.position, Event::Rollout(event));
    Decision::Append(Box::new(fact), true)
}
