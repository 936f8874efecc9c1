//! Which wishes a rollout's state allows.

use super::{
    Cancelled, Cause, Completed, Event, Failed, Paused, Reason, Resumed, Rollout, State, StepCompleted, StepStarted,
};
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An operator's wishes.
    Pause,
    Resume,
    Cancel,
    /// The engine's.
    StartStep(StepStarted),
    CompleteStep(StepCompleted),
    Complete(Completed),
    PauseBecause(Cause),
    Fail(Cause),
    CancelBecause(Cause),
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    #[error("Rollout cannot be paused in current state")]
    NotPausable,
    #[error("Rollout cannot be resumed in current state")]
    NotResumable,
    #[error("Rollout cannot be cancelled in current state")]
    NotCancellable,
    /// The engine decided on a state that is gone; nothing to do.
    #[error("the rollout has moved on")]
    MovedOn,
}

pub fn decide(rollout: &Rollout, command: Command) -> Result<Event, Rejection> {
    let running = matches!(rollout.state, State::Running);
    let paused = matches!(rollout.state, State::Paused { .. });
    match command {
        Command::Pause if running => Ok(Event::Paused(Paused { cause: requested() })),
        Command::Pause => Err(Rejection::NotPausable),
        Command::Resume if paused => Ok(Event::Resumed(Resumed {})),
        Command::Resume => Err(Rejection::NotResumable),
        Command::Cancel if running || paused => Ok(Event::Cancelled(Cancelled { cause: requested() })),
        Command::Cancel => Err(Rejection::NotCancellable),
        Command::StartStep(started) if running && may_start(rollout, &started) => Ok(Event::StepStarted(started)),
        Command::CompleteStep(completed) if running && is_open(rollout, completed.step_index) => {
            Ok(Event::StepCompleted(completed))
        }
        Command::Complete(completed) if running && rollout.steps.iter().all(|s| s.completed_at.is_some()) => {
            Ok(Event::Completed(completed))
        }
        Command::PauseBecause(cause) if running => Ok(Event::Paused(Paused { cause })),
        Command::Fail(cause) if running => Ok(Event::Failed(Failed { cause })),
        Command::CancelBecause(cause) if paused => Ok(Event::Cancelled(Cancelled { cause })),
        Command::StartStep(_)
        | Command::CompleteStep(_)
        | Command::Complete(_)
        | Command::PauseBecause(_)
        | Command::Fail(_)
        | Command::CancelBecause(_) => Err(Rejection::MovedOn),
    }
}

/// The next step, or the next attempt of one that is not completed: deciding the same start twice starts once.
fn may_start(rollout: &Rollout, started: &StepStarted) -> bool {
    match rollout.steps.iter().find(|step| step.index == started.step_index) {
        Some(step) => step.completed_at.is_none() && started.attempt == step.attempt + 1,
        None => started.attempt == 0 && started.step_index == rollout.steps.last().map_or(0, |last| last.index + 1),
    }
}

fn is_open(rollout: &Rollout, step_index: u32) -> bool {
    rollout.steps.iter().any(|step| step.index == step_index && step.completed_at.is_none())
}

fn requested() -> Cause {
    Cause { reason: Reason::Requested, step_index: None, node_ids: Vec::new(), message: None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
