//! What a rollout should do next. A pure function of its state, the fleet and the time: the same question may be asked by every
//! replica, at any moment and any number of times; the expected position lets one answer through.

use super::progress::{NodeProgress, available, deferred, node_progress, unstarted};
use super::{
    CAUSE_NODES_MAX, Cause, Command, Completed, Reason, Rollout, STEP_NODES_MAX, State, Step, StepCompleted,
    StepStarted, Strategy, rollback,
};
use crate::fleet::Fleet;
use crate::{NodeId, Position};
use jiff::{SignedDuration, Timestamp};

/// What holds a rollout up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// Held until an operator starts or cancels it.
    NotStarted,
    Paused,
    Ended,
    /// Nodes of the step that have not reported the bundle.
    NodesPending {
        step_index: u32,
        node_ids: Vec<NodeId>,
    },
    /// Nodes of the step that run it without a fresh healthy heartbeat.
    NodesVerifying {
        step_index: u32,
        node_ids: Vec<NodeId>,
    },
    /// Every node that the selector matches and that has not got the bundle is offline.
    NobodyAvailable,
    /// Nodes that have not reported what they ran before.
    NodesRestoring {
        node_ids: Vec<NodeId>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What to do now, if anything.
    pub action: Option<Command>,
    /// Why there is nothing to do.
    pub blocker: Option<Blocker>,
    /// When the answer changes even if no fact arrives.
    pub next_deadline: Option<Timestamp>,
}

/// Settings of the installation that the decision needs.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub paused_max_s: u32,
    pub pending_max_s: u32,
    /// Two heartbeat intervals: how old a proof of health may be.
    pub beat_age_max_s: u32,
}

impl Verdict {
    pub(super) fn act(command: Command) -> Verdict {
        Verdict { action: Some(command), blocker: None, next_deadline: None }
    }

    pub(super) fn wait(blocker: Blocker, next_deadline: Option<Timestamp>) -> Verdict {
        Verdict { action: None, blocker: Some(blocker), next_deadline }
    }
}

pub fn evaluate(rollout: &Rollout, fleet: &dyn Fleet, limits: Limits, now: Timestamp) -> Verdict {
    match &rollout.state {
        State::Pending => {
            let until = after(rollout.created_at, limits.pending_max_s);
            stopped(Blocker::NotStarted, until, Reason::PendingTooLong, now)
        }
        State::Paused { since, .. } => {
            stopped(Blocker::Paused, after(*since, limits.paused_max_s), Reason::PausedTooLong, now)
        }
        State::Completed | State::Failed(_) | State::Cancelled(_) => rollback::evaluate(rollout, fleet, now),
        State::Running => running(rollout, fleet, limits, now),
    }
}

/// People have to go on, and may take until then.
fn stopped(blocker: Blocker, until: Timestamp, reason: Reason, now: Timestamp) -> Verdict {
    if now >= until {
        return Verdict::act(Command::CancelBecause(cause(reason, None, Vec::new(), None)));
    }
    Verdict::wait(blocker, Some(until))
}

fn running(rollout: &Rollout, fleet: &dyn Fleet, limits: Limits, now: Timestamp) -> Verdict {
    let Some(digest) = fleet.deployable_digest(rollout.spec.bundle_id) else {
        return Verdict::act(Command::Fail(cause(Reason::BundleRevoked, None, Vec::new(), None)));
    };
    let mut waiting: Option<Verdict> = None;
    for step in rollout.steps.iter().filter(|step| step.completed_at.is_none()) {
        let verdict = step_verdict(rollout, step, fleet, limits, now);
        if verdict.action.is_some() {
            return verdict;
        }
        // The oldest step says what is waited for; a younger one may run out of time before it.
        match &mut waiting {
            None => waiting = Some(verdict),
            Some(oldest) => oldest.next_deadline = oldest.next_deadline.min(verdict.next_deadline),
        }
    }
    let may_start = waiting.is_none() || rollout.spec.strategy == Strategy::AllAtOnce;
    if may_start && let Some(node_ids) = next_batch(rollout, fleet) {
        let step_index = rollout.steps.last().map_or(0, |step| step.index + 1);
        let (bundle_id, digest) = (rollout.spec.bundle_id, digest.clone());
        return Verdict::act(Command::StartStep(StepStarted { step_index, attempt: 0, bundle_id, digest, node_ids }));
    }
    waiting.unwrap_or_else(|| finish(rollout, fleet, now))
}

/// Nobody is left to start: complete, or wait for a first node to appear.
fn finish(rollout: &Rollout, fleet: &dyn Fleet, now: Timestamp) -> Verdict {
    let updated = rollout
        .steps
        .iter()
        .map(|step| step.node_ids.len().saturating_sub(step.deferred_node_ids.len()))
        .sum::<usize>();
    if updated == 0 {
        let until = after(rollout.waiting_from, rollout.spec.progress_deadline_s);
        if now >= until {
            return Verdict::act(Command::Fail(cause(Reason::NoNodeAvailable, None, Vec::new(), None)));
        }
        return Verdict::wait(Blocker::NobodyAvailable, Some(until));
    }
    let deferred = deferred(rollout, fleet).count();
    Verdict::act(Command::Complete(Completed { updated: updated as u32, deferred: deferred as u32 }))
}

