use super::*;
use crate::rollout::{HealthGates, LateJoiners, Reason, Selector, Spec, Strategy};
use crate::{BundleId, NodeId, Position, RolloutId};
use jiff::Timestamp;

const NODE: NodeId = NodeId::from_bytes([1; 16]);

fn spec() -> Spec {
    Spec {
        bundle_id: BundleId::from_bytes([2; 16]),
        strategy: Strategy::Rolling,
        target_selector: Selector::All {},
        batch_size: 1,
        batch_percentage: None,
        max_unavailable: 0,
        progress_deadline_s: 600,
        health_gates: HealthGates { heartbeat_healthy: true },
        target_count: 1,
        held: false,
        late_joiners: LateJoiners::Join,
    }
}

fn given(facts: &[Event]) -> Rollout {
    let names = ("default".parse().unwrap(), "demo".parse().unwrap(), RolloutId::from_bytes([3; 16]));
    let mut rollout = Rollout::created(names, &spec(), Timestamp::UNIX_EPOCH, Position(1));
    for (i, fact) in facts.iter().enumerate() {
        rollout.evolve(fact, Timestamp::from_second(i as i64 + 1).unwrap(), Position(i as u64 + 2));
    }
    rollout
}

fn because(reason: Reason) -> Cause {
    Cause { reason, step_index: None, node_ids: Vec::new(), message: None }
}

fn start(step_index: u32, attempt: u32) -> StepStarted {
    let digest = "a".repeat(64).parse().unwrap();
    StepStarted { step_index, attempt, bundle_id: spec().bundle_id, digest, node_ids: vec![NODE] }
}

fn started(step_index: u32, attempt: u32) -> Event {
    Event::StepStarted(start(step_index, attempt))
}

fn complete(step_index: u32) -> StepCompleted {
    StepCompleted { step_index, deferred_node_ids: Vec::new() }
}

fn paused() -> Event {
    Event::Paused(Paused { cause: because(Reason::Requested) })
}

fn cancelled() -> Event {
    Event::Cancelled(Cancelled { cause: because(Reason::Requested) })
}

fn failed() -> Event {
    Event::Failed(Failed { cause: because(Reason::BundleRevoked) })
}

/// A rollout that waits to be started.
fn held(facts: &[Event]) -> Rollout {
    let mut rollout = given(&[]);
    let names = (rollout.org.clone(), rollout.project.clone(), rollout.id);
    rollout = Rollout::created(names, &Spec { held: true, ..spec() }, Timestamp::UNIX_EPOCH, Position(1));
    for (i, fact) in facts.iter().enumerate() {
        rollout.evolve(fact, Timestamp::from_second(i as i64 + 1).unwrap(), Position(i as u64 + 2));
    }
    rollout
}

fn is_complete() -> Completed {
    Completed { updated: 1, deferred: 0 }
}

#[test]
fn wishes_of_operators_in_every_state() {
    use Command::{Cancel, Pause, Resume};
    let resumed = || Ok(Event::Resumed(Resumed {}));
    let (no_pause, no_resume, no_cancel) =
        (|| Err(Rejection::NotPausable), || Err(Rejection::NotResumable), || Err(Rejection::NotCancellable));
    let failed = failed();
    let ended = [vec![Event::Completed(is_complete())], vec![failed], vec![cancelled()]];
    let mut cases = vec![
        (vec![], Pause, Ok(paused())),
        (vec![], Resume, no_resume()),
        (vec![], Cancel, Ok(cancelled())),
        (vec![paused()], Pause, no_pause()),
        (vec![paused()], Resume, resumed()),
        (vec![paused()], Cancel, Ok(cancelled())),
        (vec![paused(), Event::Resumed(Resumed {})], Pause, Ok(paused())),
    ];
    for facts in ended {
        cases.push((facts.clone(), Pause, no_pause()));
        cases.push((facts.clone(), Resume, no_resume()));
        cases.push((facts, Cancel, no_cancel()));
    }
    for (facts, wish, then) in cases {
        assert_eq!(decide(&given(&facts), wish.clone()), then, "{facts:?} {wish:?}");
    }
}

#[test]
fn the_engine_acts_on_a_running_rollout_and_a_paused_one_can_only_end() {
    let cause = || because(Reason::ActivationFailed);
    let actions = [
        (Command::StartStep(start(1, 0)), Some(started(1, 0))),
        (Command::StartStep(start(0, 1)), Some(started(0, 1))),
        (Command::CompleteStep(complete(0)), Some(Event::StepCompleted(complete(0)))),
        (Command::PauseBecause(cause()), Some(Event::Paused(Paused { cause: cause() }))),
        (Command::Fail(cause()), Some(Event::Failed(Failed { cause: cause() }))),
        (Command::CancelBecause(cause()), None),
    ];
    for (action, then) in actions {
        let then_running = then.clone().ok_or(Rejection::MovedOn);
        assert_eq!(decide(&given(&[started(0, 0)]), action.clone()), then_running, "{action:?}");
        let then_paused = match &action {
            Command::CancelBecause(cause) => Ok(Event::Cancelled(Cancelled { cause: cause.clone() })),
            _ => Err(Rejection::MovedOn),
        };
        assert_eq!(decide(&given(&[started(0, 0), paused()]), action.clone()), then_paused, "{action:?}");
        let ended = given(&[started(0, 0), cancelled()]);
        assert_eq!(decide(&ended, action.clone()), Err(Rejection::MovedOn), "{action:?}");
    }
}

