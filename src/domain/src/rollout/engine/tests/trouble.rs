//! What stops a rollout, and the ways out.

use super::world::*;
use crate::rollout::{
    Blocker, CAUSE_NODES_MAX, Cause, Command, Completed, Event, NodeProgress, Reason, Spec, State, StepCompleted,
    Strategy, Verdict, node_progress,
};
use jiff::SignedDuration;

fn cause(reason: Reason, step_index: Option<u32>, nodes: &[u8], message: Option<&str>) -> Cause {
    Cause { reason, step_index, node_ids: ids(nodes), message: message.map(str::to_owned) }
}

fn paused_because(world: &World) -> Cause {
    match &world.rollout.state {
        State::Paused { cause, .. } => cause.clone(),
        state => panic!("not paused but {state:?}"),
    }
}

#[test]
fn a_failure_pauses_at_once_with_the_node_s_own_words() {
    let mut world = World::new(3, Spec { batch_size: 2, ..spec() });
    world.run();
    world.fails(1, "port 80 is taken");
    assert_eq!(world.run(), ["paused"]);
    assert_eq!(paused_because(&world), cause(Reason::ActivationFailed, Some(0), &[1], Some("port 80 is taken")));
    let until = world.now + SignedDuration::from_secs(i64::from(LIMITS.paused_max_s));
    let expected = Verdict { action: None, blocker: Some(Blocker::Paused), next_deadline: Some(until) };
    assert_eq!(world.verdict(), expected);
}

#[test]
fn a_cause_names_a_few_nodes_only() {
    let mut world = World::new(30, Spec { strategy: Strategy::AllAtOnce, ..spec() });
    world.run();
    (0..30).for_each(|i| world.fails(i, "no"));
    world.run();
    let named: Vec<u8> = (0..CAUSE_NODES_MAX as u8).collect();
    assert_eq!(paused_because(&world), cause(Reason::ActivationFailed, Some(0), &named, Some("no")));
}

#[test]
fn resuming_tries_failed_nodes_once_more_and_a_second_failure_pauses_again() {
    let mut world = World::new(2, Spec { batch_size: 2, ..spec() });
    world.run();
    world.reports(0, NEW);
    world.fails(1, "no");
    world.run();
    for attempt in 1..=2 {
        world.wish(Command::Resume);
        let Some(Event::StepStarted(retry)) = world.act() else { panic!("no retry") };
        assert_eq!((retry.step_index, retry.attempt, retry.node_ids), (0, attempt, ids(&[1])));
        assert_eq!(world.verdict().blocker, Some(Blocker::NodesPending { step_index: 0, node_ids: ids(&[1]) }));
        world.fails(1, "no");
        assert_eq!(world.run(), ["paused"], "the same words after a new attempt are a new failure");
    }
    world.wish(Command::Resume);
    world.run();
    world.reports(1, NEW);
    world.beats(0, true);
    assert_eq!(world.run(), ["step_completed", "completed"]);
}

#[test]
fn a_failure_that_nobody_has_seen_pauses_although_another_is_known() {
    let mut world = World::new(2, Spec { batch_size: 2, ..spec() });
    world.run();
    world.fails(0, "first");
    world.run();
    world.wish(Command::Resume);
    world.fails(1, "second");
    assert_eq!(world.run(), ["paused"]);
    assert_eq!(paused_because(&world), cause(Reason::ActivationFailed, Some(0), &[1], Some("second")));
    world.wish(Command::Resume);
    let Some(Event::StepStarted(retry)) = world.act() else { panic!("no retry") };
    assert_eq!(retry.node_ids, ids(&[0, 1]));
}

#[test]
fn a_failure_before_the_assignment_does_not_count() {
    let mut world = World::new(1, spec());
    world.fails(0, "long ago");
    world.run();
    assert_eq!(
        node_progress(&world.rollout, id(0), &world.fleet, LIMITS, world.now),
        NodeProgress::Pending,
        "it failed on the bundle when an earlier rollout tried"
    );
}

#[test]
fn a_lost_node_counts_against_max_unavailable() {
    let mut world = World::new(2, Spec { batch_size: 2, ..spec() });
    world.run();
    world.reports(0, NEW);
    world.goes_offline(1);
    assert_eq!(world.run(), ["paused"]);
    let expected = cause(Reason::MaxUnavailableExceeded, Some(0), &[1], Some("1 node(s) of the step are offline"));
    assert_eq!(paused_because(&world), expected);
}

#[test]
fn as_many_lost_nodes_as_allowed_are_given_up() {
    let mut world = World::new(3, Spec { batch_size: 3, max_unavailable: 1, ..spec() });
    world.run();
    world.goes_offline(1);
    assert!(matches!(world.verdict().blocker, Some(Blocker::NodesPending { .. })));
    world.reports(0, NEW);
    world.reports(2, NEW);
    let completed = StepCompleted { step_index: 0, deferred_node_ids: ids(&[1]) };
    assert_eq!(world.act(), Some(Event::StepCompleted(completed)));
}

#[test]
fn resuming_gives_lost_nodes_up_but_not_those_that_are_lost_later() {
    let mut world = World::new(3, Spec { batch_size: 3, ..spec() });
    world.run();
    world.reports(0, NEW);
    world.goes_offline(1);
    world.run();
    world.wish(Command::Resume);
    assert!(matches!(world.verdict().blocker, Some(Blocker::NodesPending { .. })));
    world.goes_offline(2);
    assert_eq!(world.run(), ["paused"]);
    assert_eq!(paused_because(&world).node_ids, ids(&[2]), "only what is new is told");
    world.wish(Command::Resume);
    assert_eq!(world.run(), ["step_completed", "completed"]);
    assert_eq!(world.rollout.steps[0].deferred_node_ids, ids(&[1, 2]));
}

