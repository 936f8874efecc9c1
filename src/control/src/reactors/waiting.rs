//! Wakes nodes that wait for an offer: when a fact may have given them one, and when their time is over.

use crate::control::Control;
use domain::{Aggregate, Event, NodeId, Recorded, node, rollout};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(control: Control) {
    let mut facts = control.views().listen();
    // Who came before this listened may have missed a fact.
    control.waiters().wake_all();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            fact = facts.recv() => match fact {
                Ok(fact) => wake(&control, &fact),
                Err(RecvError::Lagged(_)) => control.waiters().wake_all(),
                Err(RecvError::Closed) => return,
            },
            _ = looks.tick() => control.waiters().end_overdue(),
        }
    }
}

/// The views hold the fact already.
fn wake(control: &Control, fact: &Recorded) {
    match (&fact.aggregate, &fact.envelope.event) {
        (_, Event::Rollout(rollout::Event::StepStarted(step))) => control.waiters().wake_these(&step.node_ids),
        // What was held back is offered again; what nodes fall back to is a new assignment.
        (
            Aggregate::Rollout { id, .. },
            Event::Rollout(rollout::Event::Resumed(_) | rollout::Event::Failed(_) | rollout::Event::Cancelled(_)),
        ) => {
            let state = control.views().read();
            let assigned: Vec<NodeId> = state
                .rollouts
                .get(*id)
                .iter()
                .flat_map(|r| &r.steps)
                .flat_map(|step| &step.node_ids)
                .copied()
                .collect();
            drop(state);
            control.waiters().wake_these(&assigned);
        }
        // It left what it was assigned, or there is nobody left to wait.
        (
            Aggregate::Node { id, .. },
            Event::Node(node::Event::BundleSwitched(_) | node::Event::Online(_) | node::Event::Deleted(_)),
        ) => control.waiters().wake(*id),
        _ => {}
    }
}