#[test]
fn a_step_starts_once_per_attempt_and_in_order() {
    let done = Event::StepCompleted(complete(0));
    let cases: [(Vec<Event>, StepStarted, bool); 9] = [
        (vec![], start(0, 0), true),
        (vec![], start(1, 0), false),
        (vec![], start(0, 1), false),
        (vec![started(0, 0)], start(0, 0), false),
        (vec![started(0, 0)], start(0, 1), true),
        (vec![started(0, 0)], start(0, 2), false),
        (vec![started(0, 0), started(0, 1)], start(0, 1), false),
        (vec![started(0, 0), done.clone()], start(0, 1), false),
        (vec![started(0, 0), done], start(1, 0), true),
    ];
    for (facts, start, allowed) in cases {
        let then = if allowed { Ok(Event::StepStarted(start.clone())) } else { Err(Rejection::MovedOn) };
        assert_eq!(decide(&given(&facts), Command::StartStep(start)), then, "{facts:?}");
    }
}

#[test]
fn a_step_and_a_rollout_complete_once_and_not_before_their_parts() {
    let open = given(&[started(0, 0)]);
    assert_eq!(decide(&open, Command::Complete(is_complete())), Err(Rejection::MovedOn));
    assert_eq!(decide(&open, Command::CompleteStep(complete(1))), Err(Rejection::MovedOn));
    let done = given(&[started(0, 0), Event::StepCompleted(complete(0))]);
    assert_eq!(decide(&done, Command::CompleteStep(complete(0))), Err(Rejection::MovedOn));
    assert_eq!(decide(&done, Command::Complete(is_complete())), Ok(Event::Completed(is_complete())));
    let ended = given(&[started(0, 0), Event::StepCompleted(complete(0)), Event::Completed(is_complete())]);
    assert_eq!(decide(&ended, Command::Complete(is_complete())), Err(Rejection::MovedOn));
}

#[test]
fn a_pause_costs_a_step_no_time_and_a_repeat_begins_it_anew() {
    let resumed = given(&[started(0, 0), paused(), Event::Resumed(Resumed {})]);
    let second = |n| Timestamp::from_second(n).unwrap();
    assert_eq!((resumed.steps[0].started_at, resumed.steps[0].deadline_from), (second(1), second(3)));
    assert_eq!((resumed.resumed, resumed.waiting_from), (Some(Position(4)), second(3)));
    let repeated = given(&[started(0, 0), started(0, 1)]);
    assert_eq!(repeated.steps.len(), 1);
    assert_eq!((repeated.steps[0].attempt, repeated.steps[0].deadline_from), (1, second(2)));
    let done = given(&[started(0, 0), Event::StepCompleted(complete(0)), paused(), Event::Resumed(Resumed {})]);
    assert_eq!(done.steps[0].deadline_from, second(1));
}

#[test]
fn a_held_rollout_can_be_started_or_cancelled_and_nothing_else() {
    let pending = held(&[]);
    assert_eq!((pending.state.clone(), pending.started_at, pending.holds_nodes()), (State::Pending, None, false));
    let started = Event::Started(Started {});
    let cases = [
        (Command::Start, Ok(started.clone())),
        (Command::Cancel, Ok(cancelled())),
        (Command::Pause, Err(Rejection::NotPausable)),
        (Command::Resume, Err(Rejection::NotResumable)),
        (Command::Rollback(RollbackStarted::default()), Err(Rejection::NothingToRollBack)),
        (Command::StartStep(start(0, 0)), Err(Rejection::MovedOn)),
    ];
    for (wish, then) in cases {
        assert_eq!(decide(&pending, wish.clone()), then, "{wish:?}");
    }
    let running = held(std::slice::from_ref(&started));
    let second = Timestamp::from_second(1).unwrap();
    assert_eq!(
        (running.state.clone(), running.started_at, running.waiting_from),
        (State::Running, Some(second), second)
    );
    assert_eq!(decide(&running, Command::Start), Err(Rejection::NotStartable));
    assert_eq!(decide(&given(&[]), Command::Start), Err(Rejection::NotStartable), "it runs from its creation");
    let ended = held(&[cancelled(), started]);
    assert_eq!(ended.state, State::Cancelled(because(Reason::Requested)), "nothing starts after its end");
    let never = decide(&ended, Command::Rollback(RollbackStarted::default()));
    assert_eq!(never, Err(Rejection::NothingToRollBack));
}

#[test]
fn a_rollout_is_rolled_back_once_and_not_after_its_completion() {
    let rollback = || Command::Rollback(RollbackStarted::default());
    let fact = Event::RollbackStarted(RollbackStarted::default());
    let over = RollbackEnded { restored: 0, left: 0, node_ids: Vec::new() };
    for facts in [vec![], vec![paused()], vec![failed()], vec![cancelled()]] {
        assert_eq!(decide(&given(&facts), rollback()), Ok(fact.clone()), "{facts:?}");
    }
    let completed = given(&[Event::Completed(is_complete())]);
    assert_eq!(decide(&completed, rollback()), Err(Rejection::RollbackAfterCompletion));
    let running = given(&[paused(), fact.clone()]);
    assert_eq!((running.state.as_str(), running.is_live()), ("cancelled", true));
    assert_eq!(decide(&running, rollback()), Err(Rejection::RolledBack));
    assert_eq!(decide(&running, Command::EndRollback(over.clone())), Ok(Event::RollbackEnded(over.clone())));
    let ended = given(&[failed(), fact, Event::RollbackEnded(over.clone())]);
    assert_eq!((ended.state.as_str(), ended.is_live()), ("failed", false), "what failed has failed");
    assert_eq!(ended.rollback.as_ref().map(|rollback| rollback.as_str()), Some("completed"));
    for again in [rollback(), Command::EndRollback(over), Command::ContinueRollback(RollbackStarted::default())] {
        assert!(decide(&ended, again.clone()).is_err(), "{again:?}");
    }
}
