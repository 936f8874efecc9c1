//! Which wishes a rollout's state allows.

use super::{
    Cancelled, Cause, Completed, Event, Failed, LateAssigned, LateJoiners, Paused, Resumed, RollbackEnded,
    RollbackStarted, Rollout, Started, State, StepCompleted, StepStarted,
};
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An operator's wishes.
    Start,
    Pause,
    Resume,
    Cancel,
    /// With the first nodes to be restored, see [`super::plan`].
    Rollback(RollbackStarted),
    /// The engine's.
    StartStep(StepStarted),
    CompleteStep(StepCompleted),
    Complete(Completed),
    PauseBecause(Cause),
    Fail(Cause),
    CancelBecause(Cause),
    ContinueRollback(RollbackStarted),
    EndRollback(RollbackEnded),
    /// The late joiners'.
    AssignLate(LateAssigned),
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    #[error("Rollout cannot be started in current state")]
    NotStartable,
    #[error("Rollout cannot be paused in current state")]
    NotPausable,
    #[error("Rollout cannot be resumed in current state")]
    NotResumable,
    #[error("Rollout cannot be cancelled in current state")]
    NotCancellable,
    #[error("Rollout has not started, so that there is nothing to roll back; cancel it")]
    NothingToRollBack,
    #[error("Rollout has completed and cannot be rolled back; create a rollout of the older bundle")]
    RollbackAfterCompletion,
    #[error("Rollout is rolled back already")]
    RolledBack,
    /// The engine decided on a state that is gone; nothing to do.
    #[error("the rollout has moved on")]
    MovedOn,
}

pub fn decide(rollout: &Rollout, command: Command) -> Result<Event, Rejection> {
    let running = matches!(rollout.state, State::Running);
    let paused = matches!(rollout.state, State::Paused { .. });
    let pending = matches!(rollout.state, State::Pending);
    match command {
        Command::Start if pending => Ok(Event::Started(Started {})),
        Command::Start => Err(Rejection::NotStartable),
        Command::Pause if running => Ok(Event::Paused(Paused { cause: Cause::requested() })),
        Command::Pause => Err(Rejection::NotPausable),
        Command::Resume if paused => Ok(Event::Resumed(Resumed {})),
        Command::Resume => Err(Rejection::NotResumable),
        Command::Cancel if pending || running || paused => {
            Ok(Event::Cancelled(Cancelled { cause: Cause::requested() }))
        }
        Command::Cancel => Err(Rejection::NotCancellable),
        Command::Rollback(_) if pending || rollout.started_at.is_none() => Err(Rejection::NothingToRollBack),
        Command::Rollback(_) if rollout.state == State::Completed => Err(Rejection::RollbackAfterCompletion),
        Command::Rollback(_) if rollout.rollback.is_some() => Err(Rejection::RolledBack),
        Command::Rollback(started) => Ok(Event::RollbackStarted(started)),
        Command::StartStep(started) if running && may_start(rollout, &started) => Ok(Event::StepStarted(started)),
        Command::CompleteStep(completed) if running && is_open(rollout, completed.step_index) => {
            Ok(Event::StepCompleted(completed))
        }
        Command::Complete(completed) if running && rollout.steps.iter().all(|s| s.completed_at.is_some()) => {
            Ok(Event::Completed(completed))
        }
        Command::PauseBecause(cause) if running => Ok(Event::Paused(Paused { cause })),
        Command::Fail(cause) if running => Ok(Event::Failed(Failed { cause })),
        Command::CancelBecause(cause) if paused || pending => Ok(Event::Cancelled(Cancelled { cause })),
        Command::ContinueRollback(more) if rollout.is_rolling_back() => Ok(Event::RollbackStarted(more)),
        Command::EndRollback(ended) if rollout.is_rolling_back() => Ok(Event::RollbackEnded(ended)),
        Command::AssignLate(assigned)
            if rollout.state == State::Completed && rollout.spec.late_joiners == LateJoiners::Join =>
        {
            Ok(Event::LateAssigned(assigned))
        }
        Command::StartStep(_)
        | Command::CompleteStep(_)
        | Command::Complete(_)
        | Command::PauseBecause(_)
        | Command::Fail(_)
        | Command::CancelBecause(_)
        | Command::ContinueRollback(_)
        | Command::EndRollback(_)
        | Command::AssignLate(_) => Err(Rejection::MovedOn),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
