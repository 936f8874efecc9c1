//! Who gets the bundle when, and what counts as done.

use super::world::*;
use crate::rollout::{
    Blocker, Command, Completed, Event, Progress, STEP_NODES_MAX, Selector, Spec, StepCompleted, Strategy, Verdict,
    progress,
};
use crate::{Labels, NodeId};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

fn labels(key: &str, value: &str) -> Labels {
    Labels::try_from(BTreeMap::from([(key.to_owned(), value.to_owned())])).unwrap()
}

fn started(world: &World) -> Vec<Vec<NodeId>> {
    world.rollout.steps.iter().map(|step| step.node_ids.clone()).collect()
}

fn waits(blocker: Blocker, until: Option<Timestamp>) -> Verdict {
    Verdict { action: None, blocker: Some(blocker), next_deadline: until }
}

fn deadline(world: &World, step: usize) -> Option<Timestamp> {
    Some(world.rollout.steps[step].deadline_from + SignedDuration::from_secs(i64::from(DEADLINE_S)))
}

#[test]
fn a_rolling_rollout_goes_batch_by_batch_in_the_order_of_names() {
    let mut world = World::new(3, Spec { batch_size: 2, ..spec() });
    assert_eq!(world.run(), ["step_started"]);
    assert_eq!(started(&world), [ids(&[0, 1])]);
    world.reports(1, NEW);
    let pending = Blocker::NodesPending { step_index: 0, node_ids: ids(&[0]) };
    assert_eq!(world.verdict(), waits(pending, deadline(&world, 0)));
    world.reports(0, NEW);
    assert_eq!(world.run(), ["step_completed", "step_started"]);
    assert_eq!(started(&world), [ids(&[0, 1]), ids(&[2])]);
    world.reports(2, NEW);
    assert_eq!(world.run(), ["step_completed", "completed"]);
    assert_eq!(world.verdict(), waits(Blocker::Ended, None));
}

#[test]
fn completion_counts_who_runs_the_bundle() {
    let mut world = World::new(3, Spec { batch_size: 9, max_unavailable: 1, ..spec() });
    world.goes_offline(2);
    world.run();
    assert_eq!(started(&world), [ids(&[0, 1])]);
    world.reports(0, NEW);
    world.goes_offline(1);
    let completed = StepCompleted { step_index: 0, deferred_node_ids: ids(&[1]) };
    assert_eq!(world.act(), Some(Event::StepCompleted(completed)));
    assert_eq!(world.act(), Some(Event::Completed(Completed { updated: 1, deferred: 1 })));
}

#[test]
fn the_size_of_a_batch_is_the_one_that_was_resolved_at_creation() {
    let percentage = Spec { batch_percentage: Some(50), batch_size: 2, target_count: 4, ..spec() };
    let cases = [
        (percentage, vec![0, 1]),
        (Spec { batch_size: 0, ..spec() }, vec![0]),
        (Spec { strategy: Strategy::AllAtOnce, batch_size: 1, ..spec() }, vec![0, 1, 2, 3, 4, 5]),
    ];
    for (spec, first) in cases {
        let mut world = World::new(6, spec);
        world.act();
        assert_eq!(started(&world), [ids(&first)]);
    }
    assert_eq!(STEP_NODES_MAX, 10_000);
}

#[test]
fn all_at_once_takes_late_nodes_along_without_waiting_for_the_first_step() {
    let mut world = World::new(3, Spec { strategy: Strategy::AllAtOnce, ..spec() });
    world.goes_offline(2);
    assert_eq!(world.run(), ["step_started"]);
    world.beats(2, true);
    world.pass(5);
    assert_eq!(world.run(), ["step_started"]);
    assert_eq!(started(&world), [ids(&[0, 1]), ids(&[2])]);
    world.reports(2, NEW);
    assert_eq!(world.run(), ["step_completed"], "steps complete in any order");
    world.reports(0, NEW);
    world.reports(1, NEW);
    assert_eq!(world.run(), ["step_completed", "completed"]);
}

#[test]
fn the_next_deadline_is_the_earliest_of_all_open_steps() {
    let mut world = World::new(2, Spec { strategy: Strategy::AllAtOnce, ..spec() });
    world.goes_offline(1);
    world.run();
    world.beats(1, true);
    world.pass(10);
    world.run();
    world.fails(0, "no");
    world.run();
    world.pass(10);
    world.wish(Command::Resume);
    world.pass(10);
    world.run();
    assert!(deadline(&world, 1) < deadline(&world, 0), "the first step was repeated later");
    let pending = Blocker::NodesPending { step_index: 0, node_ids: ids(&[0]) };
    assert_eq!(world.verdict(), waits(pending, deadline(&world, 1)));
}

