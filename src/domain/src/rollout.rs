//! A rollout: one bundle, in steps, over the nodes that a selector matches. `decide` says which wishes are allowed, `engine`
//! says what should happen next, both on values alone.
//!
//! Absent on purpose: a plan of all steps in advance. Every step picks its nodes when it starts and records them in one fact,
//! so nodes that return or join before the end are taken along, and no fact grows with the fleet.

mod decide;
mod engine;
mod explain;
mod late;
mod nodes;
mod progress;
mod rollback;
mod selector;

pub use decide::{Command, Rejection, decide};
pub use engine::{Blocker, Limits, Verdict, evaluate};
pub use explain::{EVIDENCE_NODES_MAX, Evidence, Explanation, NodeExplanation, explain, explain_node};
pub use late::{LateAssigned, LateJoiners, Owed, is_meant};
pub use nodes::{Member, NodeReport, NodeState, members, report};
pub use progress::{NodeProgress, Progress, deferred, node_progress, progress};
pub use rollback::{
    Left, LeftReason, Restore, Rollback, RollbackEnded, RollbackProgress, RollbackStarted, plan, rollback_progress,
};
pub use selector::Selector;

use crate::event::events;
use crate::{BundleId, Digest, NodeId, Position, RolloutId, Slug};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most nodes in one step: keeps the fact that lists them under the body limit of the journal.
pub const STEP_NODES_MAX: usize = 10_000;
/// How many node ids a cause names.
pub const CAUSE_NODES_MAX: usize = 20;