fn step_verdict(rollout: &Rollout, step: &Step, fleet: &dyn Fleet, limits: Limits, now: Timestamp) -> Verdict {
    let mut found = Found::default();
    for &id in &step.node_ids {
        match node_progress(rollout, id, fleet, limits, now) {
            NodeProgress::Done => {}
            NodeProgress::Verifying => found.verifying.push(id),
            NodeProgress::Pending => found.pending.push(id),
            NodeProgress::Failed(reason) => found.failed.push((id, reason)),
            NodeProgress::Lost { acknowledged: false } => found.lost.push(id),
            NodeProgress::Lost { acknowledged: true } | NodeProgress::Gone => found.given_up.push(id),
        }
    }
    let index = Some(step.index);
    if !found.failed.is_empty() {
        return on_failures(rollout, step, fleet, found.failed);
    }
    if found.lost.len() > rollout.spec.max_unavailable as usize {
        let message = format!("{} node(s) of the step are offline", found.lost.len());
        let cause = cause(Reason::MaxUnavailableExceeded, index, found.lost, Some(message));
        return Verdict::act(Command::PauseBecause(cause));
    }
    if found.pending.is_empty() && found.verifying.is_empty() {
        let deferred_node_ids = found.lost.into_iter().chain(found.given_up).collect();
        return Verdict::act(Command::CompleteStep(StepCompleted { step_index: step.index, deferred_node_ids }));
    }
    let until = after(step.deadline_from, rollout.spec.progress_deadline_s);
    if now >= until {
        let (pending, verifying) = (found.pending.len(), found.verifying.len());
        let message = format!("in time, {pending} node(s) did not report the bundle and {verifying} not their health");
        let late = found.pending.into_iter().chain(found.verifying).collect();
        return Verdict::act(Command::Fail(cause(Reason::StepDeadlineExceeded, index, late, Some(message))));
    }
    let blocker = if found.pending.is_empty() {
        Blocker::NodesVerifying { step_index: step.index, node_ids: found.verifying }
    } else {
        Blocker::NodesPending { step_index: step.index, node_ids: found.pending }
    };
    Verdict::wait(blocker, Some(until))
}

#[derive(Default)]
struct Found {
    verifying: Vec<NodeId>,
    pending: Vec<NodeId>,
    failed: Vec<(NodeId, String)>,
    /// Offline, and no operator has resumed over it.
    lost: Vec<NodeId>,
    given_up: Vec<NodeId>,
}

/// New failures pause the rollout; those that an operator has seen and resumed over are tried once more.
fn on_failures(rollout: &Rollout, step: &Step, fleet: &dyn Fleet, failed: Vec<(NodeId, String)>) -> Verdict {
    let seen = |id: NodeId| {
        let at = fleet.node(id).and_then(|node| node.failure.as_ref()).map_or(Position::START, |f| f.position);
        rollout.resumed.is_some_and(|resumed| resumed > at)
    };
    let (known, new): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(id, _)| seen(*id));
    if new.is_empty()
        && let Some(digest) = fleet.deployable_digest(rollout.spec.bundle_id)
    {
        return Verdict::act(Command::StartStep(StepStarted {
            step_index: step.index,
            attempt: step.attempt + 1,
            bundle_id: rollout.spec.bundle_id,
            digest: digest.clone(),
            node_ids: known.into_iter().map(|(id, _)| id).collect(),
        }));
    }
    let message = new.first().map(|(_, reason)| reason.clone());
    let node_ids = new.into_iter().map(|(id, _)| id).collect();
    Verdict::act(Command::PauseBecause(cause(Reason::ActivationFailed, Some(step.index), node_ids, message)))
}

/// Matched, available, and in no step yet; by name, at most one step's worth.
fn next_batch(rollout: &Rollout, fleet: &dyn Fleet) -> Option<Vec<NodeId>> {
    let size = match rollout.spec.strategy {
        Strategy::Rolling => (rollout.spec.batch_size as usize).clamp(1, STEP_NODES_MAX),
        Strategy::AllAtOnce => STEP_NODES_MAX,
    };
    let batch: Vec<NodeId> =
        unstarted(rollout, fleet).filter(|node| available(node)).map(|n| n.id).take(size).collect();
    (!batch.is_empty()).then_some(batch)
}

fn cause(reason: Reason, step_index: Option<u32>, mut node_ids: Vec<NodeId>, message: Option<String>) -> Cause {
    node_ids.truncate(CAUSE_NODES_MAX);
    Cause { reason, step_index, node_ids, message }
}

pub(super) fn after(from: Timestamp, seconds: u32) -> Timestamp {
    from.saturating_add(SignedDuration::from_secs(i64::from(seconds))).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