#[test]
fn a_lost_node_that_returns_is_waited_for_again() {
    let mut world = World::new(1, spec());
    world.run();
    world.goes_offline(0);
    world.run();
    world.beats(0, true);
    world.wish(Command::Resume);
    assert_eq!(world.verdict().blocker, Some(Blocker::NodesPending { step_index: 0, node_ids: ids(&[0]) }));
    world.goes_offline(0);
    assert_eq!(world.run(), ["paused"], "lost once more, after the operator had looked");
}

#[test]
fn a_deleted_node_and_one_that_another_rollout_took_are_given_up() {
    let mut world = World::new(3, Spec { batch_size: 3, ..spec() });
    world.run();
    world.delete(0);
    world.is_taken_over(1);
    world.reports(2, NEW);
    let completed = StepCompleted { step_index: 0, deferred_node_ids: ids(&[0, 1]) };
    assert_eq!(world.act(), Some(Event::StepCompleted(completed)));
    assert_eq!(world.act(), Some(Event::Completed(Completed { updated: 1, deferred: 0 })));
}

#[test]
fn a_step_that_is_late_fails_the_rollout() {
    let mut world = World::new(3, Spec { batch_size: 3, ..spec() });
    world.run();
    world.reports(0, NEW);
    world.reports(1, NEW);
    world.pass(DEADLINE_S - 1);
    world.beats(0, true);
    world.beats(1, false);
    assert_eq!(world.run(), [] as [&str; 0]);
    world.pass(1);
    let message = "in time, 1 node(s) did not report the bundle and 1 not their health";
    let expected = cause(Reason::StepDeadlineExceeded, Some(0), &[2, 1], Some(message));
    assert_eq!(world.verdict().action, Some(Command::Fail(expected)));
    assert_eq!(world.run(), ["failed"]);
}

#[test]
fn a_pause_stops_the_clock_of_a_step() {
    let mut world = World::new(1, spec());
    world.run();
    world.pass(DEADLINE_S - 1);
    world.wish(Command::Pause);
    world.pass(LIMITS.paused_max_s - 1);
    assert_eq!(world.run(), [] as [&str; 0]);
    world.wish(Command::Resume);
    world.pass(DEADLINE_S - 1);
    assert_eq!(world.run(), [] as [&str; 0]);
    world.pass(1);
    assert_eq!(world.run(), ["failed"]);
}

#[test]
fn a_rollout_that_is_paused_for_too_long_is_cancelled() {
    let mut world = World::new(1, spec());
    world.run();
    world.wish(Command::Pause);
    world.pass(LIMITS.paused_max_s - 1);
    assert_eq!(world.run(), [] as [&str; 0]);
    world.pass(1);
    assert_eq!(world.run(), ["cancelled"]);
    assert_eq!(world.rollout.state, State::Cancelled(cause(Reason::PausedTooLong, None, &[], None)));
}

#[test]
fn a_rollout_without_any_available_node_waits_for_one_and_then_fails() {
    let mut world = World::new(1, spec());
    world.goes_offline(0);
    let until = world.now + SignedDuration::from_secs(i64::from(DEADLINE_S));
    let waits = Verdict { action: None, blocker: Some(Blocker::NobodyAvailable), next_deadline: Some(until) };
    assert_eq!(world.verdict(), waits);
    world.pass(DEADLINE_S - 1);
    let mut returned = world.clone();
    returned.beats(0, true);
    assert_eq!(returned.run(), ["step_started"]);
    world.pass(1);
    assert_eq!(world.run(), ["failed"]);
    assert_eq!(world.rollout.state, State::Failed(cause(Reason::NoNodeAvailable, None, &[], None)));
}

#[test]
fn a_rollout_whose_nodes_were_all_given_up_has_not_succeeded() {
    let mut world = World::new(1, Spec { max_unavailable: 1, ..spec() });
    world.run();
    world.goes_offline(0);
    assert_eq!(world.run(), ["step_completed"]);
    assert_eq!(world.verdict().blocker, Some(Blocker::NobodyAvailable));
    world.pass(DEADLINE_S);
    assert_eq!(world.run(), ["failed"]);
}

#[test]
fn revoking_the_bundle_ends_the_rollout_at_its_next_step() {
    let revoked = State::Failed(cause(Reason::BundleRevoked, None, &[], None));
    let mut world = World::new(2, spec());
    world.run();
    world.reports(0, NEW);
    let mut paused = world.clone();
    world.revoke(NEW);
    assert_eq!(world.run(), ["failed"]);
    assert_eq!(world.rollout.state, revoked);
    paused.wish(Command::Pause);
    paused.revoke(NEW);
    assert_eq!(paused.verdict().blocker, Some(Blocker::Paused));
    paused.wish(Command::Resume);
    assert_eq!(paused.run(), ["failed"]);
    assert_eq!(paused.rollout.state, revoked);
}

#[test]
fn a_rollout_that_nobody_starts_is_cancelled_in_the_end() {
    let mut world = World::new(1, Spec { held: true, ..spec() });
    let until = world.now + SignedDuration::from_secs(i64::from(LIMITS.pending_max_s));
    assert_eq!(world.verdict().next_deadline, Some(until));
    world.pass(LIMITS.pending_max_s - 1);
    assert_eq!(world.run(), [] as [&str; 0]);
    world.pass(1);
    assert_eq!(world.run(), ["cancelled"]);
    assert_eq!(world.rollout.state, State::Cancelled(cause(Reason::PendingTooLong, None, &[], None)));
}