events! {
    /// Accepted, and running unless it is held.
    Created(Spec) = "created" v 1,
    /// A held rollout begins to run.
    Started(Started) = "started" v 1,
    /// Assigns the bundle to the listed nodes. Its position is the counter of their assignments. With a known index it repeats
    /// the assignment for nodes of that step.
    StepStarted(StepStarted) = "step_started" v 1,
    /// Every node of the step runs the bundle, or was given up within what is tolerated.
    StepCompleted(StepCompleted) = "step_completed" v 1,
    /// Stopped until somebody resumes or cancels it; nodes keep the assignments that they have.
    Paused(Paused) = "paused" v 1,
    /// Goes on: failed nodes are tried once more, lost ones are given up.
    Resumed(Resumed) = "resumed" v 1,
    /// Every matched node that could be reached runs the bundle.
    Completed(Completed) = "completed" v 1,
    /// Ended without success; assignments that were not taken yet are withdrawn.
    Failed(Failed) = "failed" v 1,
    /// Ended by an operator, or because it was paused or pending for too long; assignments that were not taken yet are withdrawn.
    Cancelled(Cancelled) = "cancelled" v 1,
    /// Ended, if it has not yet, by an operator who wants back what ran before: assigns each listed node the bundle that it ran
    /// before the rollout. Its position is the counter of their assignments. Further ones list further nodes.
    RollbackStarted(RollbackStarted) = "rollback_started" v 1,
    /// The nodes have reported what they ran before, or time was up; assignments that were not taken yet are withdrawn.
    RollbackEnded(RollbackEnded) = "rollback_ended" v 1,
    /// Assigns the bundle of a completed rollout to nodes that it is for, which were offline and have returned. Its position is
    /// the counter of their assignments.
    LateAssigned(LateAssigned) = "late_assigned" v 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Batches, one after the other.
    Rolling,
    /// Every node at once.
    AllAtOnce,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthGates {
    /// A node counts as done only with a heartbeat younger than its assignment and than two intervals whose `health.status` is
    /// absent or `healthy`.
    pub heartbeat_healthy: bool,
}

/// What was asked for; never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spec {
    pub bundle_id: BundleId,
    pub strategy: Strategy,
    pub target_selector: Selector,
    /// Nodes per step of a rolling rollout; a percentage is turned into this number at creation.
    pub batch_size: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_percentage: Option<u8>,
    /// How many nodes of a running step may be offline before the rollout pauses.
    pub max_unavailable: u32,
    /// How long a step may take, not counting pauses.
    pub progress_deadline_s: u32,
    pub health_gates: HealthGates,
    /// How many nodes the selector matched at creation.
    pub target_count: u32,
    /// Waits for `started`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    #[serde(default, skip_serializing_if = "LateJoiners::is_join")]
    pub late_joiners: LateJoiners,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepStarted {
    pub step_index: u32,
    /// 0, then one more for every repeat.
    pub attempt: u32,
    pub bundle_id: BundleId,
    /// SHA-256 of the archive that the nodes are to run.
    pub digest: Digest,
    pub node_ids: Vec<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepCompleted {
    pub step_index: u32,
    /// Nodes of the step that did not take the bundle but were tolerated: gone, lost, or taken over by another rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deferred_node_ids: Vec<NodeId>,
}

/// Why a rollout paused, failed or was cancelled by the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// An operator asked for it.
    Requested,
    /// A node reported that it could not activate the bundle.
    ActivationFailed,
    /// More nodes of the step are offline than `max_unavailable` allows.
    MaxUnavailableExceeded,
    StepDeadlineExceeded,
    /// No node could be given the bundle before the deadline.
    NoNodeAvailable,
    BundleRevoked,
    /// Paused for longer than the installation allows.
    PausedTooLong,
    /// Not started for longer than the installation allows.
    PendingTooLong,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    pub reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_index: Option<u32>,
    /// Nodes concerned, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_ids: Vec<NodeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Cause {
    fn requested() -> Cause {
        Cause { reason: Reason::Requested, step_index: None, node_ids: Vec::new(), message: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paused {
    pub cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resumed {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Completed {
    /// Nodes that run the bundle because of this rollout.
    pub updated: u32,
    /// Nodes that the selector matches but that were offline throughout.
    pub deferred: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    pub cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    pub cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Created and not started: holds no node.
    Pending,
    Running,
    Paused {
        cause: Cause,
        since: Timestamp,
    },
    Completed,
    Failed(Cause),
    Cancelled(Cause),
}

impl State {
    pub const NAMES: [&'static str; 6] = ["pending", "running", "paused", "completed", "failed", "cancelled"];

    pub fn as_str(&self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Running => "running",
            State::Paused { .. } => "paused",
            State::Completed => "completed",
            State::Failed(_) => "failed",
            State::Cancelled(_) => "cancelled",
        }
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self, State::Completed | State::Failed(_) | State::Cancelled(_))
    }

    pub fn cause(&self) -> Option<&Cause> {
        match self {
            State::Pending | State::Running | State::Completed => None,
            State::Paused { cause, .. } | State::Failed(cause) | State::Cancelled(cause) => Some(cause),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub index: u32,
    pub attempt: u32,
    pub node_ids: Vec<NodeId>,
    pub deferred_node_ids: Vec<NodeId>,
    pub started_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    /// From when the progress deadline counts: the start, the newest repeat or the newest resumption.
    pub deadline_from: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub id: RolloutId,
    pub org: Slug,
    pub project: Slug,
    pub spec: Spec,
    pub state: State,
    pub steps: Vec<Step>,
    pub created_at: Timestamp,
    /// Where it was created.
    pub created: Position,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    /// Where it ended.
    pub ended: Option<Position>,
    pub rollback: Option<Rollback>,
    /// How many nodes were left out at its completion.
    pub deferred: u32,
    /// Nodes that got the bundle after the rollout had completed.
    pub late: Vec<NodeId>,
    /// Where it was last resumed: failures and losses before that are the operator's knowledge.
    pub resumed: Option<Position>,
    /// From when the rollout as a whole waits for a first node.
    pub waiting_from: Timestamp,
    pub position: Position,
}

impl Rollout {
    pub fn created(
        (org, project, id): (Slug, Slug, RolloutId),
        spec: &Spec,
        time: Timestamp,
        position: Position,
    ) -> Rollout {
        Rollout {
            id,
            org,
            project,
            spec: spec.clone(),
            state: if spec.held { State::Pending } else { State::Running },
            steps: Vec::new(),
            created_at: time,
            created: position,
            started_at: (!spec.held).then_some(time),
            updated_at: time,
            completed_at: None,
            ended: None,
            rollback: None,
            deferred: 0,
            late: Vec::new(),
            resumed: None,
            waiting_from: time,
            position,
        }
    }

    pub fn evolve(&mut self, event: &Event, time: Timestamp, position: Position) {
        self.position = position;
        self.updated_at = time;
        match event {
            Event::Created(_) => {}
            Event::Started(_) if self.state == State::Pending => {
                (self.state, self.started_at, self.waiting_from) = (State::Running, Some(time), time);
            }
            // A cancellation came first.
            Event::Started(_) => {}
            Event::StepStarted(started) => self.start_step(started, time),
            Event::StepCompleted(completed) => {
                if let Some(step) = self.steps.iter_mut().find(|step| step.index == completed.step_index) {
                    step.completed_at = Some(time);
                    step.deferred_node_ids.clone_from(&completed.deferred_node_ids);
                }
                self.waiting_from = time;
            }
            Event::Paused(paused) => self.state = State::Paused { cause: paused.cause.clone(), since: time },
            Event::Resumed(_) => {
                self.state = State::Running;
                self.resumed = Some(position);
                self.waiting_from = time;
                for step in self.steps.iter_mut().filter(|step| step.completed_at.is_none()) {
                    step.deadline_from = time;
                }
            }
            Event::Completed(completed) => {
                self.deferred = completed.deferred;
                self.end(State::Completed, time);
            }
            Event::Failed(failed) => self.end(State::Failed(failed.cause.clone()), time),
            Event::Cancelled(cancelled) => self.end(State::Cancelled(cancelled.cause.clone()), time),
            Event::RollbackStarted(started) => {
                if !self.state.is_terminal() {
                    self.end(State::Cancelled(Cause::requested()), time);
                }
                self.rollback.get_or_insert_with(|| Rollback::started(time)).add(started);
            }
            Event::RollbackEnded(ended) => {
                if let Some(rollback) = &mut self.rollback {
                    rollback.ended = Some((ended.clone(), time));
                }
            }
            Event::LateAssigned(assigned) => self.late.extend(&assigned.node_ids),
        }
    }

    fn start_step(&mut self, started: &StepStarted, time: Timestamp) {
        match self.steps.iter_mut().find(|step| step.index == started.step_index) {
            Some(step) => (step.attempt, step.deadline_from) = (started.attempt, time),
            None => self.steps.push(Step {
                index: started.step_index,
                attempt: started.attempt,
                node_ids: started.node_ids.clone(),
                deferred_node_ids: Vec::new(),
                started_at: time,
                completed_at: None,
                deadline_from: time,
            }),
        }
    }

    fn end(&mut self, state: State, time: Timestamp) {
        self.state = state;
        self.completed_at = Some(time);
        self.ended = Some(self.position);
    }

    /// Not at its end, or its rollback is not: the engine has to look at it.
    pub fn is_live(&self) -> bool {
        !self.state.is_terminal() || self.is_rolling_back()
    }

    /// No other rollout and no direct assignment may touch the nodes that it is for.
    pub fn holds_nodes(&self) -> bool {
        matches!(self.state, State::Running | State::Paused { .. })
    }

    /// A node that asks gets none of what its steps assigned. The end of a rollback withdraws what was withheld.
    pub fn withholds_offers(&self) -> bool {
        matches!(self.state, State::Paused { .. }) || self.is_rolling_back()
    }

    fn is_rolling_back(&self) -> bool {
        self.rollback.as_ref().is_some_and(|rollback| rollback.ended.is_none())
    }
}