#[test]
fn a_selector_says_who_is_meant() {
    let mut world = World::new(0, Spec { batch_size: 9, ..spec() });
    for i in 0..3 {
        world.register(i, labels("zone", if i == 1 { "b" } else { "a" }));
    }
    let cases = [
        (Selector::All {}, ids(&[0, 1, 2])),
        (Selector::Labels { labels: labels("zone", "a") }, ids(&[0, 2])),
        (Selector::node_ids(ids(&[2, 1, 2, 9])), ids(&[1, 2])),
    ];
    for (selector, expected) in cases {
        let mut world = world.clone();
        world.rollout.spec.target_selector = selector;
        world.act();
        assert_eq!(started(&world), [expected], "a node that was never seen counts as available");
    }
}

#[test]
fn health_is_proven_by_a_healthy_beat_that_is_younger_than_the_assignment_and_fresh() {
    let mut world = World::new(1, spec());
    world.reports(0, NEW);
    world.pass(1);
    assert_eq!(world.run(), ["step_started"]);
    let verifying = waits(Blocker::NodesVerifying { step_index: 0, node_ids: ids(&[0]) }, deadline(&world, 0));
    assert_eq!(world.verdict(), verifying, "the beat is older than the assignment");
    world.beats(0, false);
    assert_eq!(world.verdict(), verifying, "the beat says unhealthy");
    world.beats(0, true);
    let complete = Some(Command::CompleteStep(StepCompleted { step_index: 0, deferred_node_ids: vec![] }));
    world.pass(LIMITS.beat_age_max_s);
    assert_eq!(world.verdict().action, complete, "just fresh enough");
    world.pass(1);
    assert_eq!(world.verdict(), verifying, "the beat is stale");
    world.rollout.spec.health_gates.heartbeat_healthy = false;
    assert_eq!(world.verdict().action, complete, "no gate, no proof");
}

#[test]
fn a_node_that_is_not_done_is_named_before_one_that_only_lacks_proof() {
    let mut world = World::new(2, Spec { batch_size: 2, ..spec() });
    world.run();
    world.reports(0, NEW);
    world.beats(0, false);
    assert_eq!(world.verdict().blocker, Some(Blocker::NodesPending { step_index: 0, node_ids: ids(&[1]) }));
}

#[test]
fn offline_nodes_are_deferred_and_picked_up_when_they_return_before_the_end() {
    let mut world = World::new(3, spec());
    world.goes_offline(0);
    world.run();
    assert_eq!(started(&world), [ids(&[1])]);
    world.beats(0, true);
    world.reports(1, NEW);
    assert_eq!(world.run(), ["step_completed", "step_started"]);
    assert_eq!(started(&world), [ids(&[1]), ids(&[0])]);
}

#[test]
fn a_node_that_joins_before_the_end_is_taken_along() {
    let mut world = World::new(1, spec());
    world.run();
    world.register(7, Labels::default());
    world.reports(0, NEW);
    world.run();
    assert_eq!(started(&world), [ids(&[0]), ids(&[7])]);
}

#[test]
fn deciding_the_same_action_twice_is_refused() {
    let mut world = World::new(2, spec());
    for _ in 0..6 {
        let verdict = world.verdict();
        assert_eq!(verdict, world.verdict(), "the same question has the same answer");
        let Some(action) = verdict.action else { break };
        world.wish(action.clone());
        assert!(crate::rollout::decide(&world.rollout, action.clone()).is_err(), "{action:?}");
        world.reports(world.rollout.steps.len() as u8 - 1, NEW);
    }
    assert!(world.rollout.state.is_terminal());
}

fn counts(world: &World) -> Progress {
    progress(&world.rollout, &world.fleet, LIMITS, world.now)
}

#[test]
fn progress_counts_every_node_once() {
    let mut world = World::new(6, Spec { batch_size: 4, max_unavailable: 4, ..spec() });
    world.goes_offline(5);
    world.run();
    world.reports(0, NEW);
    world.goes_offline(1);
    world.fails(2, "no");
    let expected = Progress { total: 6, pending: 2, active: 1, failed: 1, waiting: 1, deferred: 2 };
    assert_eq!(counts(&world), expected);
    world.delete(3);
    assert_eq!(counts(&world), Progress { pending: 1, deferred: 3, ..expected });
}

#[test]
fn what_a_rollout_achieved_stays_counted() {
    let mut world = World::new(2, spec());
    for i in 0..2 {
        world.run();
        world.reports(i, NEW);
    }
    world.run();
    let done = Progress { total: 2, active: 2, ..Progress::default() };
    assert_eq!(counts(&world), done);
    world.pass(10_000);
    world.is_taken_over(0);
    world.goes_offline(1);
    assert_eq!(counts(&world), done);
}

#[test]
fn failures_of_a_cancelled_rollout_stay_counted() {
    let mut world = World::new(3, Spec { batch_size: 3, ..spec() });
    world.run();
    world.reports(0, NEW);
    world.fails(1, "no");
    world.run();
    world.wish(Command::Cancel);
    world.pass(10_000);
    assert_eq!(counts(&world), Progress { total: 3, active: 1, failed: 1, deferred: 1, ..Progress::default() });
}
